/* perf.h: what the parts of perf_kernels share. It times the kernels one thread at a time, on a
 * model's own shapes and with a whole model's weights, so that they come from the cache or memory
 * they would come from in service. */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum { PERF_ROWS_MAX = 16, PERF_MODELS_MAX = 8, PERF_TIMES = 512 };

struct perf_model {
    char name[32];
    long layers, hidden, feed_forward, heads;
};

struct perf_settings {
    struct perf_model models[PERF_MODELS_MAX];
    int model_count;
    long rows[PERF_ROWS_MAX]; /* ascending */
    int row_count;
    long tokens[PERF_ROWS_MAX]; /* the rows of what is not a product, ascending */
    int token_count;
    const char *level; /* only this one; NULL: all */
    double seconds;    /* spent on each figure */
    bool json;
};

/* Times of one piece of work, ms. */
struct perf_times {
    double value[PERF_TIMES];
    int count;
};

/* Of this thread on a CPU: what other programs take of the machine is left out, except for the
 * caches and memory. */
double perf_seconds(void);
void perf_add(struct perf_times *times, double milliseconds);
/* Sorts the times. */
double perf_median(struct perf_times *times);
/* Whether another repetition is wanted: at least 5, then until the seconds since `start` are up. */
bool perf_again(const struct perf_times *times, double start, double seconds);

/* Zeroed memory aligned to 2 MiB, in large pages where the system has them, as the engine's; ends
 * the program where there is none. Free with free(). */
void *perf_memory(size_t bytes);
/* Fills with activations, -1..1, or with weights, distributed much as trained ones are; the same at every run. */
void perf_fill(float *x, size_t count);
void perf_fill_weights(float *x, size_t count);
/* GB/s of reading `bytes` bytes in order, again and again: what streaming weights of that size can
 * reach. */
double perf_read_bandwidth(const void *memory, size_t bytes);
/* Bytes of a row of `columns` floats or u8, padded so that rows do not fall on the same cache sets.
 */
long perf_pitch(long bytes);

void perf_products(const struct perf_settings *settings, const struct perf_model *model,
                   enum kern_level level);
void perf_parts(const struct perf_settings *settings, const struct perf_model *model,
                enum kern_level level);

#endif

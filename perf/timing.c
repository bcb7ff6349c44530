#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "perf/perf.h"

double perf_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void perf_add(struct perf_times *times, double milliseconds)
{
    if (times->count < PERF_TIMES)
        times->value[times->count++] = milliseconds;
}

static int compare_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double perf_median(struct perf_times *times)
{
    qsort(times->value, (size_t)times->count, sizeof times->value[0], compare_times);
    return times->value[times->count / 2];
}

bool perf_again(const struct perf_times *times, double start, double seconds)
{
    return times->count < 5 || (times->count < PERF_TIMES && perf_seconds() - start < seconds);
}

void *perf_memory(size_t bytes)
{
    const size_t page = (size_t)2 << 20;
    size_t size = (bytes + page - 1) / page * page;
    void *memory = aligned_alloc(page, size);
    if (!memory) {
        fprintf(stderr, "perf_kernels: no memory for %zu bytes\n", size);
        exit(1);
    }
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0, size);
    return memory;
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

void perf_fill(float *x, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)next_random(&state) / (float)(1 << 23) - 1.0F;
}

void perf_fill_weights(float *x, size_t count)
{
    enum { TERMS = 4 }; /* nearly a normal distribution */
    uint32_t state = 2;
    for (size_t i = 0; i < count; i++) {
        x[i] = 0;
        for (int term = 0; term < TERMS; term++)
            x[i] += (float)next_random(&state) / (float)(1 << 23) - 1.0F;
    }
}

double perf_read_bandwidth(const void *memory, size_t bytes)
{
    enum { LANES = 16 }; /* what fits in 8 SSE registers */
    const uint64_t *words = memory;
    size_t count = bytes / sizeof *words / LANES * LANES;
    double best = 0;
    for (int run = 0; run < 7; run++) {
        uint64_t sums[LANES] = {0};
        double start = perf_seconds();
        for (size_t i = 0; i < count; i += LANES)
            for (size_t j = 0; j < LANES; j++)
                sums[j] ^= words[i + j];
        double rate = 1e-9 * (double)(count * sizeof *words) / (perf_seconds() - start);
        __asm__ volatile("" : : "m"(sums));
        if (rate > best)
            best = rate;
    }
    return best;
}

long perf_pitch(long bytes)
{
    long pitch = (bytes + 63) / 64 * 64;
    return pitch % 4096 ? pitch : pitch + 64;
}

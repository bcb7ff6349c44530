/* harness.h: what the kernel tests share: levels, guarded buffers, and inputs of several kinds. */
#ifndef TESTS_KERNELS_HARNESS_H
#define TESTS_KERNELS_HARNESS_H

#include "kernels/kernels.h"

#include <check.h>

/* Fails the test unless the condition holds. Check's own assertions record every success, which a
 * loop over millions of values cannot afford. */
#define require(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

/* Where a guarded buffer touches memory that may not be read or written. */
enum guard_side { GUARD_AFTER, GUARD_BEFORE };

/* A buffer whose last byte is followed, or whose first is preceded, by a page that traps. The rest
 * of its own pages holds a pattern that guard_free checks. Fails the test where memory is short.
 * Filled with 0xA5. */
void *guard_alloc(size_t bytes, enum guard_side side);
void guard_free(void *data);

/* A guarded buffer of n values. GUARD_AFTER also makes it as misaligned as its length allows. */
#define GUARDED(type, n, side) ((type *)guard_alloc((size_t)(n) * sizeof(type), side))

/* Kinds of input. */
enum input {
    INPUT_RANDOM,   /* normal, deviation 1 */
    INPUT_ZERO,     /* +0 and -0 */
    INPUT_DENORMAL, /* below the smallest normal float */
    INPUT_EXTREME,  /* from the smallest to the largest float, both signs */
    INPUT_KINDS
};

struct random {
    uint64_t state;
};

uint32_t random_bits(struct random *random);
float random_normal(struct random *random);
void random_fill(struct random *random, float *x, long n, enum input kind);
/* Bytes over the whole range of s8 but -128. */
void random_fill_s8(struct random *random, int8_t *x, long n);

static inline long round_up(long n, long to)
{
    return (n + to - 1) / to * to;
}

/* Bytes of a row of q8, as kern_rows wants it. */
long q8_stride(long width);

/* Weights (n, k) packed by a table; the arrays are guarded. Biases, and for KERN_INT8 the scales,
 * are those given. */
struct packed {
    struct kern_weights weights;
    void *panels;
    float *bias, *scale;
    int32_t *column_sum;
};
void pack_float_weights(struct packed *packed, const struct kern_table *table,
                        enum kern_scheme scheme, const float *w, const float *bias, long n, long k);
/* For KERN_INT8 and KERN_INT7, the weights limited already. */
void pack_s8_weights(struct packed *packed, const struct kern_table *table, enum kern_scheme scheme,
                     const int8_t *w, const float *scale, const float *bias, long n, long k);
/* Fills in all but the panels, scales and column sums. */
void pack_common(struct packed *packed, enum kern_scheme scheme, const float *bias, long n, long k);
void packed_free(struct packed *packed);

/* Fills the table for a level; returns 0 where this machine cannot
 * run it. */
int level_table(struct kern_table *table, int level);

double gelu_exact(double x);

/* Where the loops over levels begin. */
#ifndef FIRST_LEVEL
#define FIRST_LEVEL KERN_SCALAR
#endif

/* Adds `function` to the suite, once for each level, the level being its loop variable _i. */
#define add_level_test(test_case, function)                                                        \
    tcase_add_loop_test(test_case, function, FIRST_LEVEL, KERN_LEVELS)

/* Runs a suite of one test case and prints which levels ran; levels listed in
 * DISTILD_REQUIRE_LEVELS (commas) that cannot run here are a failure. Returns what main returns. */
int run_kernel_tests(const char *name, void (*add)(TCase *));

#endif

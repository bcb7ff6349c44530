/* gemm_problem.h: a product to be tested, and what holds of every product whatever computes it. */
#ifndef TESTS_KERNELS_GEMM_PROBLEM_H
#define TESTS_KERNELS_GEMM_PROBLEM_H

#include "tests/kernels/harness.h"

/* {1, tile - 1, tile, tile + 1, 2 * tile + 3, a prime} of tiles of 6 and 8 rows, of panels, of
 * depth. */
static const long rows_list[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 19, 37};
static const long columns_list[] = {1, 15, 16, 17, 35, 53, 83, 131};
static const long depth_list[] = {1, 3, 63, 64, 65, 131, 397};

#define COUNT(list) ((long)(sizeof(list) / sizeof(*(list))))

/* One product's inputs as they are before packing, and its output. */
struct problem {
    long m, n, k;
    float *x;
    long x_stride;
    float *bias;
    float *y; /* (m, padded n) */
    long y_stride;
};

void problem_init(struct problem *p, struct random *random, long m, long n, long k,
                  enum input kind);
void problem_free(struct problem *p);

/* All of the product. */
struct kern_gemm whole_job(const struct problem *p, const struct kern_rows *x,
                           const struct kern_weights *w);
/* A copy of y's rows without the gaps between them. */
float *copy_output(const struct problem *p);

/* Compares with the GELU of `plain`, the same product without an epilogue. */
void check_gelu(const struct problem *p, const float *plain);
/* Runs single rows and panels, then uneven halves: each must write its own part only, with the bits
 * of the whole. */
void check_parts(const struct kern_table *table, const struct problem *p,
                 const struct kern_gemm *whole, const float *expected);

#endif

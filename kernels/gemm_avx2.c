/* gemm_avx2.c: the float product with AVX2.
 *
 * A tile is 6 rows by 1 panel, 12 sums in registers; few rows take more panels instead, to
 * keep enough chains of additions going. Each sum is one chain of fused multiply-adds over k in
 * order, whatever the tile, so a row has the same bits beside any other rows.
 */
#include <immintrin.h>

#include "kernels/gemm_walk.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

/* A panel is two vectors of 8 columns. */
enum { LANES = 8, HALVES = KERN_PANEL / LANES };
enum { F32_ROWS = 6, F32_VECTORS = 8, F32_STEP = 4 };

static void gelu_tile(float *y, long y_stride, int rows, int vectors)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) {
            float *out = y + i * y_stride + LANES * v;
            _mm256_storeu_ps(out, kern_gelu8(_mm256_loadu_ps(out)));
        }
}

/* sum += x[k] * w[k]; x is (rows), x_stride floats apart, and w (vectors / 2) panels, w_stride
 * floats apart. */
static inline __attribute__((always_inline)) void multiply_add(__m256 sum[F32_ROWS][F32_VECTORS],
                                                               const float *x, long x_stride,
                                                               const float *w, long w_stride,
                                                               const int rows, const int vectors)
{
    __m256 columns[F32_VECTORS];
    GEMM_UNROLL
    for (int v = 0; v < vectors; v++)
        columns[v] = _mm256_loadu_ps(w + v / HALVES * w_stride + v % HALVES * LANES);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        __m256 value = _mm256_broadcast_ss(x + i * x_stride);
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = _mm256_fmadd_ps(value, columns[v], sum[i][v]);
    }
}

static inline __attribute__((always_inline)) void f32_tile(const struct gemm_tile *tile,
                                                           const int rows, const int panels)
{
    const int vectors = panels * HALVES;
    const struct kern_gemm *job = tile->job;
    const float *x = (const float *)(const void *)tile->x;
    const float *w = (const float *)(const void *)tile->w;
    long x_stride = tile->x_pitch / (long)sizeof *x;
    long w_stride = tile->w_pitch / (long)sizeof *w;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;
    const float *bias = job->w->bias + tile->panel * KERN_PANEL;
    const char *ahead = tile->ahead;
    long depth = tile->depth;

    __m256 sum[F32_ROWS][F32_VECTORS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        GEMM_UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] =
            tile->first ? _mm256_setzero_ps() : _mm256_loadu_ps(y + i * job->y_stride + LANES * v);

    long k = 0;
    for (; k + F32_STEP <= depth; k += F32_STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
            /* Not unrolled: gcc 12 would mix the steps until it runs out of registers. */
#pragma GCC unroll 1
        for (int u = 0; u < F32_STEP; u++)
            multiply_add(sum, x + k + u, x_stride, w + (k + u) * KERN_PANEL, w_stride, rows,
                         vectors);
    }
    for (; k < depth; k++)
        multiply_add(sum, x + k, x_stride, w + k * KERN_PANEL, w_stride, rows, vectors);

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++) {
            if (tile->last)
                sum[i][v] = _mm256_add_ps(sum[i][v], _mm256_loadu_ps(bias + LANES * v));
            _mm256_storeu_ps(y + i * job->y_stride + LANES * v, sum[i][v]);
        }
    }
    if (tile->last && job->epilogue == KERN_GELU)
        gelu_tile(y, job->y_stride, rows, vectors);
}

#define F32_TILE(rows, panels)                                                                     \
    static void f32_##rows##x##panels(const struct gemm_tile *tile)                                \
    {                                                                                              \
        f32_tile(tile, rows, panels);                                                              \
    }

F32_TILE(1, 1)
F32_TILE(2, 1)
F32_TILE(3, 1)
F32_TILE(4, 1)
F32_TILE(5, 1)
F32_TILE(6, 1)
F32_TILE(1, 2)
F32_TILE(2, 2)
F32_TILE(3, 2)
F32_TILE(1, 3)
F32_TILE(2, 3)
F32_TILE(1, 4)

static const struct gemm_plan f32_plan = {
    .x_size = sizeof(float),
    .w_size = KERN_PANEL * sizeof(float),
    .step = F32_STEP,
    .chunk_bytes = 512 * 1024,
    .depth = 384,
    .rows = F32_ROWS,
    .panels = {0, 4, 3, 2, 1, 1, 1},
    .tile = {{NULL},
             {NULL, f32_1x1, f32_2x1, f32_3x1, f32_4x1, f32_5x1, f32_6x1},
             {NULL, f32_1x2, f32_2x2, f32_3x2},
             {NULL, f32_1x3, f32_2x3},
             {NULL, f32_1x4}},
};

void kern_gemm_f32_avx2(const struct kern_gemm *job)
{
    gemm_walk(job, &f32_plan, job->x->f32, job->x->stride * (long)sizeof(float), job->w->k);
}

/* gemm_avx2.c: the products of floats with AVX2, on weights held as float, half precision or s8.
 *
 * A tile is 6 rows by 1 panel, 12 sums in registers; few rows take more panels instead, to
 * keep enough chains of additions going. Each sum is one chain of fused multiply-adds over k in
 * order, whatever the tile, so a row has the same bits beside any other rows.
 */
#include <immintrin.h>

#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

/* A panel is two vectors of 8 columns. */
enum { LANES = 8, HALVES = KERN_PANEL / LANES };
enum { ROWS = 6, VECTORS = 8, STEP = 4 };

static void gelu_tile(float *y, long y_stride, int rows, int vectors)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) {
            float *out = y + i * y_stride + LANES * v;
            _mm256_storeu_ps(out, kern_gelu8(_mm256_loadu_ps(out)));
        }
}

/* 8 weights as floats, vector `v` of those at w. */
ALWAYS_INLINE __m256 load_weights(const char *w, int v, const enum kern_scheme held)
{
    if (held == KERN_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w + v));
    if (held == KERN_S8)
        return _mm256_cvtepi32_ps(
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(w + v * LANES))));
    return _mm256_loadu_ps((const float *)(const void *)w + v * LANES);
}

/* sum += x[k] * w[k]; x is (rows), x_stride floats apart, and w (vectors / 2) panels, w_pitch bytes apart. */
ALWAYS_INLINE void multiply_add(__m256 sum[ROWS][VECTORS], const float *x, long x_stride,
                                const char *w, long w_pitch, const int rows, const int vectors,
                                const enum kern_scheme held)
{
    __m256 columns[VECTORS];
    GEMM_UNROLL
    for (int v = 0; v < vectors; v++)
        columns[v] = load_weights(w + v / HALVES * w_pitch, v % HALVES, held);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        __m256 value = _mm256_broadcast_ss(x + i * x_stride);
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = _mm256_fmadd_ps(value, columns[v], sum[i][v]);
    }
}

ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows, const int panels,
                                 const enum kern_scheme held)
{
    const int vectors = panels * HALVES;
    const long line_bytes = KERN_PANEL * (held == KERN_F16  ? (long)sizeof(uint16_t)
                                          : held == KERN_S8 ? (long)sizeof(int8_t)
                                                            : (long)sizeof(float)); /* of one k */
    const struct kern_gemm *job = tile->job;
    const float *x = (const float *)(const void *)tile->x;
    const char *w = tile->w;
    long x_stride = tile->x_pitch / (long)sizeof *x;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;
    const float *bias = job->w->bias + tile->panel * KERN_PANEL;
    const float *scale = held == KERN_S8 ? job->w->scale + tile->panel * KERN_PANEL : NULL;
    const char *ahead = tile->ahead;
    long depth = tile->depth;

    __m256 sum[ROWS][VECTORS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        GEMM_UNROLL
    for (int v = 0; v < vectors; v++)
        sum[i][v] =
            tile->first ? _mm256_setzero_ps() : _mm256_loadu_ps(y + i * job->y_stride + LANES * v);

    long k = 0;
    for (; k + STEP <= depth; k += STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
            /* Not unrolled: gcc 12 would mix the steps until it runs out of registers. */
#pragma GCC unroll 1
        for (int u = 0; u < STEP; u++)
            multiply_add(sum, x + k + u, x_stride, w + (k + u) * line_bytes, tile->w_pitch, rows,
                         vectors, held);
    }
    for (; k < depth; k++)
        multiply_add(sum, x + k, x_stride, w + k * line_bytes, tile->w_pitch, rows, vectors, held);

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++) {
            if (tile->last && held == KERN_S8)
                sum[i][v] = _mm256_fmadd_ps(sum[i][v], _mm256_loadu_ps(scale + LANES * v),
                                            _mm256_loadu_ps(bias + LANES * v));
            else if (tile->last)
                sum[i][v] = _mm256_add_ps(sum[i][v], _mm256_loadu_ps(bias + LANES * v));
            _mm256_storeu_ps(y + i * job->y_stride + LANES * v, sum[i][v]);
        }
    }
    if (tile->last && job->epilogue == KERN_GELU)
        gelu_tile(y, job->y_stride, rows, vectors);
}

#define TILE(name, held, rows, panels)                                                             \
    static void name##_##rows##x##panels(const struct gemm_tile *tile)                             \
    {                                                                                              \
        multiply_tile(tile, rows, panels, held);                                                   \
    }
#define TILES(name, held)                                                                          \
    TILE(name, held, 1, 1)                                                                         \
    TILE(name, held, 2, 1)                                                                         \
    TILE(name, held, 3, 1)                                                                         \
    TILE(name, held, 4, 1)                                                                         \
    TILE(name, held, 5, 1)                                                                         \
    TILE(name, held, 6, 1)                                                                         \
    TILE(name, held, 1, 2)                                                                         \
    TILE(name, held, 2, 2)                                                                         \
    TILE(name, held, 3, 2)                                                                         \
    TILE(name, held, 1, 3)                                                                         \
    TILE(name, held, 2, 3)                                                                         \
    TILE(name, held, 1, 4)
#define PLAN(name, bytes)                                                                          \
    {                                                                                              \
        .x_size = sizeof(float), .w_size = KERN_PANEL * (bytes), .step = STEP,                     \
        .chunk_bytes = 512 * 1024, .depth = 384, .rows = ROWS, .panels = {0, 4, 3, 2, 1, 1, 1},    \
        .tile = {                                                                                  \
            {NULL},                                                                                \
            {NULL, name##_1x1, name##_2x1, name##_3x1, name##_4x1, name##_5x1, name##_6x1},        \
            {NULL, name##_1x2, name##_2x2, name##_3x2},                                            \
            {NULL, name##_1x3, name##_2x3},                                                        \
            {NULL, name##_1x4},                                                                    \
        }                                                                                          \
    }

TILES(f32, KERN_F32)
TILES(f16, KERN_F16)
TILES(s8, KERN_S8)

static const struct gemm_plan f32_plan = PLAN(f32, sizeof(float));
static const struct gemm_plan f16_plan = PLAN(f16, sizeof(uint16_t));
static const struct gemm_plan s8_plan = PLAN(s8, sizeof(int8_t));

static void multiply_rows(const struct kern_gemm *job, const struct gemm_plan *plan)
{
    gemm_walk(job, plan, job->x->f32, job->x->stride * (long)sizeof(float), job->w->k);
}

void kern_gemm_f32_avx2(const struct kern_gemm *job)
{
    multiply_rows(job, &f32_plan);
}

void kern_gemm_f16_avx2(const struct kern_gemm *job)
{
    multiply_rows(job, &f16_plan);
}

void kern_gemm_s8_avx2(const struct kern_gemm *job)
{
    multiply_rows(job, &s8_plan);
}

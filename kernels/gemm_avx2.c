/* gemm_avx2.c: the float and the INT8 product with AVX2.
 *
 * Float: a tile is 6 rows by 1 panel, 12 sums in registers; few rows take more panels instead, to
 * keep enough chains of additions going. Each sum is one chain of fused multiply-adds over k in
 * order, whatever the tile, so a row has the same bits beside any other rows. INT8: a tile is 4
 * rows by 1 panel.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_walk.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

/* A panel is two vectors of 8 columns. Four INT8 k of 16 columns fill a line. */
enum { LANES = 8, HALVES = KERN_PANEL / LANES, QUAD = 4 };
enum { F32_ROWS = 6, F32_VECTORS = 8, F32_STEP = 4 };
enum { INT8_ROWS = 4, INT8_STEP = 16 };

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

/* y = (sum - zero * column_sum) * x scale * w scale + bias */
static inline __attribute__((always_inline)) void
int8_store(const struct gemm_tile *tile, __m256i sum[INT8_ROWS][HALVES], const int rows)
{
    const struct kern_gemm *job = tile->job;
    const struct kern_weights *weights = job->w;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;

    GEMM_UNROLL
    for (int v = 0; v < HALVES; v++) {
        long column = tile->panel * KERN_PANEL + v * LANES;
        __m256i column_sum =
            _mm256_loadu_si256((const __m256i *)(const void *)(weights->column_sum + column));
        __m256 scale = _mm256_loadu_ps(weights->scale + column);
        __m256 bias = _mm256_loadu_ps(weights->bias + column);
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            __m256i zero = _mm256_set1_epi32(job->x->zero[tile->row + i]);
            __m256i exact = _mm256_sub_epi32(sum[i][v], _mm256_mullo_epi32(zero, column_sum));
            __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(exact),
                                          _mm256_set1_ps(job->x->scale[tile->row + i]));
            _mm256_storeu_ps(y + i * job->y_stride + LANES * v,
                             _mm256_fmadd_ps(scaled, scale, bias));
        }
    }
    if (job->epilogue == KERN_GELU)
        gelu_tile(y, job->y_stride, rows, HALVES);
}

/* Two u8 by s8 products make a 16-bit sum, which 7-bit activations keep below 2 * 127 * 127 < 2^15:
 * nothing saturates. Written in assembly because gcc 12 reorders the intrinsics until it runs out
 * of registers. */
static inline __attribute__((always_inline)) __m256i dot_add(__m256i sum, __m256i values,
                                                             __m256i columns, __m256i ones)
{
    __m256i pairs;
    __asm__("vpmaddubsw %[columns], %[values], %[pairs]\n\t"
            "vpmaddwd %[ones], %[pairs], %[pairs]\n\t"
            "vpaddd %[pairs], %[sum], %[sum]"
            : [sum] "+x"(sum), [pairs] "=&x"(pairs)
            : [columns] "x"(columns), [values] "x"(values), [ones] "x"(ones));
    return sum;
}

static inline __attribute__((always_inline)) void int8_tile(const struct gemm_tile *tile,
                                                            const int rows)
{
    const char *x = tile->x;
    const char *w = tile->w;
    const char *ahead = tile->ahead;
    __m256i ones = _mm256_set1_epi16(1);

    __m256i sum[INT8_ROWS][HALVES];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < HALVES; v++)
            sum[i][v] = _mm256_setzero_si256();
    }

    for (long k = 0; k < tile->depth; k += INT8_STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
        GEMM_UNROLL
        for (int u = 0; u < INT8_STEP; u += QUAD) {
            const __m256i *line = (const __m256i *)(const void *)(w + (k + u) * KERN_PANEL);
            __m256i left = _mm256_loadu_si256(line);
            __m256i right = _mm256_loadu_si256(line + 1);
            GEMM_UNROLL
            for (int i = 0; i < rows; i++) {
                int32_t quad;
                memcpy(&quad, x + i * tile->x_pitch + k + u, sizeof quad);
                __m256i values = _mm256_set1_epi32(quad);
                sum[i][0] = dot_add(sum[i][0], values, left, ones);
                sum[i][1] = dot_add(sum[i][1], values, right, ones);
            }
        }
    }
    int8_store(tile, sum, rows);
}

#define F32_TILE(rows, panels)                                                                     \
    static void f32_##rows##x##panels(const struct gemm_tile *tile)                                \
    {                                                                                              \
        f32_tile(tile, rows, panels);                                                              \
    }
#define INT8_TILE(rows)                                                                            \
    static void int8_##rows(const struct gemm_tile *tile)                                          \
    {                                                                                              \
        int8_tile(tile, rows);                                                                     \
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

INT8_TILE(1)
INT8_TILE(2)
INT8_TILE(3)
INT8_TILE(4)

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

static const struct gemm_plan int8_plan = {
    .x_size = 1,
    .w_size = KERN_PANEL,
    .step = INT8_STEP,
    .chunk_bytes = 256 * 1024,
    .rows = INT8_ROWS,
    .panels = {0, 1, 1, 1, 1},
    .tile = {{NULL}, {NULL, int8_1, int8_2, int8_3, int8_4}},
};

void kern_gemm_f32_avx2(const struct kern_gemm *job)
{
    gemm_walk(job, &f32_plan, job->x->f32, job->x->stride * (long)sizeof(float), job->w->k);
}

void kern_gemm_int8_avx2(const struct kern_gemm *job)
{
    long k = gemm_ceil_div(job->w->k, KERN_Q8_ALIGN) * KERN_Q8_ALIGN;
    gemm_walk(job, &int8_plan, job->x->q8, job->x->q8_stride, k);
}

/* gemm_bf16_avx2.c: the BF16 product with AVX2 and FMA.
 *
 * As in gemm_bf16_avx512.c, a tile first widens its activations to floats, and its weights as they
 * are loaded. A tile is 6 rows by 1 panel, 12 sums in registers; few rows take more panels.
 */
#include <immintrin.h>

#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

/* Two k of 16 columns fill a line, and a step is four lines. A vector of a line holds two k of 8
 * columns. */
enum { LANES = 8, HALVES = KERN_PANEL / LANES };
enum { ROWS = 6, VECTORS = 8, PAIR = 2, STEP = 8, DEPTH = 256 };

/* k0..k1 of a tile's bf16 rows to floats, (rows, DEPTH). Both are multiples of KERN_BF16_ALIGN. */
static inline void widen_rows(float *out, const struct gemm_tile *tile, int rows, long k0, long k1)
{
    for (int i = 0; i < rows; i++) {
        const char *x = tile->x + i * tile->x_pitch + k0 * PAIR;
        for (long k = 0; k < k1 - k0; k += LANES) {
            __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(x + k * PAIR));
            __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
            _mm256_storeu_ps(out + i * DEPTH + k, _mm256_castsi256_ps(wide));
        }
    }
}

/* sum += x * columns; x is (rows), DEPTH floats apart. */
ALWAYS_INLINE void multiply_add(__m256 sum[ROWS][VECTORS], const float *x,
                                const __m256 columns[VECTORS], const int rows, const int vectors)
{
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        __m256 value = _mm256_broadcast_ss(x + i * DEPTH);
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = _mm256_fmadd_ps(value, columns[v], sum[i][v]);
    }
}

/* sum += x[k..k+2] * w[k..k+2], the odd k first; w is (vectors / 2) panels, w_pitch bytes apart. */
ALWAYS_INLINE void multiply_add_pair(__m256 sum[ROWS][VECTORS], const float *x, const char *w,
                                     long w_pitch, const int rows, const int vectors)
{
    const __m256 upper = _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000));
    __m256 columns[VECTORS];
    GEMM_UNROLL
    for (int v = 0; v < vectors; v++) {
        const char *half = w + v / HALVES * w_pitch + v % HALVES * (GEMM_LINE / HALVES);
        columns[v] = _mm256_and_ps(_mm256_loadu_ps((const float *)(const void *)half), upper);
    }
    multiply_add(sum, x + 1, columns, rows, vectors);
    GEMM_UNROLL
    for (int v = 0; v < vectors; v++) {
        const char *half = w + v / HALVES * w_pitch + v % HALVES * (GEMM_LINE / HALVES);
        __m256i pairs = _mm256_loadu_si256((const __m256i *)(const void *)half);
        columns[v] = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    }
    multiply_add(sum, x, columns, rows, vectors);
}

/* Apart from the multiplication, which keeps its sums in registers. */
static void finish_tile(const struct gemm_tile *tile, int rows, int vectors)
{
    const struct kern_gemm *job = tile->job;
    for (int v = 0; v < vectors; v++) {
        long column = tile->panel * KERN_PANEL + v * LANES;
        __m256 bias = _mm256_loadu_ps(job->w->bias + column);
        for (int i = 0; i < rows; i++) {
            float *out = job->y + (tile->row + i) * job->y_stride + column;
            __m256 value = _mm256_add_ps(_mm256_loadu_ps(out), bias);
            _mm256_storeu_ps(out, job->epilogue == KERN_GELU ? kern_gelu8(value) : value);
        }
    }
}

ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows, const int panels)
{
    const int vectors = panels * HALVES;
    const struct kern_gemm *job = tile->job;
    const char *w = tile->w;
    const char *ahead = tile->ahead;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;

    _Alignas(GEMM_LINE) float x[ROWS * DEPTH];
    __m256 sum[ROWS][VECTORS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = tile->first ? _mm256_setzero_ps()
                                    : _mm256_loadu_ps(y + i * job->y_stride + LANES * v);
    }

    for (long k0 = 0; k0 < tile->depth; k0 += DEPTH) {
        long k1 = gemm_min(k0 + DEPTH, tile->depth);
        widen_rows(x, tile, rows, k0, k1);
        for (long k = k0; k < k1; k += STEP) {
            for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
                _mm_prefetch(ahead, _MM_HINT_T1);
            const char *at = w + k / PAIR * GEMM_LINE;
            /* Not unrolled: the compilers would run out of registers. */
#pragma GCC unroll 1
            for (int u = 0; u < STEP; u += PAIR)
                multiply_add_pair(sum, x + k - k0 + u, at + u / PAIR * GEMM_LINE, tile->w_pitch,
                                  rows, vectors);
        }
    }

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            _mm256_storeu_ps(y + i * job->y_stride + LANES * v, sum[i][v]);
    }
    if (tile->last)
        finish_tile(tile, rows, vectors);
}

#define TILE(rows, panels)                                                                         \
    static void tile_##rows##x##panels(const struct gemm_tile *tile)                               \
    {                                                                                              \
        multiply_tile(tile, rows, panels);                                                         \
    }

TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
TILE(1, 2)
TILE(2, 2)
TILE(3, 2)
TILE(1, 3)
TILE(2, 3)
TILE(1, 4)

static const struct gemm_plan plan = {
    .x_size = sizeof(uint16_t),
    .w_size = KERN_PANEL * sizeof(uint16_t),
    .step = STEP,
    .chunk_bytes = 512 * 1024,
    .depth = DEPTH,
    .rows = ROWS,
    .panels = {0, 4, 3, 2, 1, 1, 1},
    .tile = {{NULL},
             {NULL, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1},
             {NULL, tile_1x2, tile_2x2, tile_3x2},
             {NULL, tile_1x3, tile_2x3},
             {NULL, tile_1x4}},
};

void kern_gemm_bf16_avx2(const struct kern_gemm *job)
{
    long k = gemm_ceil_div(job->w->k, KERN_BF16_ALIGN) * KERN_BF16_ALIGN;
    gemm_walk(job, &plan, job->x->bf16, job->x->bf16_stride * (long)sizeof(uint16_t), k);
}

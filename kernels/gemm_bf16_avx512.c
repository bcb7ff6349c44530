/* gemm_bf16_avx512.c: the BF16 product with plain AVX-512.
 *
 * A tile first widens its activations to floats, each once for 48 multiply-adds; the weights are
 * widened as they are loaded, by a shift for the even k and a mask for the odd. A tile is 8 rows by
 * 3 panels, as in gemm_avx512.c.
 */
#include <immintrin.h>

#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx512.h"

/* Two k of 16 columns fill a line, and a step is four lines. */
enum { ROWS = 8, PANELS = 3, PAIR = 2, STEP = 8, DEPTH = 256, LANES = 16 };

/* k0..k1 of a tile's bf16 rows to floats, (rows, DEPTH). Both are multiples of KERN_BF16_ALIGN. */
static inline void widen_rows(float *out, const struct gemm_tile *tile, int rows, long k0, long k1)
{
    for (int i = 0; i < rows; i++) {
        const char *x = tile->x + i * tile->x_pitch + k0 * PAIR;
        for (long k = 0; k < k1 - k0; k += LANES) {
            __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)(x + k * PAIR));
            __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
            _mm512_store_si512(out + i * DEPTH + k, wide);
        }
    }
}

/* sum += x * columns; x is (rows), DEPTH floats apart. */
ALWAYS_INLINE void multiply_add(__m512 sum[ROWS][PANELS], const float *x,
                                const __m512i columns[PANELS], const int rows, const int panels)
{
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        __m512 value = _mm512_set1_ps(x[i * DEPTH]);
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = _mm512_fmadd_ps(value, _mm512_castsi512_ps(columns[v]), sum[i][v]);
    }
}

/* sum += x[k..k+2] * w[k..k+2], the odd k first; w is (panels), w_pitch bytes apart. */
ALWAYS_INLINE void multiply_add_pair(__m512 sum[ROWS][PANELS], const float *x, const char *w,
                                     long w_pitch, const int rows, const int panels)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    __m512i odd[PANELS], even[PANELS];
    GEMM_UNROLL
    for (int v = 0; v < panels; v++)
        odd[v] = _mm512_and_si512(_mm512_loadu_si512(w + v * w_pitch), upper);
    multiply_add(sum, x + 1, odd, rows, panels);
    GEMM_UNROLL
    for (int v = 0; v < panels; v++)
        even[v] = _mm512_slli_epi32(_mm512_loadu_si512(w + v * w_pitch), 16);
    multiply_add(sum, x, even, rows, panels);
}

/* Apart from the multiplication, because clang 14 would otherwise keep the sums in memory there. */
static void finish_tile(const struct gemm_tile *tile, int rows, int panels)
{
    const struct kern_gemm *job = tile->job;
    for (int v = 0; v < panels; v++) {
        long column = (tile->panel + v) * KERN_PANEL;
        __m512 bias = _mm512_loadu_ps(job->w->bias + column);
        for (int i = 0; i < rows; i++) {
            float *out = job->y + (tile->row + i) * job->y_stride + column;
            __m512 value = _mm512_add_ps(_mm512_loadu_ps(out), bias);
            _mm512_storeu_ps(out, job->epilogue == KERN_GELU ? kern_gelu16(value) : value);
        }
    }
}

ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows, const int panels)
{
    const struct kern_gemm *job = tile->job;
    const char *w = tile->w;
    const char *ahead = tile->ahead;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;

    _Alignas(GEMM_LINE) float x[ROWS * DEPTH];
    __m512 sum[ROWS][PANELS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = tile->first ? _mm512_setzero_ps()
                                    : _mm512_loadu_ps(y + i * job->y_stride + KERN_PANEL * v);
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
                                  rows, panels);
        }
    }

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            _mm512_storeu_ps(y + i * job->y_stride + KERN_PANEL * v, sum[i][v]);
    }
    if (tile->last)
        finish_tile(tile, rows, panels);
}

#define TILE(rows, panels)                                                                         \
    static void tile_##rows##x##panels(const struct gemm_tile *tile)                               \
    {                                                                                              \
        multiply_tile(tile, rows, panels);                                                         \
    }
#define TILES(panels)                                                                              \
    TILE(1, panels)                                                                                \
    TILE(2, panels)                                                                                \
    TILE(3, panels)                                                                                \
    TILE(4, panels)                                                                                \
    TILE(5, panels)                                                                                \
    TILE(6, panels)                                                                                \
    TILE(7, panels)                                                                                \
    TILE(8, panels)
#define TABLE(panels)                                                                              \
    {                                                                                              \
        NULL, tile_1x##panels, tile_2x##panels, tile_3x##panels, tile_4x##panels, tile_5x##panels, \
            tile_6x##panels, tile_7x##panels, tile_8x##panels                                      \
    }

TILES(1)
TILES(2)
TILES(3)

static const struct gemm_plan plan = {
    .x_size = sizeof(uint16_t),
    .w_size = KERN_PANEL * sizeof(uint16_t),
    .step = STEP,
    .chunk_bytes = 512 * 1024,
    .depth = DEPTH,
    .rows = ROWS,
    .panels = {0, 3, 3, 3, 3, 3, 3, 3, 3},
    .tile = {{NULL}, TABLE(1), TABLE(2), TABLE(3)},
};

void kern_gemm_bf16_avx512(const struct kern_gemm *job)
{
    long k = gemm_ceil_div(job->w->k, KERN_BF16_ALIGN) * KERN_BF16_ALIGN;
    gemm_walk(job, &plan, job->x->bf16, job->x->bf16_stride * (long)sizeof(uint16_t), k);
}

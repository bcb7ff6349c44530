/* gemm_avx512.c: the float product with AVX-512.
 *
 * A tile is 8 rows by 3 panels: 24 sums in registers, and 11 loads for 24 multiply-adds at every k.
 * Each sum is one chain of fused multiply-adds over k in order, whatever the tile, so a row has the
 * same bits beside any other rows.
 */
#include <immintrin.h>

#include "kernels/gemm_walk.h"
#include "kernels/levels.h"
#include "kernels/math_avx512.h"

enum { ROWS = 8, PANELS = 3, STEP = 4 };

static void gelu_tile(float *y, long y_stride, int rows, int panels)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < panels; v++) {
            float *out = y + i * y_stride + KERN_PANEL * v;
            _mm512_storeu_ps(out, kern_gelu16(_mm512_loadu_ps(out)));
        }
}

/* sum += x[k] * w[k]; x is (rows), x_stride floats apart, and w (panels), w_stride floats apart. */
static inline __attribute__((always_inline)) void multiply_add(__m512 sum[ROWS][PANELS],
                                                               const float *x, long x_stride,
                                                               const float *w, long w_stride,
                                                               const int rows, const int panels)
{
    __m512 columns[PANELS];
    GEMM_UNROLL
    for (int v = 0; v < panels; v++)
        columns[v] = _mm512_loadu_ps(w + v * w_stride);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        __m512 value = _mm512_set1_ps(x[i * x_stride]);
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = _mm512_fmadd_ps(value, columns[v], sum[i][v]);
    }
}

static inline __attribute__((always_inline)) void multiply_tile(const struct gemm_tile *tile,
                                                                const int rows, const int panels)
{
    const struct kern_gemm *job = tile->job;
    const float *x = (const float *)(const void *)tile->x;
    const float *w = (const float *)(const void *)tile->w;
    long x_stride = tile->x_pitch / (long)sizeof *x;
    long w_stride = tile->w_pitch / (long)sizeof *w;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;
    const float *bias = job->w->bias + tile->panel * KERN_PANEL;
    const char *ahead = tile->ahead;
    long depth = tile->depth;

    __m512 sum[ROWS][PANELS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = tile->first ? _mm512_setzero_ps()
                                    : _mm512_loadu_ps(y + i * job->y_stride + KERN_PANEL * v);
    }

    long k = 0;
    for (; k + STEP <= depth; k += STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
            /* Not unrolled: clang 14 would keep the sums in memory. */
#pragma GCC unroll 1
        for (int u = 0; u < STEP; u++)
            multiply_add(sum, x + k + u, x_stride, w + (k + u) * KERN_PANEL, w_stride, rows,
                         panels);
    }
    for (; k < depth; k++)
        multiply_add(sum, x + k, x_stride, w + k * KERN_PANEL, w_stride, rows, panels);

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++) {
            if (tile->last)
                sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_loadu_ps(bias + KERN_PANEL * v));
            _mm512_storeu_ps(y + i * job->y_stride + KERN_PANEL * v, sum[i][v]);
        }
    }
    if (tile->last && job->epilogue == KERN_GELU)
        gelu_tile(y, job->y_stride, rows, panels);
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
    .x_size = sizeof(float),
    .w_size = KERN_PANEL * sizeof(float),
    .step = STEP,
    .chunk_bytes = 512 * 1024,
    .depth = 256,
    .rows = ROWS,
    .panels = {0, 3, 3, 3, 3, 3, 3, 3, 3},
    .tile = {{NULL}, TABLE(1), TABLE(2), TABLE(3)},
};

void kern_gemm_f32_avx512(const struct kern_gemm *job)
{
    gemm_walk(job, &plan, job->x->f32, job->x->stride * (long)sizeof(float), job->w->k);
}

/* gemm_bf16.c: the BF16 product with AVX-512 BF16, which CPUs of the VNNI level may have.
 *
 * vdpbf16ps multiplies two bf16 activations with two bf16 weights in each of 16 columns and adds the
 * products to float sums, the second first. A tile is 8 rows by 3 panels, as in gemm_avx512.c.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx512.h"

/* Two k of 16 columns fill a line, and a step is four lines. */
enum { ROWS = 8, PANELS = 3, PAIR = 2, STEP = 8 };

/* Adds the products of bf16 values and columns, two by two. In assembly, and not where
 * instructions are emulated, for the reasons that gemm_vnni.c gives. */
ALWAYS_INLINE __m512 dot_add(__m512 sum, __m512i values, __m512i columns)
{
#if defined(KERN_EMULATED)
    return _mm512_dpbf16_ps(sum, (__m512bh)values, (__m512bh)columns);
#else
    __asm__("vdpbf16ps %[columns], %[values], %[sum]"
            : [sum] "+v"(sum)
            : [values] "v"(values), [columns] "v"(columns));
    return sum;
#endif
}

/* sum += x[k..k+2] * w[k..k+2]; x is (rows), x_pitch bytes apart, and w (panels), w_pitch bytes
 * apart. */
ALWAYS_INLINE void multiply_add(__m512 sum[ROWS][PANELS], const char *x, long x_pitch,
                                const char *w, long w_pitch, const int rows, const int panels)
{
    __m512i columns[PANELS];
    GEMM_UNROLL
    for (int v = 0; v < panels; v++)
        columns[v] = _mm512_loadu_si512(w + v * w_pitch);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        int32_t pair;
        memcpy(&pair, x + i * x_pitch, sizeof pair);
        __m512i values = _mm512_set1_epi32(pair);
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = dot_add(sum[i][v], values, columns[v]);
    }
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
    const char *x = tile->x;
    const char *w = tile->w;
    const char *ahead = tile->ahead;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;

    __m512 sum[ROWS][PANELS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = tile->first ? _mm512_setzero_ps()
                                    : _mm512_loadu_ps(y + i * job->y_stride + KERN_PANEL * v);
    }

    for (long k = 0; k < tile->depth; k += STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
        GEMM_UNROLL
        for (int u = 0; u < STEP; u += PAIR)
            multiply_add(sum, x + (k + u) * PAIR, tile->x_pitch, w + (k + u) / PAIR * GEMM_LINE,
                         tile->w_pitch, rows, panels);
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
    .depth = 512,
    .rows = ROWS,
    .panels = {0, 3, 3, 3, 3, 3, 3, 3, 3},
    .tile = {{NULL}, TABLE(1), TABLE(2), TABLE(3)},
};

void kern_gemm_bf16_dot(const struct kern_gemm *job)
{
    long k = gemm_ceil_div(job->w->k, KERN_BF16_ALIGN) * KERN_BF16_ALIGN;
    gemm_walk(job, &plan, job->x->bf16, job->x->bf16_stride * (long)sizeof(uint16_t), k);
}

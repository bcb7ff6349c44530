/* gemm_vnni.c: the INT8 product with AVX-512 VNNI, and the level that adds it.
 *
 * vpdpbusd multiplies four u8 activations with four s8 weights in each of 16 columns and adds the
 * products to 32-bit sums, exactly. A tile is 8 rows by 3 panels, as in gemm_avx512.c: 11 loads for
 * 24 multiply-adds.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/finish_vnni.h"
#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/levels.h"

/* Four k of 16 columns fill a line, and a step is four lines. */
enum { ROWS = 8, PANELS = 3, QUAD = 4, STEP = 16 };

/* y = epilogue((sum - zero * column_sum) * x scale * w scale + bias). Apart from the multiplication, and by way of memory,
 * because clang 14 would otherwise keep the sums in memory there. */
static void finish_tile(const struct gemm_tile *tile, int rows, int panels)
{
    const struct kern_gemm *job = tile->job;
    const struct kern_weights *weights = job->w;
    for (int v = 0; v < panels; v++) {
        long column = (tile->panel + v) * KERN_PANEL;
        __m512i columns = kern_negative_halves(_mm512_loadu_si512(weights->column_sum + column));
        __m512 scale = _mm512_loadu_ps(weights->scale + column);
        __m512 bias = _mm512_loadu_ps(weights->bias + column);
        for (int i = 0; i < rows; i++) {
            long row = tile->row + i;
            __m512i sum = _mm512_load_si512(tile->sums + (v * GEMM_ROWS_MAX + i) * KERN_PANEL);
            sum = _mm512_dpwssd_epi32(sum, kern_zero_halves(job->x->zero[row]), columns);
            __m512 scaled =
                _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(job->x->scale[row]));
            __m512 value = _mm512_fmadd_ps(scaled, scale, bias);
            if (job->epilogue == KERN_GELU) /* what is rounded can do with fewer bits */
                value = job->y ? kern_gelu16(value) : kern_gelu_short16(value);
            if (job->y)
                _mm512_storeu_ps(job->y + row * job->y_stride + column, value);
            else /* at level amx */
                _mm256_storeu_si256((__m256i *)(void *)kern_bf16_at(job->blocks, row, column),
                                    kern_round16(value));
        }
    }
}

/* Adds the products of u8 values and s8 columns, four by four. In assembly because gcc 12 copies
 * the sum before and after the intrinsic; where tests emulate the instructions, there is only that. */
ALWAYS_INLINE __m512i dot_add(__m512i sum, __m512i values, __m512i columns)
{
#if defined(KERN_EMULATED)
    return _mm512_dpbusd_epi32(sum, values, columns);
#else
    __asm__("vpdpbusd %[columns], %[values], %[sum]"
            : [sum] "+v"(sum)
            : [values] "v"(values), [columns] "v"(columns));
    return sum;
#endif
}

/* sum += x[k..k+4] * w[k..k+4]; x is (rows), x_pitch bytes apart, and w (panels), w_pitch bytes
 * apart. */
ALWAYS_INLINE void multiply_add(__m512i sum[ROWS][PANELS], const char *x, long x_pitch,
                                const char *w, long w_pitch, const int rows, const int panels)
{
    __m512i columns[PANELS];
    GEMM_UNROLL
    for (int v = 0; v < panels; v++)
        columns[v] = _mm512_loadu_si512(w + v * w_pitch);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        int32_t quad;
        memcpy(&quad, x + i * x_pitch, sizeof quad);
        __m512i values = _mm512_set1_epi32(quad);
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = dot_add(sum[i][v], values, columns[v]);
    }
}

ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows, const int panels)
{
    const char *x = tile->x;
    const char *w = tile->w;
    const char *ahead = tile->ahead;

    __m512i sum[ROWS][PANELS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = _mm512_setzero_si512();
    }

    for (long k = 0; k < tile->depth; k += STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
        GEMM_UNROLL
        for (int u = 0; u < STEP; u += QUAD)
            multiply_add(sum, x + k + u, tile->x_pitch, w + (k + u) * KERN_PANEL, tile->w_pitch,
                         rows, panels);
    }

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            _mm512_store_si512(tile->sums + (v * GEMM_ROWS_MAX + i) * KERN_PANEL, sum[i][v]);
    }
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
    .x_size = 1,
    .w_size = KERN_PANEL,
    .step = STEP,
    .chunk_bytes = 512 * 1024,
    .rows = ROWS,
    .panels = {0, 3, 3, 3, 3, 3, 3, 3, 3},
    .tile = {{NULL}, TABLE(1), TABLE(2), TABLE(3)},
};

void kern_gemm_int8_vnni(const struct kern_gemm *job)
{
    long k = gemm_ceil_div(job->w->k, KERN_Q8_ALIGN) * KERN_Q8_ALIGN;
    gemm_walk(job, &plan, job->x->q8, job->x->q8_stride, k);
}

void kern_overlay_vnni(struct kern_table *table)
{
    table->level = KERN_VNNI;
    table->name = kern_level_name(KERN_VNNI);
    table->fast_int8 = KERN_INT8;
    table->panel_group = PANELS;
    table->gemm[KERN_INT8] = kern_gemm_int8_vnni;
    table->pack_s8[KERN_INT8] = kern_pack_int8_avx512;
    if (kern_has_bf16_dot())
        table->gemm[KERN_BF16] = kern_gemm_bf16_dot;
}

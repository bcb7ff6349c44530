/* gemm_avx512.c: the products of floats with AVX-512, on weights held as float, half precision or s8.
 *
 * A tile is 8 rows by 3 panels: 24 sums in registers, and 11 loads for 24 multiply-adds at every k.
 * Each sum is one chain of fused multiply-adds over k in order, whatever the tile, so a row has the
 * same bits beside any other rows. Converting three panels takes as long as six of the 24 multiply-adds: where many tiles
 * meet the same weights, these become floats first.
 */
#include <immintrin.h>

#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx512.h"

enum { ROWS = 8, PANELS = 3, STEP = 4, DEPTH = 256 };

static void gelu_tile(float *y, long y_stride, int rows, int panels)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < panels; v++) {
            float *out = y + i * y_stride + KERN_PANEL * v;
            _mm512_storeu_ps(out, kern_gelu16(_mm512_loadu_ps(out)));
        }
}

/* 16 weights as floats. */
ALWAYS_INLINE __m512 load_weights(const char *w, const enum kern_scheme held)
{
    if (held == KERN_F16)
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)w));
    if (held == KERN_S8)
        return _mm512_cvtepi32_ps(
            _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)w)));
    return _mm512_loadu_ps(w);
}

/* sum += x[k] * w[k]; x is (rows), x_stride floats apart, and w (panels), w_pitch bytes apart. */
ALWAYS_INLINE void multiply_add(__m512 sum[ROWS][PANELS], const float *x, long x_stride,
                                const char *w, long w_pitch, const int rows, const int panels,
                                const enum kern_scheme held)
{
    __m512 columns[PANELS];
    GEMM_UNROLL
    for (int v = 0; v < panels; v++)
        columns[v] = load_weights(w + v * w_pitch, held);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        __m512 value = _mm512_set1_ps(x[i * x_stride]);
        GEMM_UNROLL
        for (int v = 0; v < panels; v++)
            sum[i][v] = _mm512_fmadd_ps(value, columns[v], sum[i][v]);
    }
}

/* scaled: the sums are, by the scale of their column. */
ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows, const int panels,
                                 const enum kern_scheme held, const int scaled)
{
    const long line_bytes = KERN_PANEL * (held == KERN_F16  ? (long)sizeof(uint16_t)
                                          : held == KERN_S8 ? (long)sizeof(int8_t)
                                                            : (long)sizeof(float)); /* of one k */
    const struct kern_gemm *job = tile->job;
    const float *x = (const float *)(const void *)tile->x;
    const char *w = tile->w;
    long x_stride = tile->x_pitch / (long)sizeof *x;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;
    const float *bias = job->w->bias + tile->panel * KERN_PANEL;
    const float *scale = scaled ? job->w->scale + tile->panel * KERN_PANEL : NULL;
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
            multiply_add(sum, x + k + u, x_stride, w + (k + u) * line_bytes, tile->w_pitch, rows,
                         panels, held);
    }
    for (; k < depth; k++)
        multiply_add(sum, x + k, x_stride, w + k * line_bytes, tile->w_pitch, rows, panels, held);

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < panels; v++) {
            if (tile->last && scaled)
                sum[i][v] = _mm512_fmadd_ps(sum[i][v], _mm512_loadu_ps(scale + KERN_PANEL * v),
                                            _mm512_loadu_ps(bias + KERN_PANEL * v));
            else if (tile->last)
                sum[i][v] = _mm512_add_ps(sum[i][v], _mm512_loadu_ps(bias + KERN_PANEL * v));
            _mm512_storeu_ps(y + i * job->y_stride + KERN_PANEL * v, sum[i][v]);
        }
    }
    if (tile->last && job->epilogue == KERN_GELU)
        gelu_tile(y, job->y_stride, rows, panels);
}

#define TILE(name, held, scaled, rows, panels)                                                     \
    static void name##_##rows##x##panels(const struct gemm_tile *tile)                             \
    {                                                                                              \
        multiply_tile(tile, rows, panels, held, scaled);                                           \
    }
#define TILES(name, held, scaled, panels)                                                          \
    TILE(name, held, scaled, 1, panels)                                                            \
    TILE(name, held, scaled, 2, panels)                                                            \
    TILE(name, held, scaled, 3, panels)                                                            \
    TILE(name, held, scaled, 4, panels)                                                            \
    TILE(name, held, scaled, 5, panels)                                                            \
    TILE(name, held, scaled, 6, panels)                                                            \
    TILE(name, held, scaled, 7, panels)                                                            \
    TILE(name, held, scaled, 8, panels)
#define TABLE(name, panels)                                                                        \
    {                                                                                              \
        NULL, name##_1x##panels, name##_2x##panels, name##_3x##panels, name##_4x##panels,          \
            name##_5x##panels, name##_6x##panels, name##_7x##panels, name##_8x##panels             \
    }
#define TABLES(name)                                                                               \
    {                                                                                              \
        {NULL}, TABLE(name, 1), TABLE(name, 2), TABLE(name, 3)                                     \
    }
#define PLAN(name, bytes)                                                                          \
    .x_size = sizeof(float), .w_size = KERN_PANEL * (bytes), .step = STEP,                         \
    .chunk_bytes = 1024 * 1024, .depth = DEPTH, .rows = ROWS,                                      \
    .panels = {0, PANELS, PANELS, PANELS, PANELS, PANELS, PANELS, PANELS, PANELS},                 \
    .tile = TABLES(name)

TILES(f32, KERN_F32, 0, 1)
TILES(f32, KERN_F32, 0, 2)
TILES(f32, KERN_F32, 0, 3)
TILES(scaled_f32, KERN_F32, 1, 1)
TILES(scaled_f32, KERN_F32, 1, 2)
TILES(scaled_f32, KERN_F32, 1, 3)
TILES(f16, KERN_F16, 0, 1)
TILES(f16, KERN_F16, 0, 2)
TILES(f16, KERN_F16, 0, 3)
TILES(s8, KERN_S8, 1, 1)
TILES(s8, KERN_S8, 1, 2)
TILES(s8, KERN_S8, 1, 3)

static void widen_f16(float *out, const char *w, long depth)
{
    for (long k = 0; k < depth; k++, w += KERN_PANEL * sizeof(uint16_t))
        _mm512_store_ps(out + k * KERN_PANEL, load_weights(w, KERN_F16));
}

static void widen_s8(float *out, const char *w, long depth)
{
    for (long k = 0; k < depth; k++, w += KERN_PANEL)
        _mm512_store_ps(out + k * KERN_PANEL, load_weights(w, KERN_S8));
}

static const struct gemm_plan f32_plan = {PLAN(f32, sizeof(float))};
static const struct gemm_plan f16_plan = {PLAN(f16, sizeof(uint16_t)), .widen = widen_f16,
                                          .wide_tile = TABLES(f32)};
static const struct gemm_plan s8_plan = {PLAN(s8, sizeof(int8_t)), .widen = widen_s8,
                                         .wide_tile = TABLES(scaled_f32)};

static void multiply_rows(const struct kern_gemm *job, const struct gemm_plan *plan)
{
    _Alignas(GEMM_LINE) float room[PANELS * DEPTH * KERN_PANEL];
    gemm_walk_widening(job, plan, job->x->f32, job->x->stride * (long)sizeof(float), job->w->k,
                       plan->widen ? room : NULL);
}

void kern_gemm_f32_avx512(const struct kern_gemm *job)
{
    multiply_rows(job, &f32_plan);
}

void kern_gemm_f16_avx512(const struct kern_gemm *job)
{
    multiply_rows(job, &f16_plan);
}

void kern_gemm_s8_avx512(const struct kern_gemm *job)
{
    multiply_rows(job, &s8_plan);
}

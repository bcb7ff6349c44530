/* gemm_bf16_neon.c: the BF16 product with NEON.
 *
 * A tile first widens its activations to floats, and its weights as they are loaded. A tile is 6
 * rows by 1 panel, 24 sums in registers; few rows take more panels.
 */
#include "kernels/gemm_neon.h"
#include "kernels/inline.h"
#include "kernels/levels.h"

/* Two k of 16 columns fill a line, and a step is four lines. */
enum { LANES = KERN_NEON_LANES, ROWS = 6, VECTORS = 16, PAIR = 2, STEP = 8, DEPTH = 256 };

/* k0..k1 of a tile's bf16 rows to floats, (rows, DEPTH). Both are multiples of KERN_BF16_ALIGN. */
static inline void widen_rows(float *out, const struct gemm_tile *tile, int rows, long k0, long k1)
{
    for (int i = 0; i < rows; i++) {
        const uint16_t *x = (const uint16_t *)(const void *)(tile->x + i * tile->x_pitch) + k0;
        for (long k = 0; k < k1 - k0; k += LANES)
            vst1q_f32(out + i * DEPTH + k, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(x + k), 16)));
    }
}

/* sum += x[k] * w[k] for the even or the odd k of a line; x is (rows), DEPTH floats apart, and w
 * (panels), w_pitch bytes apart. */
ALWAYS_INLINE void multiply_add(float32x4_t sum[ROWS][VECTORS], const float *x, const char *w,
                                long w_pitch, const int rows, const int panels, const int odd)
{
    GEMM_UNROLL
    for (int p = 0; p < panels; p++) {
        float32x4_t columns[GEMM_QUARTERS];
        GEMM_UNROLL
        for (int v = 0; v < GEMM_QUARTERS; v++) {
            const uint32x4_t pairs =
                vld1q_u32((const uint32_t *)(const void *)(w + p * w_pitch + v * GEMM_BYTES));
            columns[v] = vreinterpretq_f32_u32(odd ? vandq_u32(pairs, vdupq_n_u32(0xffff0000))
                                                   : vshlq_n_u32(pairs, 16));
        }
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            const float value = x[i * DEPTH];
            GEMM_UNROLL
            for (int v = 0; v < GEMM_QUARTERS; v++) {
                float32x4_t *to = &sum[i][p * GEMM_QUARTERS + v];
                *to = vfmaq_n_f32(*to, columns[v], value);
            }
        }
    }
}

/* Apart from the multiplication, which keeps its sums in registers. */
static void finish_tile(const struct gemm_tile *tile, int rows, int vectors)
{
    const struct kern_gemm *job = tile->job;
    for (int v = 0; v < vectors; v++) {
        const long column = tile->panel * KERN_PANEL + v * LANES;
        const float32x4_t bias = vld1q_f32(job->w->bias + column);
        for (int i = 0; i < rows; i++) {
            float *out = job->y + (tile->row + i) * job->y_stride + column;
            const float32x4_t value = vaddq_f32(vld1q_f32(out), bias);
            vst1q_f32(out, job->epilogue == KERN_GELU ? kern_gelu4(value) : value);
        }
    }
}

ALWAYS_INLINE void multiply_tile(const struct gemm_tile *tile, const int rows, const int panels)
{
    const int vectors = panels * GEMM_QUARTERS;
    const struct kern_gemm *job = tile->job;
    const char *ahead = tile->ahead;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;

    _Alignas(GEMM_LINE) float x[ROWS * DEPTH];
    float32x4_t sum[ROWS][VECTORS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] =
                tile->first ? vdupq_n_f32(0.0f) : vld1q_f32(y + i * job->y_stride + LANES * v);
    }

    for (long k0 = 0; k0 < tile->depth; k0 += DEPTH) {
        const long k1 = gemm_min(k0 + DEPTH, tile->depth);
        widen_rows(x, tile, rows, k0, k1);
        for (long k = k0; k < k1; k += STEP) {
            for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
                __builtin_prefetch(ahead, 0, 2);
            const char *w = tile->w + k / PAIR * GEMM_LINE;
            /* Not unrolled: the compiler would mix the steps until it runs out of registers. */
#pragma GCC unroll 1
            for (int u = 0; u < STEP; u += PAIR, w += GEMM_LINE) {
                multiply_add(sum, x + k - k0 + u + 1, w, tile->w_pitch, rows, panels, 1);
                multiply_add(sum, x + k - k0 + u, w, tile->w_pitch, rows, panels, 0);
            }
        }
    }

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            vst1q_f32(y + i * job->y_stride + LANES * v, sum[i][v]);
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
TILE(1, 3)
TILE(1, 4)

static const struct gemm_plan plan = {
    .x_size = sizeof(uint16_t),
    .w_size = KERN_PANEL * sizeof(uint16_t),
    .step = STEP,
    .chunk_bytes = 512 * 1024,
    .depth = DEPTH,
    .rows = ROWS,
    .panels = {0, 4, 2, 1, 1, 1, 1},
    .tile = {{NULL},
             {NULL, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1},
             {NULL, tile_1x2, tile_2x2},
             {NULL, tile_1x3},
             {NULL, tile_1x4}},
};

void kern_gemm_bf16_neon(const struct kern_gemm *job)
{
    gemm_walk(job, &plan, job->x->bf16, job->x->bf16_stride * (long)sizeof(uint16_t),
              kern_round_up(job->w->k, KERN_BF16_ALIGN));
}

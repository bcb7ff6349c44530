/* gemm_neon.c: the float and the INT8 product with NEON.
 *
 * Float: a tile is 6 rows by 1 panel, 24 sums in registers; few rows take more panels instead, to
 * keep enough chains of additions going. Each sum is one chain of fused multiply-adds over k in
 * order, whatever the tile, so a row has the same bits beside any other rows.
 *
 * INT8, for CPUs without dot products: a tile is 2 rows by 1 panel. Activations less 128 are signed
 * bytes; two of their products with weights in -127..127 stay below 2 * 128 * 127 < 2^15, so that
 * they are summed in 16 bits before they go to 32.
 */
#include "kernels/gemm_neon.h"
#include "kernels/inline.h"
#include "kernels/levels.h"

enum { LANES = KERN_NEON_LANES, QUAD = 4 };
enum { F32_ROWS = 6, F32_VECTORS = 16, F32_STEP = 4 };
enum { INT8_ROWS = 2, INT8_STEP = 16 };

/* sum += x[k] * w[k]; x is (rows), x_stride floats apart, and w (panels), w_stride floats apart. */
ALWAYS_INLINE void multiply_add(float32x4_t sum[F32_ROWS][F32_VECTORS], const float *x,
                                long x_stride, const float *w, long w_stride, const int rows,
                                const int panels)
{
    float value[F32_ROWS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        value[i] = x[i * x_stride];
    GEMM_UNROLL
    for (int p = 0; p < panels; p++) {
        float32x4_t columns[GEMM_QUARTERS];
        GEMM_UNROLL
        for (int v = 0; v < GEMM_QUARTERS; v++)
            columns[v] = vld1q_f32(w + p * w_stride + v * LANES);
        GEMM_UNROLL
        for (int i = 0; i < rows; i++) {
            float32x4_t *row = sum[i] + p * GEMM_QUARTERS;
            GEMM_UNROLL
            for (int v = 0; v < GEMM_QUARTERS; v++)
                row[v] = vfmaq_n_f32(row[v], columns[v], value[i]);
        }
    }
}

ALWAYS_INLINE void f32_tile(const struct gemm_tile *tile, const int rows, const int panels)
{
    const int vectors = panels * GEMM_QUARTERS;
    const struct kern_gemm *job = tile->job;
    const float *x = (const float *)(const void *)tile->x;
    const float *w = (const float *)(const void *)tile->w;
    const long x_stride = tile->x_pitch / (long)sizeof *x;
    const long w_stride = tile->w_pitch / (long)sizeof *w;
    float *y = job->y + tile->row * job->y_stride + tile->panel * KERN_PANEL;
    const float *bias = job->w->bias + tile->panel * KERN_PANEL;
    const char *ahead = tile->ahead;
    const long depth = tile->depth;

    float32x4_t sum[F32_ROWS][F32_VECTORS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] =
                tile->first ? vdupq_n_f32(0.0f) : vld1q_f32(y + i * job->y_stride + LANES * v);
    }

    long k = 0;
    for (; k + F32_STEP <= depth; k += F32_STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            __builtin_prefetch(ahead, 0, 2);
            /* Not unrolled: the compiler would mix the steps until it runs out of registers. */
#pragma GCC unroll 1
        for (int u = 0; u < F32_STEP; u++)
            multiply_add(sum, x + k + u, x_stride, w + (k + u) * KERN_PANEL, w_stride, rows,
                         panels);
    }
    for (; k < depth; k++)
        multiply_add(sum, x + k, x_stride, w + k * KERN_PANEL, w_stride, rows, panels);

    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++) {
            if (tile->last)
                sum[i][v] = vaddq_f32(sum[i][v], vld1q_f32(bias + LANES * v));
            vst1q_f32(y + i * job->y_stride + LANES * v, sum[i][v]);
        }
    }
    if (tile->last && job->epilogue == KERN_GELU)
        gemm_gelu_tile(y, job->y_stride, rows, vectors);
}

/* 8 k of 4 columns times those of one row: sum[0] gets the pairs of the first two columns, sum[1]
 * those of the others. */
ALWAYS_INLINE void dot_add(int32x4_t sum[2], int8x16_t first, int8x16_t second, int8x16_t x_first,
                           int8x16_t x_second)
{
    int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(x_first));
    int16x8_t high = vmull_high_s8(first, x_first);
    low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(x_second));
    high = vmlal_high_s8(high, second, x_second);
    sum[0] = vpadalq_s16(sum[0], low);
    sum[1] = vpadalq_s16(sum[1], high);
}

/* k bytes number `quad` of 4, in all lanes. */
#define QUAD_OF(x, quad) vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(x), quad))

ALWAYS_INLINE void int8_tile(const struct gemm_tile *tile, const int rows)
{
    const struct kern_gemm *job = tile->job;
    const int8_t *w = (const int8_t *)(const void *)tile->w;
    const char *ahead = tile->ahead;

    int32x4_t sum[INT8_ROWS][GEMM_QUARTERS][2];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < GEMM_QUARTERS; v++)
            sum[i][v][0] = sum[i][v][1] = vdupq_n_s32(0);
    }

    for (long k = 0; k < tile->depth; k += INT8_STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            __builtin_prefetch(ahead, 0, 2);
        int8x16_t x[INT8_ROWS];
        GEMM_UNROLL
        for (int i = 0; i < rows; i++)
            x[i] = gemm_signed(tile->x + i * tile->x_pitch + k);
        GEMM_UNROLL
        for (int v = 0; v < GEMM_QUARTERS; v++) {
            const int8_t *from = w + k * KERN_PANEL + v * GEMM_BYTES;
            const int8x16_t quad0 = vld1q_s8(from);
            const int8x16_t quad1 = vld1q_s8(from + GEMM_LINE);
            const int8x16_t quad2 = vld1q_s8(from + 2 * GEMM_LINE);
            const int8x16_t quad3 = vld1q_s8(from + 3 * GEMM_LINE);
            GEMM_UNROLL
            for (int i = 0; i < rows; i++) {
                dot_add(sum[i][v], quad0, quad1, QUAD_OF(x[i], 0), QUAD_OF(x[i], 1));
                dot_add(sum[i][v], quad2, quad3, QUAD_OF(x[i], 2), QUAD_OF(x[i], 3));
            }
        }
    }

    const long column = tile->panel * KERN_PANEL;
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < GEMM_QUARTERS; v++)
            gemm_int8_store(job, tile->row + i, column + v * LANES,
                            vpaddq_s32(sum[i][v][0], sum[i][v][1]));
    }
    if (job->epilogue == KERN_GELU)
        gemm_gelu_tile(job->y + tile->row * job->y_stride + column, job->y_stride, rows,
                       GEMM_QUARTERS);
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
F32_TILE(1, 3)
F32_TILE(1, 4)

INT8_TILE(1)
INT8_TILE(2)

static const struct gemm_plan f32_plan = {
    .x_size = sizeof(float),
    .w_size = KERN_PANEL * sizeof(float),
    .step = F32_STEP,
    .chunk_bytes = 512 * 1024,
    .depth = 384,
    .rows = F32_ROWS,
    .panels = {0, 4, 2, 1, 1, 1, 1},
    .tile = {{NULL},
             {NULL, f32_1x1, f32_2x1, f32_3x1, f32_4x1, f32_5x1, f32_6x1},
             {NULL, f32_1x2, f32_2x2},
             {NULL, f32_1x3},
             {NULL, f32_1x4}},
};

static const struct gemm_plan int8_plan = {
    .x_size = 1,
    .w_size = KERN_PANEL,
    .step = INT8_STEP,
    .chunk_bytes = 256 * 1024,
    .rows = INT8_ROWS,
    .panels = {0, 1, 1},
    .tile = {{NULL}, {NULL, int8_1, int8_2}},
};

void kern_gemm_f32_neon(const struct kern_gemm *job)
{
    gemm_walk(job, &f32_plan, job->x->f32, job->x->stride * (long)sizeof(float), job->w->k);
}

void kern_gemm_int8_neon(const struct kern_gemm *job)
{
    gemm_walk(job, &int8_plan, job->x->q8, job->x->q8_stride,
              kern_round_up(job->w->k, KERN_Q8_ALIGN));
}

/* gemm_dotprod.c: the INT8 product with the dot-product instructions of Armv8.2 (SDOT), four k of
 * four columns at a time. A tile is 5 rows by 1 panel; few rows take more panels instead. */
#include "kernels/gemm_neon.h"
#include "kernels/inline.h"
#include "kernels/levels.h"

enum { LANES = KERN_NEON_LANES, ROWS = 5, VECTORS = 16, STEP = 16 };

ALWAYS_INLINE void multiply_add(int32x4_t sum[ROWS][VECTORS], const int8x16_t x[ROWS],
                                const int8_t *w, long w_pitch, const int rows, const int vectors,
                                const int quad)
{
    GEMM_UNROLL
    for (int v = 0; v < vectors; v++) {
        const int8x16_t columns =
            vld1q_s8(w + v / GEMM_QUARTERS * w_pitch + v % GEMM_QUARTERS * GEMM_BYTES);
        GEMM_UNROLL
        for (int i = 0; i < rows; i++)
            /* The lane must be a constant where it stands. */
            sum[i][v] = quad == 0   ? vdotq_laneq_s32(sum[i][v], columns, x[i], 0)
                        : quad == 1 ? vdotq_laneq_s32(sum[i][v], columns, x[i], 1)
                        : quad == 2 ? vdotq_laneq_s32(sum[i][v], columns, x[i], 2)
                                    : vdotq_laneq_s32(sum[i][v], columns, x[i], 3);
    }
}

ALWAYS_INLINE void dot_tile(const struct gemm_tile *tile, const int rows, const int panels)
{
    const int vectors = panels * GEMM_QUARTERS;
    const struct kern_gemm *job = tile->job;
    const int8_t *w = (const int8_t *)(const void *)tile->w;
    const char *ahead = tile->ahead;

    int32x4_t sum[ROWS][VECTORS];
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[i][v] = vdupq_n_s32(0);
    }

    for (long k = 0; k < tile->depth; k += STEP) {
        for (long line = 0; line < tile->ahead_lines; line++, ahead += GEMM_LINE)
            __builtin_prefetch(ahead, 0, 2);
        int8x16_t x[ROWS];
        GEMM_UNROLL
        for (int i = 0; i < rows; i++)
            x[i] = gemm_signed(tile->x + i * tile->x_pitch + k);
        GEMM_UNROLL
        for (int quad = 0; quad < 4; quad++)
            multiply_add(sum, x, w + k * KERN_PANEL + quad * GEMM_LINE, tile->w_pitch, rows,
                         vectors, quad);
    }

    const long column = tile->panel * KERN_PANEL;
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
        GEMM_UNROLL
        for (int v = 0; v < vectors; v++)
            gemm_int8_store(job, tile->row + i, column + v * LANES, sum[i][v]);
    }
    if (job->epilogue == KERN_GELU)
        gemm_gelu_tile(job->y + tile->row * job->y_stride + column, job->y_stride, rows, vectors);
}

#define DOT_TILE(rows, panels)                                                                     \
    static void dot_##rows##x##panels(const struct gemm_tile *tile)                                \
    {                                                                                              \
        dot_tile(tile, rows, panels);                                                              \
    }

DOT_TILE(1, 1)
DOT_TILE(2, 1)
DOT_TILE(3, 1)
DOT_TILE(4, 1)
DOT_TILE(5, 1)
DOT_TILE(1, 2)
DOT_TILE(2, 2)
DOT_TILE(1, 3)
DOT_TILE(1, 4)

static const struct gemm_plan plan = {
    .x_size = 1,
    .w_size = KERN_PANEL,
    .step = STEP,
    .chunk_bytes = 256 * 1024,
    .rows = ROWS,
    .panels = {0, 4, 2, 1, 1, 1},
    .tile = {{NULL},
             {NULL, dot_1x1, dot_2x1, dot_3x1, dot_4x1, dot_5x1},
             {NULL, dot_1x2, dot_2x2},
             {NULL, dot_1x3},
             {NULL, dot_1x4}},
};

static void gemm_int8(const struct kern_gemm *job)
{
    gemm_walk(job, &plan, job->x->q8, job->x->q8_stride, kern_round_up(job->w->k, KERN_Q8_ALIGN));
}

void kern_overlay_dotprod(struct kern_table *table)
{
    table->gemm[KERN_INT8] = gemm_int8;
}

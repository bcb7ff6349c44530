/* amx_bf16.c: the bf16 product and the split bf16 product with AMX.
 *
 * The tile instruction adds up 16 products of even k and 16 of odd k, each from zero by fused
 * multiply-adds, and then both to the sum so far. Denormal values, sums among them, count as zero.
 */
#include "kernels/amx_gemm.h"
#include "kernels/inline.h"
#include "kernels/levels.h"

enum {
    TILE_DEPTH = 32,       /* k of a tile */
    BLOCK_STEPS = 12,      /* of k: a pair of panels then takes 24 KB of the L1 cache */
    SPLIT_BLOCK_STEPS = 6, /* the same with hi and lo values */
};

/* y = epilogue(sum + bias) */
ALWAYS_INLINE void finish_rows(const struct amx_sums *sums, int from, int to, const int panels,
                               const enum amx_form form, const int gelu)
{
    __m512 bias[AMX_PAIR], value[AMX_PAIR] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int v = 0; v < panels; v++)
        bias[v] = _mm512_loadu_ps(sums->job->w->bias + (sums->panel + v) * KERN_PANEL);
    while (from < to) {
        struct amx_run run = amx_run_of(sums, from, to, panels, form);
        for (int i = 0; i < run.rows; i++) {
            for (int v = 0; v < panels; v++) {
                const __m512i sum = _mm512_load_si512(run.at + v * KERN_TILE_BYTES);
                value[v] = _mm512_add_ps(_mm512_castsi512_ps(sum), bias[v]);
            }
            amx_put(&run, panels, form, gelu, value);
        }
        from += run.rows;
    }
}

AMX_FINISH(finish, finish_rows)

static struct amx_plan plan_for(const struct kern_gemm *job)
{
    return (struct amx_plan){
        .finish = finish,
        .x = (const char *)job->x->bf16,
        .x_pitch = job->x->bf16_stride * (long)sizeof(uint16_t),
        .x_step = job->x->bf16_block * (long)sizeof(uint16_t),
        .steps = kern_round_up(job->w->k, KERN_BF16_ALIGN) / TILE_DEPTH,
    };
}

AMX_BLOCKS(bf16_blocks, AMX_BF16)
AMX_BLOCKS(split_blocks, AMX_SPLIT)
AMX_BLOCKS(split_whole_blocks, AMX_SPLIT_WHOLE)

void kern_gemm_bf16_amx(const struct kern_gemm *job)
{
    struct amx_plan plan = plan_for(job);
    plan.blocks = &bf16_blocks;
    plan.depth = BLOCK_STEPS;
    kern_amx_walk(job, &plan);
}

void kern_gemm_split_bf16_amx(const struct kern_gemm *job)
{
    struct amx_plan plan = plan_for(job);
    plan.blocks = &split_blocks;
    plan.x_low = (const char *)job->x->bf16_low;
    plan.x_last = (const char *)job->x->bf16_last;
    if (plan.x_last)
        plan.blocks = &split_whole_blocks;
    plan.depth = SPLIT_BLOCK_STEPS;
    kern_amx_walk(job, &plan);
}

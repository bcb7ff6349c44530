/* amx_int8.c: the INT8 product with AMX. The sums are exact, and what follows them is computed as in gemm_vnni.c. */
#include "kernels/amx_gemm.h"
#include "kernels/finish_vnni.h"
#include "kernels/inline.h"
#include "kernels/levels.h"

enum {
    TILE_DEPTH = 64, /* k of a tile */
    BLOCK_STEPS = 12 /* of k: a pair of panels then takes 24 KB of the L1 cache */
};

/* y = epilogue((sum - zero * column_sum) * x scale * w scale + bias) */
ALWAYS_INLINE void finish_rows(const struct amx_sums *sums, int from, int to, const int panels,
                               const enum amx_form form, const int gelu)
{
    const struct kern_rows *x = sums->job->x;
    const struct kern_weights *weights = sums->job->w;
    __m512i columns[AMX_PAIR];
    __m512 scale[AMX_PAIR], bias[AMX_PAIR];
    __m512 value[AMX_PAIR] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int v = 0; v < panels; v++) {
        const long column = (sums->panel + v) * KERN_PANEL;
        columns[v] = kern_negative_halves(_mm512_loadu_si512(weights->column_sum + column));
        scale[v] = _mm512_loadu_ps(weights->scale + column);
        bias[v] = _mm512_loadu_ps(weights->bias + column);
    }
    while (from < to) {
        struct amx_run run = amx_run_of(sums, from, to, panels, form);
        for (int i = 0; i < run.rows; i++) {
            const __m512i zero = kern_zero_halves(x->zero[run.row + i]);
            const __m512 x_scale = _mm512_set1_ps(x->scale[run.row + i]);
            for (int v = 0; v < panels; v++) {
                const __m512i sum = _mm512_dpwssd_epi32(
                    _mm512_load_si512(run.at + v * KERN_TILE_BYTES), zero, columns[v]);
                const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), x_scale);
                value[v] = _mm512_fmadd_ps(scaled, scale[v], bias[v]);
            }
            amx_put(&run, panels, form, gelu, value);
        }
        from += run.rows;
    }
}

AMX_FINISH(finish, finish_rows)
AMX_BLOCKS(int8_blocks, AMX_INT8)

void kern_gemm_int8_amx(const struct kern_gemm *job)
{
    enum { VNNI_ROWS = 8 }; /* up to here time is that of reading weights, and VNNI reads faster */
    if (job->m1 - job->m0 <= VNNI_ROWS) {
        kern_gemm_int8_vnni(job);
        return;
    }
    const struct amx_plan plan = {
        .blocks = &int8_blocks,
        .finish = finish,
        .x = (const char *)job->x->q8,
        .x_pitch = job->x->q8_stride,
        .x_step = KERN_TILE_PITCH,
        .steps = kern_round_up(job->w->k, KERN_Q8_ALIGN) / TILE_DEPTH,
        .depth = BLOCK_STEPS,
    };
    kern_amx_walk(job, &plan);
}

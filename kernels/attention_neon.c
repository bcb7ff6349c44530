/* attention_neon.c: attention with NEON, six queries at a time.
 *
 * Keys are transposed to panels of 16, (tokens / 16, dim, 16), so that a score is one chain of fused multiply-adds over
 * dim, and an output one over tokens, whatever block the query stands in: its bits depend on nothing but its own row.
 * Only the scores of one block of queries are held.
 */
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_neon.h"

#include <math.h>

enum {
    LANES = KERN_NEON_LANES,
    PANEL = 16,
    QUARTERS = PANEL / LANES,
    ROWS = 6,    /* queries of a block */
    VECTORS = 8, /* widest tile, for blocks of up to WIDE_ROWS */
    WIDE_ROWS = 2,
    COPY_TOKENS = 48 /* from here on, strided values would fall out of the L1 cache */
};

struct workspace {
    float *keys;    /* (panels, dim, 16), zero beyond the last token */
    float *scores;  /* (ROWS, pitch) */
    const float *v; /* (tokens, dim), rows v_stride apart: the job's, or a copy */
    long v_stride;
    long pitch;
    long panels;
};

/* An odd number of cache lines, so that the rows of a block spread over the cache's sets. */
static long score_pitch(long tokens)
{
    return kern_round_up(tokens, PANEL) | PANEL;
}

size_t kern_attention_scratch_neon(long tokens, long dim)
{
    const long keys = kern_round_up(tokens, PANEL) * dim;
    const long scores = ROWS * score_pitch(tokens);
    const long values = tokens >= COPY_TOKENS ? tokens * kern_round_up(dim, PANEL) : 0;
    return (size_t)(keys + scores + values) * sizeof(float);
}

static void transpose_keys(const struct kern_attention *job, float *keys)
{
    const long end = kern_round_up(job->tokens, PANEL);
    for (long t = 0; t < end; t += LANES) {
        for (long d = 0; d < job->dim; d += LANES) {
            const long depth = job->dim - d < LANES ? job->dim - d : LANES;
            float32x4_t row[LANES];
#pragma GCC unroll 4
            for (int i = 0; i < LANES; i++)
                row[i] = t + i < job->tokens ? kern_load4(job->k + (t + i) * job->stride + d, depth)
                                             : vdupq_n_f32(0.0f);
            kern_transpose4(row);
            float *out = keys + t / PANEL * PANEL * job->dim + d * PANEL + t % PANEL;
#pragma GCC unroll 4
            for (int i = 0; i < LANES; i++) {
                if (i < depth)
                    vst1q_f32(out + i * PANEL, row[i]);
            }
        }
    }
}

static void copy_values(const struct kern_attention *job, float *out, long out_stride)
{
    for (long t = 0; t < job->tokens; t++) {
        for (long d = 0; d < job->dim; d += LANES)
            vst1q_f32(out + t * out_stride + d,
                      kern_load4(job->v + t * job->stride + d, job->dim - d));
    }
}

/* Scores of `rows` queries from q with 4 * `vectors` keys: whole panels. */
ALWAYS_INLINE void score_tile(const struct kern_attention *job, const float *q, const float *keys,
                              float *scores, long pitch, const int rows, const int vectors)
{
    const long panel = job->dim * PANEL;
    float32x4_t sum[ROWS][VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            sum[i][c] = vdupq_n_f32(0.0f);
    for (long d = 0; d < job->dim; d++) {
        float32x4_t key[VECTORS];
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            key[c] = vld1q_f32(keys + c / QUARTERS * panel + d * PANEL + c % QUARTERS * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const float value = q[i * job->stride + d];
#pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                sum[i][c] = vfmaq_n_f32(sum[i][c], key[c], value);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            vst1q_f32(scores + i * pitch + c * LANES, vmulq_n_f32(sum[i][c], job->scale));
}

/* exp(score - highest score) in place; returns 1 / their sum. */
static inline float softmax_row(float *scores, long tokens)
{
    const long whole = tokens / LANES * LANES;
    float32x4_t lane_highest = vdupq_n_f32(-INFINITY);
    for (long t = 0; t < whole; t += LANES)
        lane_highest = vmaxq_f32(lane_highest, vld1q_f32(scores + t));
    float highest = vmaxvq_f32(lane_highest);
    for (long t = whole; t < tokens; t++)
        highest = scores[t] > highest ? scores[t] : highest;

    float32x4_t lane_sum = vdupq_n_f32(0.0f);
    for (long t = 0; t < whole; t += LANES) {
        const float32x4_t e = kern_exp4(vsubq_f32(vld1q_f32(scores + t), vdupq_n_f32(highest)));
        vst1q_f32(scores + t, e);
        lane_sum = vaddq_f32(lane_sum, e);
    }
    float sum = vaddvq_f32(lane_sum);
    if (whole < tokens) {
        vst1q_f32(scores + whole,
                  kern_exp4(vsubq_f32(vld1q_f32(scores + whole), vdupq_n_f32(highest))));
        for (long t = whole; t < tokens; t++)
            sum += scores[t];
    }
    return 1.0f / sum;
}

/* Columns d.. of the answer to `rows` queries, 4 * `vectors` of them, or with one vector the first `left`. */
ALWAYS_INLINE void value_tile(const struct kern_attention *job, const struct workspace *ws, long d,
                              float *out, const float *inverse, long left, const int rows,
                              const int vectors)
{
    const float *v = ws->v + d;
    float32x4_t sum[ROWS][VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            sum[i][c] = vdupq_n_f32(0.0f);
    for (long t = 0; t < job->tokens; t++, v += ws->v_stride) {
        float32x4_t value[VECTORS];
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            value[c] = vectors == 1 ? kern_load4(v, left) : vld1q_f32(v + c * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const float weight = ws->scores[i * ws->pitch + t];
#pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                sum[i][c] = vfmaq_n_f32(sum[i][c], value[c], weight);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float *to = out + i * job->out_stride + d;
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            kern_store4(to + c * LANES, vmulq_n_f32(sum[i][c], inverse[i]),
                        vectors == 1 ? left : LANES);
    }
}

/* Queries first..first + rows. Few rows take wider tiles, to keep as many chains of additions going. */
ALWAYS_INLINE void block(const struct kern_attention *job, const struct workspace *ws, long first,
                         const int rows)
{
    const float *q = job->q + first * job->stride;
    float *out = job->out + first * job->out_stride;
    const long panel = job->dim * PANEL;
    float inverse[ROWS];

    long p = 0;
    if (rows <= WIDE_ROWS)
        for (; p + 2 <= ws->panels; p += 2)
            score_tile(job, q, ws->keys + p * panel, ws->scores + p * PANEL, ws->pitch, rows, 8);
    for (; p < ws->panels; p++)
        score_tile(job, q, ws->keys + p * panel, ws->scores + p * PANEL, ws->pitch, rows, 4);

    for (int i = 0; i < rows; i++)
        inverse[i] = softmax_row(ws->scores + i * ws->pitch, job->tokens);

    long d = 0;
    if (rows <= WIDE_ROWS)
        for (; d + 8 * LANES <= job->dim; d += 8 * LANES)
            value_tile(job, ws, d, out, inverse, LANES, rows, 8);
    for (; d + 4 * LANES <= job->dim; d += 4 * LANES)
        value_tile(job, ws, d, out, inverse, LANES, rows, 4);
    for (; d < job->dim; d += LANES)
        value_tile(job, ws, d, out, inverse, job->dim - d, rows, 1);
}

typedef void block_fn(const struct kern_attention *job, const struct workspace *ws, long first);

#define BLOCK(rows)                                                                                \
    static void block_##rows(const struct kern_attention *job, const struct workspace *ws,         \
                             long first)                                                           \
    {                                                                                              \
        block(job, ws, first, rows);                                                               \
    }
BLOCK(1)
BLOCK(2)
BLOCK(3)
BLOCK(4)
BLOCK(5)
BLOCK(6)

static block_fn *const blocks[ROWS + 1] = {NULL,    block_1, block_2, block_3,
                                           block_4, block_5, block_6};

void kern_attention_neon(const struct kern_attention *job)
{
    const long tokens16 = kern_round_up(job->tokens, PANEL);
    struct workspace ws = {.keys = job->scratch,
                           .v = job->v,
                           .v_stride = job->stride,
                           .pitch = score_pitch(job->tokens),
                           .panels = tokens16 / PANEL};
    ws.scores = ws.keys + tokens16 * job->dim;
    transpose_keys(job, ws.keys);
    if (job->tokens >= COPY_TOKENS && job->q1 - job->q0 > ROWS) {
        float *copy = ws.scores + ROWS * ws.pitch;
        ws.v_stride = kern_round_up(job->dim, PANEL);
        copy_values(job, copy, ws.v_stride);
        ws.v = copy;
    }
    for (long i = job->q0; i < job->q1; i += ROWS)
        blocks[job->q1 - i < ROWS ? job->q1 - i : ROWS](job, &ws, i);
}

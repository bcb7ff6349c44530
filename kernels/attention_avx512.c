/* attention_avx512.c: attention with AVX-512, eight queries at a time.
 *
 * Keys are transposed to panels of 16, (tokens / 16, dim, 16), so that a score is one chain of fused multiply-adds over
 * dim, and an output one over tokens, whatever block the query stands in: its bits depend on nothing but its own row.
 * Only the scores of one block of queries are held.
 */
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx512.h"
#include "kernels/transpose_avx512.h"

#include <math.h>
#include <string.h>

enum {
    LANES = 16,
    ROWS = 8,    /* queries of a block */
    VECTORS = 4, /* widest tile, for blocks of up to WIDE_ROWS */
    WIDE_ROWS = 4,
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
    return kern_round_up(tokens, LANES) | LANES;
}

size_t kern_attention_scratch_avx512(long tokens, long dim)
{
    const long keys = kern_round_up(tokens, LANES) * dim;
    const long scores = ROWS * score_pitch(tokens);
    const long values = tokens >= COPY_TOKENS ? tokens * kern_round_up(dim, LANES) : 0;
    return (size_t)(keys + scores + values) * sizeof(float);
}

static void transpose_keys(const struct kern_attention *job, float *keys)
{
    for (long t = 0; t < job->tokens; t += LANES) {
        for (long d = 0; d < job->dim; d += LANES) {
            const long depth = job->dim - d < LANES ? job->dim - d : LANES;
            const __mmask16 mask = kern_mask16(depth);
            __m512i row[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                row[i] = t + i < job->tokens
                             ? _mm512_maskz_loadu_epi32(mask, job->k + (t + i) * job->stride + d)
                             : _mm512_setzero_si512();
            kern_transpose16(row);
            float *out = keys + t * job->dim + d * LANES;
            if (depth == LANES) {
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++)
                    _mm512_store_si512(out + i * LANES, row[i]);
            } else {
                memcpy(out, row, (size_t)depth * sizeof(*row));
            }
        }
    }
}

static void copy_values(const struct kern_attention *job, float *out, long out_stride)
{
    for (long t = 0; t < job->tokens; t++) {
        for (long d = 0; d < job->dim; d += LANES) {
            const __mmask16 mask = kern_mask16(job->dim - d < LANES ? job->dim - d : LANES);
            _mm512_store_ps(out + t * out_stride + d,
                            _mm512_maskz_loadu_ps(mask, job->v + t * job->stride + d));
        }
    }
}

/* Scores of `rows` queries from q with 16 * `panels` keys. */
ALWAYS_INLINE void score_tile(const struct kern_attention *job, const float *q, const float *keys,
                              float *scores, long pitch, const int rows, const int panels)
{
    const long panel = job->dim * LANES;
    __m512 sum[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            sum[i][p] = _mm512_setzero_ps();
    for (long d = 0; d < job->dim; d++) {
        __m512 key[VECTORS];
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            key[p] = _mm512_load_ps(keys + p * panel + d * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const __m512 value = _mm512_set1_ps(q[i * job->stride + d]);
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++)
                sum[i][p] = _mm512_fmadd_ps(value, key[p], sum[i][p]);
        }
    }
    const __m512 scale = _mm512_set1_ps(job->scale);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            _mm512_store_ps(scores + i * pitch + p * LANES, _mm512_mul_ps(sum[i][p], scale));
}

/* exp(score - highest score) in place; returns 1 / their sum. */
static inline float softmax_row(float *scores, long tokens)
{
    const long whole = tokens / LANES * LANES;
    const __mmask16 tail = kern_mask16(tokens - whole);
    __m512 highest = _mm512_set1_ps(-INFINITY);
    for (long t = 0; t < whole; t += LANES)
        highest = _mm512_max_ps(highest, _mm512_load_ps(scores + t));
    if (tail)
        highest = _mm512_mask_max_ps(highest, tail, highest, _mm512_load_ps(scores + whole));
    highest = _mm512_set1_ps(_mm512_reduce_max_ps(highest));
    __m512 sum = _mm512_setzero_ps();
    for (long t = 0; t < whole; t += LANES) {
        const __m512 e = kern_exp16(_mm512_sub_ps(_mm512_load_ps(scores + t), highest));
        _mm512_store_ps(scores + t, e);
        sum = _mm512_add_ps(sum, e);
    }
    if (tail) {
        const __m512 e = kern_exp16(_mm512_sub_ps(_mm512_load_ps(scores + whole), highest));
        _mm512_store_ps(scores + whole, e);
        sum = _mm512_mask_add_ps(sum, tail, sum, e);
    }
    return 1.0f / _mm512_reduce_add_ps(sum);
}

/* Columns d.. of the answer to `rows` queries, 16 * `vectors` of them, those of the last vector masked. */
ALWAYS_INLINE void value_tile(const struct kern_attention *job, const struct workspace *ws, long d,
                              float *out, const float *inverse, __mmask16 mask, const int rows,
                              const int vectors)
{
    const float *v = ws->v + d;
    __m512 sum[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            sum[i][c] = _mm512_setzero_ps();
    for (long t = 0; t < job->tokens; t++, v += ws->v_stride) {
        __m512 value[VECTORS];
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            value[c] = c == vectors - 1 ? _mm512_maskz_loadu_ps(mask, v + c * LANES)
                                        : _mm512_loadu_ps(v + c * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const __m512 weight = _mm512_set1_ps(ws->scores[i * ws->pitch + t]);
#pragma GCC unroll 4
            for (int c = 0; c < vectors; c++)
                sum[i][c] = _mm512_fmadd_ps(weight, value[c], sum[i][c]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            _mm512_mask_storeu_ps(out + i * job->out_stride + d + c * LANES,
                                  c == vectors - 1 ? mask : (__mmask16)0xffff,
                                  _mm512_mul_ps(sum[i][c], _mm512_set1_ps(inverse[i])));
}

/* Queries first..first + rows. Few rows take wider tiles, to keep as many chains of additions going. */
ALWAYS_INLINE void block(const struct kern_attention *job, const struct workspace *ws, long first,
                         const int rows)
{
    const float *q = job->q + first * job->stride;
    float *out = job->out + first * job->out_stride;
    const long panel = job->dim * LANES;
    float inverse[ROWS];

    long p = 0;
    if (rows <= WIDE_ROWS)
        for (; p + 4 <= ws->panels; p += 4)
            score_tile(job, q, ws->keys + p * panel, ws->scores + p * LANES, ws->pitch, rows, 4);
    for (; p + 2 <= ws->panels; p += 2)
        score_tile(job, q, ws->keys + p * panel, ws->scores + p * LANES, ws->pitch, rows, 2);
    if (p < ws->panels)
        score_tile(job, q, ws->keys + p * panel, ws->scores + p * LANES, ws->pitch, rows, 1);

    for (int i = 0; i < rows; i++)
        inverse[i] = softmax_row(ws->scores + i * ws->pitch, job->tokens);

    const __mmask16 all = 0xffff;
    long d = 0;
    if (rows <= WIDE_ROWS)
        for (; d + 4 * LANES <= job->dim; d += 4 * LANES)
            value_tile(job, ws, d, out, inverse, all, rows, 4);
    for (; d + 2 * LANES <= job->dim; d += 2 * LANES)
        value_tile(job, ws, d, out, inverse, all, rows, 2);
    for (; d < job->dim; d += LANES) {
        const __mmask16 mask = kern_mask16(job->dim - d < LANES ? job->dim - d : LANES);
        value_tile(job, ws, d, out, inverse, mask, rows, 1);
    }
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
BLOCK(7)
BLOCK(8)

static block_fn *const blocks[ROWS + 1] = {NULL,    block_1, block_2, block_3, block_4,
                                           block_5, block_6, block_7, block_8};

void kern_attention_avx512(const struct kern_attention *job)
{
    const long tokens16 = kern_round_up(job->tokens, LANES);
    struct workspace ws = {.keys = job->scratch,
                           .v = job->v,
                           .v_stride = job->stride,
                           .pitch = score_pitch(job->tokens),
                           .panels = tokens16 / LANES};
    ws.scores = ws.keys + tokens16 * job->dim;
    transpose_keys(job, ws.keys);
    if (job->tokens >= COPY_TOKENS && job->q1 - job->q0 > ROWS) {
        float *copy = ws.scores + ROWS * ws.pitch;
        ws.v_stride = kern_round_up(job->dim, LANES);
        copy_values(job, copy, ws.v_stride);
        ws.v = copy;
    }
    for (long i = job->q0; i < job->q1; i += ROWS)
        blocks[job->q1 - i < ROWS ? job->q1 - i : ROWS](job, &ws, i);
}

/* attention_avx2.c: attention with AVX2, six queries at a time.
 *
 * Keys are transposed to panels of 16, (tokens / 16, dim, 16), so that a score is one chain of fused multiply-adds over
 * dim, and an output one over tokens, whatever block the query stands in: its bits depend on nothing but its own row.
 * Only the scores of one block of queries are held.
 */
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"
#include "kernels/transpose_avx2.h"

#include <math.h>
#include <string.h>

enum {
    LANES = 8,
    PANEL = 16,
    ROWS = 6,    /* queries of a block */
    VECTORS = 4, /* widest tile, for blocks of up to WIDE_ROWS */
    WIDE_ROWS = 3,
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

size_t kern_attention_scratch_avx2(long tokens, long dim)
{
    const long keys = kern_round_up(tokens, PANEL) * dim;
    const long scores = ROWS * score_pitch(tokens);
    const long values = tokens >= COPY_TOKENS ? tokens * kern_round_up(dim, PANEL) : 0;
    return (size_t)(keys + scores + values) * sizeof(float);
}

static inline __m256i tail_mask(long left)
{
    return kern_mask8(left < LANES ? left : LANES);
}

/* 8 floats from `from`, zeros where the row has fewer left. */
static inline __m256 load_row(const float *from, long left)
{
    return left >= LANES ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, kern_mask8(left));
}

static void transpose_keys(const struct kern_attention *job, float *keys)
{
    const long end = kern_round_up(job->tokens, PANEL);
    for (long t = 0; t < end; t += LANES) {
        for (long d = 0; d < job->dim; d += LANES) {
            const long depth = job->dim - d < LANES ? job->dim - d : LANES;
            __m256i row[LANES];
#pragma GCC unroll 8
            for (int i = 0; i < LANES; i++)
                row[i] =
                    t + i < job->tokens
                        ? _mm256_castps_si256(load_row(job->k + (t + i) * job->stride + d, depth))
                        : _mm256_setzero_si256();
            kern_transpose8(row);
            float *out = keys + t / PANEL * PANEL * job->dim + d * PANEL + t % PANEL;
#pragma GCC unroll 8
            for (int i = 0; i < LANES; i++) {
                if (i < depth)
                    _mm256_store_si256((__m256i *)(void *)(out + i * PANEL), row[i]);
            }
        }
    }
}

static void copy_values(const struct kern_attention *job, float *out, long out_stride)
{
    for (long t = 0; t < job->tokens; t++) {
        for (long d = 0; d < job->dim; d += LANES)
            _mm256_store_ps(out + t * out_stride + d,
                            load_row(job->v + t * job->stride + d, job->dim - d));
    }
}

/* Scores of `rows` queries from q with 8 * `vectors` keys: whole panels. */
ALWAYS_INLINE void score_tile(const struct kern_attention *job, const float *q, const float *keys,
                              float *scores, long pitch, const int rows, const int vectors)
{
    const long panel = job->dim * PANEL;
    __m256 sum[ROWS][VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            sum[i][c] = _mm256_setzero_ps();
    for (long d = 0; d < job->dim; d++) {
        __m256 key[VECTORS];
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            key[c] = _mm256_load_ps(keys + c / 2 * panel + d * PANEL + c % 2 * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const __m256 value = _mm256_broadcast_ss(q + i * job->stride + d);
#pragma GCC unroll 4
            for (int c = 0; c < vectors; c++)
                sum[i][c] = _mm256_fmadd_ps(value, key[c], sum[i][c]);
        }
    }
    const __m256 scale = _mm256_set1_ps(job->scale);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            _mm256_store_ps(scores + i * pitch + c * LANES, _mm256_mul_ps(sum[i][c], scale));
}

static inline float lanes_max(__m256 v)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

static inline float lanes_sum(__m256 v)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* highest (rows) = the highest of each row's scores; side by side, since one row's alone would wait for each maximum. */
ALWAYS_INLINE void highest_scores(const float *scores, long pitch, long tokens, float highest[ROWS],
                                  const int rows)
{
    const long whole = tokens / LANES * LANES;
    const __m256 tail = _mm256_castsi256_ps(kern_mask8(tokens - whole));
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    __m256 most[ROWS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
        most[i] = lowest;
    for (long t = 0; t < whole; t += LANES) {
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++)
            most[i] = _mm256_max_ps(most[i], _mm256_load_ps(scores + i * pitch + t));
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        if (whole < tokens)
            most[i] = _mm256_max_ps(
                most[i],
                _mm256_blendv_ps(lowest, _mm256_load_ps(scores + i * pitch + whole), tail));
        highest[i] = lanes_max(most[i]);
    }
}

/* exp(score - highest score) in place; returns 1 / their sum. */
static inline float softmax_row(float *scores, long tokens, float highest)
{
    const long whole = tokens / LANES * LANES;
    const __m256 tail = _mm256_castsi256_ps(kern_mask8(tokens - whole));
    const __m256 most = _mm256_set1_ps(highest);
    __m256 sum = _mm256_setzero_ps();
    for (long t = 0; t < whole; t += LANES) {
        const __m256 e = kern_exp8(_mm256_sub_ps(_mm256_load_ps(scores + t), most));
        _mm256_store_ps(scores + t, e);
        sum = _mm256_add_ps(sum, e);
    }
    if (whole < tokens) {
        const __m256 e = kern_exp8(_mm256_sub_ps(_mm256_load_ps(scores + whole), most));
        _mm256_store_ps(scores + whole, e);
        sum = _mm256_add_ps(sum, _mm256_and_ps(tail, e));
    }
    return 1.0f / lanes_sum(sum);
}

/* Columns d.. of the answer to `rows` queries, 8 * `vectors` of them, or with one vector the first `left`. */
ALWAYS_INLINE void value_tile(const struct kern_attention *job, const struct workspace *ws, long d,
                              float *out, const float *inverse, long left, const int rows,
                              const int vectors)
{
    const float *v = ws->v + d;
    const __m256i mask = tail_mask(left);
    __m256 sum[ROWS][VECTORS];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            sum[i][c] = _mm256_setzero_ps();
    for (long t = 0; t < job->tokens; t++, v += ws->v_stride) {
        __m256 value[VECTORS];
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++)
            value[c] = vectors == 1 ? _mm256_maskload_ps(v, mask) : _mm256_loadu_ps(v + c * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const __m256 weight = _mm256_broadcast_ss(ws->scores + i * ws->pitch + t);
#pragma GCC unroll 4
            for (int c = 0; c < vectors; c++)
                sum[i][c] = _mm256_fmadd_ps(weight, value[c], sum[i][c]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float *to = out + i * job->out_stride + d;
        const __m256 factor = _mm256_set1_ps(inverse[i]);
#pragma GCC unroll 4
        for (int c = 0; c < vectors; c++) {
            if (vectors == 1)
                _mm256_maskstore_ps(to, mask, _mm256_mul_ps(sum[i][c], factor));
            else
                _mm256_storeu_ps(to + c * LANES, _mm256_mul_ps(sum[i][c], factor));
        }
    }
}

/* Queries first..first + rows. Few rows take wider tiles, to keep as many chains of additions going. */
ALWAYS_INLINE void block(const struct kern_attention *job, const struct workspace *ws, long first,
                         const int rows)
{
    const float *q = job->q + first * job->stride;
    float *out = job->out + first * job->out_stride;
    const long panel = job->dim * PANEL;
    float highest[ROWS], inverse[ROWS];

    long p = 0;
    if (rows <= WIDE_ROWS)
        for (; p + 2 <= ws->panels; p += 2)
            score_tile(job, q, ws->keys + p * panel, ws->scores + p * PANEL, ws->pitch, rows, 4);
    for (; p < ws->panels; p++)
        score_tile(job, q, ws->keys + p * panel, ws->scores + p * PANEL, ws->pitch, rows, 2);

    highest_scores(ws->scores, ws->pitch, job->tokens, highest, rows);
    for (int i = 0; i < rows; i++)
        inverse[i] = softmax_row(ws->scores + i * ws->pitch, job->tokens, highest[i]);

    long d = 0;
    if (rows <= WIDE_ROWS)
        for (; d + 4 * LANES <= job->dim; d += 4 * LANES)
            value_tile(job, ws, d, out, inverse, LANES, rows, 4);
    for (; d + 2 * LANES <= job->dim; d += 2 * LANES)
        value_tile(job, ws, d, out, inverse, LANES, rows, 2);
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

void kern_attention_avx2(const struct kern_attention *job)
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

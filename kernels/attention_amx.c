/* attention_amx.c: attention with AMX, in bf16 and in split bf16, two tiles of queries at a time.
 *
 * Keys become tiles of 16 keys by 32 dimensions, transposed in pairs of dimensions; values tiles of 32 tokens by 16
 * dimensions, in pairs of tokens. All scores of a block of queries, at most 32 of them, are held at once, so that softmax
 * is one pass for the maximum and one for the exponentials, which go to tiles as bf16. The sum of the weights is of
 * their floats, and what it divides is the answer. In split bf16 queries, keys, weights and values are hi + lo, and each
 * product is four: lo lo, hi lo, hi hi, lo hi.
 *
 * A row of a tile meets all keys in the same order whatever rows are beside it, so a query's bits depend on its own row
 * alone. Queries are cut into tiles of nearly equal height as in amx_gemm.h.
 */
#include "kernels/amx_tiles.h"
#include "kernels/bf16_amx.h"
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/transpose_avx512.h"

enum {
    LANES = 16,
    STEP = 32,       /* values of k in a tile: dimensions of keys, tokens of values */
    BLOCK_TILES = 2, /* of queries */
    BLOCK_ROWS = BLOCK_TILES * KERN_TILE_ROWS,
    PLANES_MAX = 2 /* hi and lo */
};

/* Sizes of a job, and where its parts stand in scratch. Each part is aligned to 64. */
struct workspace {
    long tokens;    /* rounded up to STEP */
    long dim_steps; /* of the dimensions, rounded up */
    long pitch;     /* floats from one row of scores to the next */
    char *keys;     /* (tokens / 16, planes, dim_steps) tiles */
    char *values;   /* (2 dim_steps, planes, tokens / STEP) tiles */
    char *queries;  /* (BLOCK_TILES, planes, dim_steps) tiles */
    char *weights;  /* (BLOCK_TILES, planes, tokens / STEP) tiles */
    float *scores;  /* (BLOCK_ROWS, pitch) */
    char *sums;     /* (BLOCK_TILES, 2) tiles */
};

/* The next `tiles` tiles of scratch, or NULL where there is none and sizes alone are wanted. */
static char *take(char *scratch, long *used, long tiles)
{
    char *piece = scratch ? scratch + *used : NULL;
    *used += tiles * KERN_TILE_BYTES;
    return piece;
}

/* Returns the bytes of scratch in use. An odd number of cache lines from one row of scores to the next spreads a block's rows
 * over the sets of the cache. */
static long lay_out(struct workspace *ws, long tokens, long dim, int planes, char *scratch)
{
    long used = 0;
    ws->tokens = kern_round_up(tokens, STEP);
    ws->dim_steps = kern_round_up(dim, STEP) / STEP;
    ws->pitch = ws->tokens + LANES;
    ws->keys = take(scratch, &used, ws->tokens / LANES * ws->dim_steps * planes);
    ws->values = take(scratch, &used, 2 * ws->dim_steps * (ws->tokens / STEP) * planes);
    ws->queries = take(scratch, &used, BLOCK_TILES * ws->dim_steps * planes);
    ws->weights = take(scratch, &used, BLOCK_TILES * (ws->tokens / STEP) * planes);
    /* BLOCK_ROWS rows of LANES floats are two tiles */
    ws->scores = (float *)(void *)take(scratch, &used, 2 * ws->pitch / LANES);
    ws->sums = take(scratch, &used, 2 * BLOCK_TILES);
    return used;
}

/* Where 32 neighbouring columns stand: in one block, or at the end of one and the start of the next. Lanes are counted from
 * at[], which for the second is before its block. */
struct span {
    uint16_t *at[2];
    __mmask32 mask[2];
};

static inline struct span span_of(const struct kern_part *part, long row, long d, long left)
{
    const long column = part->column + d, offset = column % KERN_BF16_ALIGN;
    const __mmask32 wanted = left >= STEP ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    const __mmask32 here = ~(__mmask32)0 >> offset;
    struct span span = {.mask = {wanted & here, wanted & ~here}};
    span.at[0] = kern_bf16_at(part->rows, part->row + row, column);
    span.at[1] =
        span.mask[1] ? span.at[0] - offset + part->rows->bf16_block - (STEP - offset) : span.at[0];
    return span;
}

/* 32 neighbouring values of a row: rounded, and what that left. */
struct halves {
    __m512i high, low;
};

/* Values d.. of a row, 32 or as many as there are, and zeros: from floats, or else from the columns of a part, which may
 * begin anywhere in a block. lines: they are whole blocks. */
ALWAYS_INLINE struct halves load_row(const float *floats, long stride, const struct kern_part *part,
                                     long row, long d, long dim, const int planes, const int lines)
{
    struct halves x = {.low = _mm512_setzero_si512()};
    const long left = dim - d;
    if (lines) {
        x.high = _mm512_loadu_si512(kern_bf16_at(part->rows, part->row + row, part->column + d));
        return x;
    }
    if (floats) {
        const struct kern_values32 values = kern_load32(floats + row * stride + d, left);
        x.high = kern_round32(values);
        if (planes == 2)
            x.low = kern_round_rest32(values, x.high);
        return x;
    }
    const struct span span = span_of(part, row, d, left);
    x.high = _mm512_maskz_loadu_epi16(span.mask[0], span.at[0]);
    if (span.mask[1])
        x.high = _mm512_or_si512(x.high, _mm512_maskz_loadu_epi16(span.mask[1], span.at[1]));
    return x;
}

static const struct halves no_values;

ALWAYS_INLINE void store_tile(char *tile, __m512i row[LANES])
{
    kern_transpose16(row);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        _mm512_store_si512(tile + i * KERN_TILE_PITCH, row[i]);
}

/* Two dimensions of a key are one 32-bit word, so a tile is a 16 by 16 transpose of words. */
ALWAYS_INLINE void pack_keys(const struct kern_attention *job, const struct workspace *ws,
                             const int planes, const int lines)
{
    char *tile = ws->keys;
    const long low = ws->dim_steps * KERN_TILE_BYTES;
    for (long t = 0; t < ws->tokens; t += LANES, tile += (planes - 1) * low) {
        for (long d = 0; d < job->dim; d += STEP, tile += KERN_TILE_BYTES) {
            __m512i row[PLANES_MAX][LANES];
            for (int i = 0; i < LANES; i++) {
                struct halves key = no_values;
                if (t + i < job->tokens)
                    key = load_row(job->k, job->stride, &job->k_part, t + i, d, job->dim, planes,
                                   lines);
                row[0][i] = key.high;
                row[1][i] = key.low;
            }
            store_tile(tile, row[0]);
            if (planes == 2)
                store_tile(tile + low, row[1]);
        }
    }
}

/* Values of two tokens in turn, of 16 dimensions and the next 16. */
ALWAYS_INLINE void store_pair(char *tile, long next_panel, __m512i a, __m512i b)
{
    static const _Alignas(64) uint16_t order[2][2 * LANES] = {
        {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
         8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
        {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
         24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};
    _mm512_store_si512(tile, _mm512_permutex2var_epi16(a, _mm512_load_si512(order[0]), b));
    _mm512_store_si512(tile + next_panel,
                       _mm512_permutex2var_epi16(a, _mm512_load_si512(order[1]), b));
}

ALWAYS_INLINE void pack_values(const struct kern_attention *job, const struct workspace *ws,
                               const int planes, const int lines)
{
    const long low = ws->tokens / STEP * KERN_TILE_BYTES;
    const long panel = planes * low;
    for (long d = 0; d < job->dim; d += STEP) {
        char *out = ws->values + d / LANES * panel;
        for (long t = 0; t < ws->tokens; t += 2, out += KERN_TILE_PITCH) {
            struct halves pair[2] = {no_values, no_values};
            for (int i = 0; i < 2; i++)
                if (t + i < job->tokens)
                    pair[i] = load_row(job->v, job->stride, &job->v_part, t + i, d, job->dim,
                                       planes, lines);
            store_pair(out, panel, pair[0].high, pair[1].high);
            if (planes == 2)
                store_pair(out + low, panel, pair[0].low, pair[1].low);
        }
    }
}

/* Queries first.., as many as a tile has rows. */
ALWAYS_INLINE void pack_queries(const struct kern_attention *job, const struct workspace *ws,
                                char *tiles, long first, int rows, const int planes)
{
    const long low = ws->dim_steps * KERN_TILE_BYTES;
    for (int i = 0; i < rows; i++)
        for (long d = 0; d < job->dim; d += STEP) {
            char *out = tiles + d / STEP * KERN_TILE_BYTES + i * KERN_TILE_PITCH;
            const struct halves x =
                load_row(job->q, job->stride, &job->q_part, first + i, d, job->dim, planes, 0);
            _mm512_store_si512(out, x.high);
            if (planes == 2)
                _mm512_store_si512(out + low, x.low);
        }
}

/* What a block of two tiles of rows by two panels is summed from. */
struct operands {
    const char *x; /* tiles of rows */
    long x_pitch;  /* bytes from one row to the next */
    long x_step;   /* bytes from one step of k to the next */
    long x_low;    /* bytes to their lo values */
    long x_second; /* bytes to the second tile of rows */
    const char *w; /* the same of the first panel */
    long w_low;
    long w_second; /* bytes to the second panel */
    long steps;    /* of k */
};

#define LOAD_ROWS(at)                                                                              \
    do {                                                                                           \
        kern_tile_load(4, at, from->x_pitch);                                                      \
        if (row_tiles == 2)                                                                        \
            kern_tile_load(5, (at) + from->x_second, from->x_pitch);                               \
    } while (0)
#define LOAD_PANELS(at)                                                                            \
    do {                                                                                           \
        kern_tile_load(6, at, KERN_TILE_PITCH);                                                    \
        kern_tile_load(7, (at) + from->w_second, KERN_TILE_PITCH);                                 \
    } while (0)
#define MULTIPLY()                                                                                 \
    do {                                                                                           \
        kern_tile_dot_bf16(0, 4, 6);                                                               \
        kern_tile_dot_bf16(1, 4, 7);                                                               \
        if (row_tiles == 2) {                                                                      \
            kern_tile_dot_bf16(2, 5, 6);                                                           \
            kern_tile_dot_bf16(3, 5, 7);                                                           \
        }                                                                                          \
    } while (0)

/* Sums of a block, `to` being the place of the first tile's first row, `pitch` bytes to the next row, and `second` to
 * the first row of the second tile of rows and `next` to the second panel. */
ALWAYS_INLINE void multiply(const struct operands *from, char *to, long pitch, long second,
                            long next, const int row_tiles, const int planes)
{
    kern_tiles_barrier();
    kern_tile_zero(0);
    kern_tile_zero(1);
    kern_tile_zero(2);
    kern_tile_zero(3);
    for (long step = 0; step < from->steps; step++) {
        const char *x = from->x + step * from->x_step;
        const char *w = from->w + step * KERN_TILE_BYTES;
        if (planes == 2) {
            LOAD_ROWS(x + from->x_low);
            LOAD_PANELS(w + from->w_low);
            MULTIPLY();
        }
        LOAD_ROWS(x);
        if (planes == 2)
            MULTIPLY();
        LOAD_PANELS(w);
        MULTIPLY();
        if (planes == 2) {
            LOAD_ROWS(x + from->x_low);
            MULTIPLY();
        }
    }
    kern_tile_store(0, to, pitch);
    kern_tile_store(1, to + next, pitch);
    if (row_tiles == 2) {
        kern_tile_store(2, to + second, pitch);
        kern_tile_store(3, to + second + next, pitch);
    }
    kern_tiles_barrier();
}

static inline float greatest(const float *scores, long tokens)
{
    __m512 even = _mm512_set1_ps(-INFINITY), odd = even;
    long t = 0;
    for (; t + STEP <= tokens; t += STEP) {
        even = _mm512_max_ps(even, _mm512_load_ps(scores + t));
        odd = _mm512_max_ps(odd, _mm512_load_ps(scores + t + LANES));
    }
    for (; t < tokens; t += LANES) {
        const __mmask16 mask = kern_mask16(tokens - t < LANES ? tokens - t : LANES);
        even = _mm512_mask_max_ps(even, mask, even, _mm512_load_ps(scores + t));
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(even, odd));
}

/* exp(x), or 2^x where few bits of it are wanted. */
ALWAYS_INLINE __m512 power16(__m512 x, const int planes)
{
    return planes == 1 ? kern_exp2_short16(x) : kern_exp16(x);
}

/* exp(scale * (score - highest score)) to a row of tiles, 0 for the padding; returns 1 / their sum. */
ALWAYS_INLINE float softmax_row(const float *scores, long tokens, float scale, char *out, long low,
                                const int planes)
{
    const float log2_of_e = 0x1.715476p+0f;
    const __m512 factor = _mm512_set1_ps(planes == 1 ? scale * log2_of_e : scale);
    const __m512 highest = _mm512_set1_ps(greatest(scores, tokens));
    __m512 even = _mm512_setzero_ps(), odd = even;
    for (long t = 0; t < tokens; t += STEP, out += KERN_TILE_BYTES) {
        const __m512 first = _mm512_sub_ps(_mm512_load_ps(scores + t), highest);
        const __m512 second = _mm512_sub_ps(_mm512_load_ps(scores + t + LANES), highest);
        struct kern_values32 e = {power16(_mm512_mul_ps(first, factor), planes),
                                  power16(_mm512_mul_ps(second, factor), planes)};
        if (t + STEP > tokens) {
            const long left = tokens - t;
            e.first = _mm512_maskz_mov_ps(kern_mask16(left < LANES ? left : LANES), e.first);
            e.second = _mm512_maskz_mov_ps(kern_mask16(left < LANES ? 0 : left - LANES), e.second);
        }
        even = _mm512_add_ps(even, e.first);
        odd = _mm512_add_ps(odd, e.second);
        const __m512i high = kern_round32(e);
        _mm512_store_si512(out, high);
        if (planes == 2)
            _mm512_store_si512(out + low, kern_round_rest32(e, high));
    }
    return 1.0f / _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
}

/* Dimensions d.. of a row of the answer, 32 or as many as there are. */
ALWAYS_INLINE void store_row(const struct kern_attention *job, long query, long d, const float *sum,
                             __m512 inverse, const int lines)
{
    const struct kern_values32 x = {
        _mm512_mul_ps(_mm512_load_ps(sum), inverse),
        _mm512_mul_ps(_mm512_load_ps(sum + KERN_TILE_BYTES / sizeof(float)), inverse)};
    const long left = job->dim - d;
    if (lines) {
        _mm512_storeu_si512(
            kern_bf16_at(job->out_part.rows, job->out_part.row + query, job->out_part.column + d),
            kern_round32(x));
        return;
    }
    if (job->out) {
        float *out = job->out + query * job->out_stride + d;
        _mm512_mask_storeu_ps(out, kern_mask16(left < LANES ? left : LANES), x.first);
        if (left > LANES)
            _mm512_mask_storeu_ps(out + LANES, kern_mask16(left < STEP ? left - LANES : LANES),
                                  x.second);
        return;
    }
    const struct span span = span_of(&job->out_part, query, d, left);
    _mm512_mask_storeu_epi16(span.at[0], span.mask[0], kern_round32(x));
    if (span.mask[1])
        _mm512_mask_storeu_epi16(span.at[1], span.mask[1], kern_round32(x));
}

/* Tiles of queries against all keys: where the queries lie in whole blocks they are tiles as they are. */
ALWAYS_INLINE struct operands query_operands(const struct kern_attention *job,
                                             const struct workspace *ws,
                                             const long first[BLOCK_TILES], int rows,
                                             const int row_tiles, const int planes)
{
    const struct kern_part *part = &job->q_part;
    const long dim_bytes = ws->dim_steps * KERN_TILE_BYTES;
    struct operands from = {.x = ws->queries,
                            .x_pitch = KERN_TILE_PITCH,
                            .x_step = KERN_TILE_BYTES,
                            .x_low = dim_bytes,
                            .x_second = planes * dim_bytes,
                            .w_low = dim_bytes,
                            .w_second = planes * dim_bytes,
                            .steps = ws->dim_steps};
    if (!job->q && part->column % STEP == 0 && job->dim % STEP == 0) {
        const long pitch = part->rows->bf16_stride * (long)sizeof(uint16_t);
        from.x = (const char *)kern_bf16_at(part->rows, part->row + first[0], part->column);
        from.x_pitch = pitch;
        from.x_step = part->rows->bf16_block * (long)sizeof(uint16_t);
        from.x_second = (first[row_tiles - 1] - first[0]) * pitch;
        return from;
    }
    for (int i = 0; i < row_tiles; i++)
        pack_queries(job, ws, ws->queries + i * planes * dim_bytes, first[i], rows, planes);
    return from;
}

/* The queries of one or two tiles, each of `rows` rows from first[] on. */
ALWAYS_INLINE void attend_block(const struct kern_attention *job, const struct workspace *ws,
                                const long first[BLOCK_TILES], int rows, const int row_tiles,
                                const int planes, const int lines)
{
    const long dim_bytes = ws->dim_steps * KERN_TILE_BYTES;
    const long token_bytes = ws->tokens / STEP * KERN_TILE_BYTES;
    const long score_bytes = ws->pitch * (long)sizeof(float);
    float inverse[BLOCK_TILES][KERN_TILE_ROWS];

    const struct operands queries = query_operands(job, ws, first, rows, row_tiles, planes);
    for (long t = 0; t < ws->tokens; t += STEP) {
        struct operands from = queries;
        from.w = ws->keys + t / LANES * planes * dim_bytes;
        multiply(&from, (char *)(ws->scores + t), score_bytes, KERN_TILE_ROWS * score_bytes,
                 KERN_TILE_PITCH, row_tiles, planes);
    }
    for (int tile = 0; tile < row_tiles; tile++)
        for (int i = 0; i < rows; i++)
            inverse[tile][i] = softmax_row(
                ws->scores + (tile * KERN_TILE_ROWS + i) * ws->pitch, job->tokens, job->scale,
                ws->weights + tile * planes * token_bytes + i * KERN_TILE_PITCH, token_bytes,
                planes);
    for (long d = 0; d < job->dim; d += STEP) {
        const struct operands from = {.x = ws->weights,
                                      .x_pitch = KERN_TILE_PITCH,
                                      .x_step = KERN_TILE_BYTES,
                                      .x_low = token_bytes,
                                      .x_second = planes * token_bytes,
                                      .w = ws->values + d / LANES * planes * token_bytes,
                                      .w_low = token_bytes,
                                      .w_second = planes * token_bytes,
                                      .steps = ws->tokens / STEP};
        multiply(&from, ws->sums, KERN_TILE_PITCH, 2 * KERN_TILE_BYTES, KERN_TILE_BYTES, row_tiles,
                 planes);
        for (int tile = 0; tile < row_tiles; tile++)
            for (int i = 0; i < rows; i++)
                store_row(job, first[tile] + i, d,
                          (const float *)(const void *)(ws->sums + 2 * tile * KERN_TILE_BYTES +
                                                        i * KERN_TILE_PITCH),
                          _mm512_set1_ps(inverse[tile][i]), lines);
    }
}

ALWAYS_INLINE void attend(const struct kern_attention *job, const int planes, const int lines)
{
    struct workspace ws;
    const long queries = job->q1 - job->q0;
    const long tiles = (queries + KERN_TILE_ROWS - 1) / KERN_TILE_ROWS;
    if (queries <= 0)
        return;
    const long rows = (queries + tiles - 1) / tiles;
    lay_out(&ws, job->tokens, job->dim, planes, job->scratch);
    pack_keys(job, &ws, planes, lines);
    pack_values(job, &ws, planes, lines);
    kern_tiles_begin((int)rows);
    for (long tile = 0; tile < tiles; tile += BLOCK_TILES) {
        const long last = job->q1 - rows; /* the first row of the last tile */
        long first[BLOCK_TILES];
        for (int i = 0; i < BLOCK_TILES; i++)
            first[i] = job->q0 + (tile + i) * rows < last ? job->q0 + (tile + i) * rows : last;
        if (tile + 1 < tiles)
            attend_block(job, &ws, first, (int)rows, 2, planes, lines);
        else
            attend_block(job, &ws, first, (int)rows, 1, planes, lines);
    }
    kern_tiles_end();
}

/* Whether every row of a head is whole blocks. */
static int in_whole_blocks(const struct kern_attention *job)
{
    return !job->q && (job->dim | job->q_part.column | job->k_part.column | job->v_part.column |
                       job->out_part.column) %
                              STEP ==
                          0;
}

static void attend_bf16(const struct kern_attention *job)
{
    if (in_whole_blocks(job))
        attend(job, 1, 1);
    else
        attend(job, 1, 0);
}

static void attend_split(const struct kern_attention *job)
{
    attend(job, 2, 0);
}

static size_t scratch_bf16(long tokens, long dim)
{
    struct workspace ws;
    return (size_t)lay_out(&ws, tokens, dim, 1, NULL);
}

static size_t scratch_split(long tokens, long dim)
{
    struct workspace ws;
    return (size_t)lay_out(&ws, tokens, dim, 2, NULL);
}

void kern_overlay_attention_amx(struct kern_table *table)
{
    table->query_group = 256; /* every call packs all keys and values */
    table->attention[KERN_BF16] = attend_bf16;
    table->attention[KERN_INT8] = attend_bf16;
    table->attention[KERN_SPLIT_BF16] = attend_split;
    table->attention_scratch[KERN_BF16] = scratch_bf16;
    table->attention_scratch[KERN_INT8] = scratch_bf16;
    table->attention_scratch[KERN_SPLIT_BF16] = scratch_split;
}

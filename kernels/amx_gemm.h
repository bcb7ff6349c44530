/* amx_gemm.h: the products with AMX: one block of tiles, and the order in which blocks visit rows, panels and depth.
 *
 * A block is two tiles of rows by two panels: four sums, two tiles of activations, two of weights, so that four loads
 * feed four multiplications. The activations are read where they lie, row-major or in blocks, 64 bytes of each row to a tile. Rows
 * are cut into tiles of nearly equal height; the last tile moves up where it would reach past the last row, and the
 * rows that it shares with the tile before it are computed twice, to the same bits.
 *
 * Rows go in chunks whose activations stay in the L2 cache. Each chunk meets the panels a pair at a time, over one block
 * of k after another, so that the pair's weights stay in the L1 cache while the activations stream past it; where k is so long
 * that a chunk would be short, its blocks form parts, and all panels pass once for each. Sums go on where the block before left
 * them, so neither blocks nor parts nor chunks ever change a bit. While a block multiplies, the vector
 * units finish the block before (scale, bias, GELU, store), and the pair of panels after this one is prefetched, spread
 * evenly over all steps.
 */
#ifndef KERNELS_AMX_GEMM_H
#define KERNELS_AMX_GEMM_H

#include <immintrin.h>

#include "kernels/amx_tiles.h"
#include "kernels/bf16_amx.h"
#include "kernels/inline.h"
#include "kernels/levels.h"

enum {
    AMX_LINE = 64,                         /* bytes of a cache line */
    AMX_PAIR = 2,                          /* tiles of rows, and panels, of a block */
    AMX_BLOCK_BYTES = 4 * KERN_TILE_BYTES, /* of the sums of a block */
    AMX_CHUNK_BLOCKS = 16,                 /* at most: 512 rows */
    AMX_CHUNK_BYTES = 1400 * 1024,         /* of activations, of an L2 cache of 2 MB */
    AMX_PART_STEPS = 48,                   /* of k, where it is cut for longer chunks */
    /* Loads do not see what a tile store has in flight: sums are read from the third step on. */
    AMX_LATE_STEPS = 2,
    /* With so few blocks of rows there is no reuse that blocks of k would serve. */
    AMX_WHOLE_DEPTH_BLOCKS = 2
};

/* How a product multiplies: u8 by s8, bf16 by bf16, (hi + lo) by (hi + lo) without lo by lo, in bf16, or that with lo by lo and
 * last by hi. */
enum amx_kind { AMX_INT8, AMX_BF16, AMX_SPLIT, AMX_SPLIT_WHOLE };

/* Sums of a whole block: 1 KB, row after row, for tile of rows t and panel v at 2 t + v. */
struct amx_sums {
    const struct kern_gemm *job;
    const char *tiles;
    long row[AMX_PAIR]; /* of the product: the first of each tile */
    int tile_rows;
    int rows; /* of all tiles; 0: nothing to finish */
    long panel;
    int panels;
};

/* Finishes rows from..to of the `rows`: epilogue and store. */
typedef void amx_finish_fn(const struct amx_sums *sums, int from, int to);

/* Where the sums of a block are kept: tile of rows t and panel v at t * second + v * next. */
struct amx_place {
    char *at;
    long pitch, second, next; /* bytes; pitch from one row to the next */
};

/* One block over one block of k, and what the vector units do beside it. */
struct amx_block {
    /* Activations from the first row and k: all of them, or their hi values, their lo values, and what these left over. */
    const char *x, *x_low, *x_last;
    long x_pitch;          /* bytes from one row to the next */
    long x_step;           /* bytes from one step of k to the next */
    long x_second;         /* bytes from the first tile of rows to the second */
    const char *w;         /* weights of the first panel from the first k */
    long w_pitch;          /* bytes from one panel to the next */
    long w_low;            /* bytes from a panel's hi values to its lo values */
    long steps;            /* of k: tiles of 64 bytes */
    struct amx_place from; /* sums so far; at is NULL where there are none */
    struct amx_place to;
    const char *ahead; /* what to prefetch next, of the first of some pieces */
    long ahead_pitch;  /* bytes from one piece to the next */
    int ahead_pieces;
    long ahead_lines; /* how many lines of each at every step */
    struct amx_sums done;
    amx_finish_fn *finish;
};

typedef void amx_block_fn(const struct amx_block *block);

/* The block functions of a kind: by tiles of rows less 1, panels less 1, and whether the weights
 * are the operand that streams. */
typedef amx_block_fn *amx_block_table[AMX_PAIR][AMX_PAIR][2];

/* Tile numbers are literals, so these cannot be functions. They use the names of amx_multiply. The operand that is
 * loaded once before the other one is needed again passes the L1 cache by. */
#define AMX_LOAD_ROWS(at)                                                                          \
    do {                                                                                           \
        if (stream_weights)                                                                        \
            kern_tile_load(4, at, block->x_pitch);                                                 \
        else                                                                                       \
            kern_tile_stream(4, at, block->x_pitch);                                               \
        if (row_tiles == AMX_PAIR && stream_weights)                                               \
            kern_tile_load(5, (at) + block->x_second, block->x_pitch);                             \
        else if (row_tiles == AMX_PAIR)                                                            \
            kern_tile_stream(5, (at) + block->x_second, block->x_pitch);                           \
    } while (0)
#define AMX_LOAD_PANELS(at)                                                                        \
    do {                                                                                           \
        if (stream_weights)                                                                        \
            kern_tile_stream(6, at, KERN_TILE_PITCH);                                              \
        else                                                                                       \
            kern_tile_load(6, at, KERN_TILE_PITCH);                                                \
        if (panels == AMX_PAIR && stream_weights)                                                  \
            kern_tile_stream(7, (at) + block->w_pitch, KERN_TILE_PITCH);                           \
        else if (panels == AMX_PAIR)                                                               \
            kern_tile_load(7, (at) + block->w_pitch, KERN_TILE_PITCH);                             \
    } while (0)
#define AMX_EACH_SUM(action)                                                                       \
    do {                                                                                           \
        action(0, 4, 6);                                                                           \
        if (panels == AMX_PAIR)                                                                    \
            action(1, 4, 7);                                                                       \
        if (row_tiles == AMX_PAIR)                                                                 \
            action(2, 5, 6);                                                                       \
        if (row_tiles == AMX_PAIR && panels == AMX_PAIR)                                           \
            action(3, 5, 7);                                                                       \
    } while (0)
#define AMX_ZERO_SUM(sum, x, w) kern_tile_zero(sum)
#define AMX_SUM_AT(place, sum) ((place).at + (sum) / 2 * (place).second + (sum) % 2 * (place).next)
#define AMX_LOAD_SUM(sum, x, w) kern_tile_load(sum, AMX_SUM_AT(block->from, sum), block->from.pitch)
#define AMX_STORE_SUM(sum, x, w) kern_tile_store(sum, AMX_SUM_AT(block->to, sum), block->to.pitch)
#define AMX_DOT(sum, x, w)                                                                         \
    do {                                                                                           \
        if (kind == AMX_INT8)                                                                      \
            kern_tile_dot_int8(sum, x, w);                                                         \
        else                                                                                       \
            kern_tile_dot_bf16(sum, x, w);                                                         \
    } while (0)

/* Beside one step: prefetches, and finishes `share` rows more of the block before. Returns how many
 * are finished. */
static inline int amx_beside(const struct amx_block *block, long step, long late, int finished,
                             int share)
{
    const char *ahead = block->ahead + step * block->ahead_lines * AMX_LINE;
    for (long line = 0; line < block->ahead_lines; line++, ahead += AMX_LINE)
        for (int piece = 0; piece < block->ahead_pieces; piece++)
            _mm_prefetch(ahead + piece * block->ahead_pitch, _MM_HINT_T1);
    if (step < late || finished >= block->done.rows)
        return finished;
    const int to = finished + share < block->done.rows ? finished + share : block->done.rows;
    block->finish(&block->done, finished, to);
    return to;
}

/* With hi and lo values, hi * lo is added first, then hi * hi, then lo * hi: each is loaded once. The whole of it begins with
 * lo * lo and ends with last * hi: the activations' lo values are loaded twice. */
ALWAYS_INLINE void amx_multiply(const struct amx_block *block, const enum amx_kind kind,
                                const int row_tiles, const int panels, const int stream_weights)
{
    const int split = kind == AMX_SPLIT || kind == AMX_SPLIT_WHOLE;
    const long late = block->steps > 2 * AMX_LATE_STEPS ? AMX_LATE_STEPS : 0;
    const int share = (int)((block->done.rows + block->steps - late - 1) / (block->steps - late));
    int finished = 0;

    kern_tiles_barrier();
    if (block->from.at)
        AMX_EACH_SUM(AMX_LOAD_SUM);
    else
        AMX_EACH_SUM(AMX_ZERO_SUM);
    for (long step = 0; step < block->steps; step++) {
        const char *x = block->x + step * block->x_step;
        const char *w = block->w + step * KERN_TILE_BYTES;
        if (split)
            AMX_LOAD_PANELS(w + block->w_low);
        if (kind == AMX_SPLIT_WHOLE) {
            AMX_LOAD_ROWS(block->x_low + step * block->x_step);
            AMX_EACH_SUM(AMX_DOT);
        }
        if (split) {
            AMX_LOAD_ROWS(x);
            AMX_EACH_SUM(AMX_DOT);
        }
        AMX_LOAD_PANELS(w);
        if (!split)
            AMX_LOAD_ROWS(x);
        AMX_EACH_SUM(AMX_DOT);
        if (split) {
            AMX_LOAD_ROWS(block->x_low + step * block->x_step);
            AMX_EACH_SUM(AMX_DOT);
        }
        if (kind == AMX_SPLIT_WHOLE) {
            AMX_LOAD_ROWS(block->x_last + step * block->x_step);
            AMX_EACH_SUM(AMX_DOT);
        }
        finished = amx_beside(block, step, late, finished, share);
    }
    AMX_EACH_SUM(AMX_STORE_SUM);
}

#define AMX_BLOCK(name, kind, row_tiles, panels, stream_weights)                                   \
    static void name##_##row_tiles##panels##stream_weights(const struct amx_block *block)          \
    {                                                                                              \
        amx_multiply(block, kind, row_tiles, panels, stream_weights);                              \
    }
/* Defines `name`, the table of the block functions of a kind. */
#define AMX_BLOCKS(name, kind)                                                                     \
    AMX_BLOCK(name, kind, 1, 1, 0)                                                                 \
    AMX_BLOCK(name, kind, 1, 1, 1)                                                                 \
    AMX_BLOCK(name, kind, 1, 2, 0)                                                                 \
    AMX_BLOCK(name, kind, 1, 2, 1)                                                                 \
    AMX_BLOCK(name, kind, 2, 1, 0)                                                                 \
    AMX_BLOCK(name, kind, 2, 1, 1)                                                                 \
    AMX_BLOCK(name, kind, 2, 2, 0)                                                                 \
    AMX_BLOCK(name, kind, 2, 2, 1)                                                                 \
    static const amx_block_table name = {{{name##_110, name##_111}, {name##_120, name##_121}},     \
                                         {{name##_210, name##_211}, {name##_220, name##_221}}};

/* How a block's values are stored: as floats, or rounded as whole cache lines or as halves of them. */
enum amx_form { AMX_FLOATS, AMX_LINES, AMX_HALVES };

/* Rows of a block that lie in one tile of rows: the sums of the first, which those of the second panel follow in
 * KERN_TILE_BYTES and those of the next row in KERN_TILE_PITCH, and where its values go, of each panel. */
struct amx_run {
    const char *at;
    long row; /* of the product */
    int rows;
    char *to[AMX_PAIR];
    long pitch; /* bytes from one row to the next */
};

/* Rows from..to as far as they lie in one tile. */
ALWAYS_INLINE struct amx_run amx_run_of(const struct amx_sums *sums, int from, int to,
                                        const int panels, const enum amx_form form)
{
    const struct kern_gemm *job = sums->job;
    const int tile = from >= sums->tile_rows, tile_row = from - tile * sums->tile_rows;
    const int end = !tile && to > sums->tile_rows ? sums->tile_rows : to;
    const long row = sums->row[tile] + tile_row, column = sums->panel * KERN_PANEL;
    struct amx_run run = {.at = sums->tiles + AMX_PAIR * tile * KERN_TILE_BYTES +
                                tile_row * KERN_TILE_PITCH,
                          .row = row,
                          .rows = end - from};
    for (int v = 0; v < AMX_PAIR; v++) {
        const long at = column + (v < panels ? v : 0) * KERN_PANEL;
        run.to[v] = form == AMX_FLOATS ? (char *)(job->y + row * job->y_stride + at)
                                       : (char *)kern_bf16_at(job->blocks, row, at);
    }
    run.pitch = form == AMX_FLOATS ? job->y_stride * (long)sizeof(float)
                                   : job->blocks->bf16_stride * (long)sizeof(uint16_t);
    return run;
}

/* Stores what a row's sums plus bias became, and goes on to the next row. */
ALWAYS_INLINE void amx_put(struct amx_run *run, const int panels, const enum amx_form form,
                           const int gelu, const __m512 value[AMX_PAIR])
{
    __m512 v[AMX_PAIR] = {value[0], value[1]};
    for (int i = 0; gelu && i < panels; i++)
        v[i] = form == AMX_FLOATS ? kern_gelu16(v[i]) : kern_gelu_short16(v[i]);
    if (form == AMX_FLOATS) {
        _mm512_storeu_ps(run->to[0], v[0]);
        if (panels == AMX_PAIR)
            _mm512_storeu_ps(run->to[1], v[1]);
    } else {
        const __m512i pair = kern_round32((struct kern_values32){v[0], v[1]});
        if (form == AMX_LINES) {
            _mm512_storeu_si512(run->to[0], pair);
        } else {
            _mm256_storeu_si256((__m256i *)(void *)run->to[0], _mm512_castsi512_si256(pair));
            if (panels == AMX_PAIR)
                _mm256_storeu_si256((__m256i *)(void *)run->to[1],
                                    _mm512_extracti64x4_epi64(pair, 1));
        }
    }
    run->at += KERN_TILE_PITCH;
    run->to[0] += run->pitch;
    run->to[1] += run->pitch;
}

/* Defines `name`, an amx_finish_fn, by `finish`(sums, from, to, panels, form, gelu), which is inlined once for each case. */
#define AMX_FINISH(name, finish)                                                                   \
    static void name(const struct amx_sums *sums, int from, int to)                                \
    {                                                                                              \
        const int gelu = sums->job->epilogue == KERN_GELU, pair = sums->panels == AMX_PAIR;        \
        if (sums->job->y && pair)                                                                  \
            finish(sums, from, to, AMX_PAIR, AMX_FLOATS, gelu);                                    \
        else if (sums->job->y)                                                                     \
            finish(sums, from, to, 1, AMX_FLOATS, gelu);                                           \
        else if (!pair)                                                                            \
            finish(sums, from, to, 1, AMX_HALVES, gelu);                                           \
        else if (sums->panel * KERN_PANEL % KERN_BF16_ALIGN != 0)                                  \
            finish(sums, from, to, AMX_PAIR, AMX_HALVES, gelu);                                    \
        else if (gelu)                                                                             \
            finish(sums, from, to, AMX_PAIR, AMX_LINES, 1);                                        \
        else                                                                                       \
            finish(sums, from, to, AMX_PAIR, AMX_LINES, 0);                                        \
    }

/* What amx_walk needs to know of a product. */
struct amx_plan {
    const amx_block_table *blocks;
    amx_finish_fn *finish;
    /* activations of row 0; x_low and x_last: NULL but for AMX_SPLIT, and AMX_SPLIT_WHOLE */
    const char *x, *x_low, *x_last;
    long x_pitch; /* bytes from one row to the next */
    long x_step;  /* bytes from one step of k to the next */
    long steps;   /* of all k: tiles of 64 bytes */
    long depth;   /* steps of a block of k */
};

/* Runs a job. Any number of rows and panels from 0 up. */
void kern_amx_walk(const struct kern_gemm *job, const struct amx_plan *plan);

#endif

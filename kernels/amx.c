/* amx.c: the level that adds AMX, and the walk that its products share. amx_gemm.h describes it. */
#include "kernels/amx_gemm.h"
#include "kernels/levels.h"

/* A product on its way. */
struct walk {
    const struct kern_gemm *job;
    const struct amx_plan *plan;
    long tiles;     /* of rows */
    long tile_rows; /* rows of each */
    int w_planes;   /* hi, or hi and lo */
    char *partial;  /* (AMX_CHUNK_BLOCKS) blocks: sums over the k so far of a pair of panels */
    char *result;   /* a block: sums over all k */
    char *waiting;  /* another, whose sums are finished beside the next block */
    struct amx_block block;
};

/* Steps k0..k1 of a product. */
struct range {
    long k0, k1;
};

/* What a sweep takes: a chunk's blocks b0..b1, one or two panels, and a part of k. */
struct piece {
    long b0, b1;
    long panel;
    int panels;
    struct range part;
};

static long least(long a, long b)
{
    return a < b ? a : b;
}

static long ceil_div(long a, long b)
{
    return (a + b - 1) / b;
}

/* The first tile of a block. Where tiles are odd in number the first block has one alone, so that the last two tiles, which may
 * share rows, are one block: it reads their sums in y before it writes any. */
static long first_tile(const struct walk *walk, long block)
{
    return block > 0 ? AMX_PAIR * block - walk->tiles % AMX_PAIR : 0;
}

/* The first row of a tile. */
static long tile_row(const struct walk *walk, long tile)
{
    return least(walk->job->m0 + tile * walk->tile_rows, walk->job->m1 - walk->tile_rows);
}

static struct amx_place in_tiles(char *at)
{
    return (struct amx_place){at, KERN_TILE_PITCH, AMX_PAIR * KERN_TILE_BYTES, KERN_TILE_BYTES};
}

static struct amx_place in_rows(const struct kern_gemm *job, long first, long second, long panel)
{
    const long pitch = job->y_stride * (long)sizeof(float);
    char *at = (char *)(job->y + first * job->y_stride + panel * KERN_PANEL);
    return (struct amx_place){at, pitch, (second - first) * pitch, KERN_TILE_PITCH};
}

/* Block b over the steps `of`, of a piece's part of k. Between parts its sums are in y, within one at `partial`. */
static void multiply_block(struct walk *walk, const struct piece *piece, long b, struct range of,
                           char *partial)
{
    const struct amx_plan *plan = walk->plan;
    struct amx_block *block = &walk->block;
    const int row_tiles = (int)(first_tile(walk, b + 1) - first_tile(walk, b));
    const long first = tile_row(walk, first_tile(walk, b));
    const long second = tile_row(walk, first_tile(walk, b + 1) - 1);
    const long at = first * plan->x_pitch + of.k0 * plan->x_step;
    const int last = of.k1 == plan->steps, stream_weights = piece->b1 - piece->b0 == 1;
    block->x = plan->x + at;
    block->x_low = plan->x_low ? plan->x_low + at : NULL;
    block->x_last = plan->x_last ? plan->x_last + at : NULL;
    block->x_second = (second - first) * plan->x_pitch;
    block->w = (const char *)walk->job->w->panels + piece->panel * block->w_pitch +
               of.k0 * KERN_TILE_BYTES;
    block->steps = of.k1 - of.k0;
    block->from = in_tiles(of.k0 ? partial : NULL);
    if (of.k0 && of.k0 == piece->part.k0)
        block->from = in_rows(walk->job, first, second, piece->panel);
    block->to = in_tiles(last ? walk->result : partial);
    if (!last && of.k1 == piece->part.k1)
        block->to = in_rows(walk->job, first, second, piece->panel);
    (*plan->blocks)[row_tiles - 1][piece->panels - 1][stream_weights](block);

    block->done.rows = 0;
    if (last) {
        walk->result = walk->waiting;
        walk->waiting = block->to.at;
        block->done.tiles = block->to.at;
        block->done.row[0] = first;
        block->done.row[1] = second;
        block->done.rows = row_tiles * (int)walk->tile_rows;
        block->done.panel = piece->panel;
        block->done.panels = piece->panels;
    }
}

/* Multiplies a piece, and prefetches what is after it. */
static void sweep(struct walk *walk, const struct piece *piece, const struct piece *next)
{
    const struct range part = piece->part;
    struct amx_block *block = &walk->block;
    const long blocks = piece->b1 - piece->b0;
    const long depth = blocks > AMX_WHOLE_DEPTH_BLOCKS ? walk->plan->depth : part.k1 - part.k0;
    long steps_left = blocks * (part.k1 - part.k0);
    long lines = 0; /* of each panel and plane */

    if (next && walk->tiles > 1) {
        block->ahead = (const char *)walk->job->w->panels + next->panel * block->w_pitch +
                       next->part.k0 * KERN_TILE_BYTES;
        block->ahead_pitch = block->w_low;
        block->ahead_pieces = next->panels * walk->w_planes;
        lines = (next->part.k1 - next->part.k0) * KERN_TILE_BYTES / AMX_LINE;
    }
    for (long k0 = part.k0; k0 < part.k1; k0 += depth) {
        const struct range of = {k0, least(k0 + depth, part.k1)};
        const long steps = of.k1 - of.k0;
        for (long b = piece->b0; b < piece->b1; b++) {
            block->ahead_lines = steps_left > 0 ? ceil_div(lines, steps_left) : 0;
            multiply_block(walk, piece, b, of, walk->partial + (b - piece->b0) * AMX_BLOCK_BYTES);
            const long fetched = least(lines, block->ahead_lines * steps);
            block->ahead += fetched * AMX_LINE;
            lines -= fetched;
            steps_left -= steps;
        }
    }
}

/* Into how many chunks rows are cut, and each of them into parts of how many steps. */
struct cut {
    long chunks, part_steps;
};

/* Longer chunks read the weights fewer times. Where all k of few rows fill the L2 cache, k is cut, if there are floats for the
 * sums in between. */
static struct cut cut_of(const struct walk *walk, int x_planes)
{
    const struct kern_gemm *job = walk->job;
    const long steps = walk->plan->steps, blocks = ceil_div(walk->tiles, AMX_PAIR);
    const long step_bytes = AMX_PAIR * KERN_TILE_BYTES * x_planes; /* of a block */
    const long sum_bytes = (job->p1 - job->p0) * AMX_PAIR * KERN_TILE_BYTES;
    const long part_steps = least(steps, AMX_PART_STEPS);
    const long whole = AMX_CHUNK_BYTES / (step_bytes * steps);
    const long in_parts = AMX_CHUNK_BYTES / (step_bytes * part_steps + sum_bytes);
    const int parts = job->y && whole < least(blocks, AMX_CHUNK_BLOCKS) && in_parts > whole;
    long chunk_blocks = least(parts ? in_parts : whole, AMX_CHUNK_BLOCKS);
    if (chunk_blocks <= AMX_WHOLE_DEPTH_BLOCKS)
        chunk_blocks = AMX_WHOLE_DEPTH_BLOCKS + 1;
    return (struct cut){ceil_div(blocks, chunk_blocks), parts ? part_steps : steps};
}

/* Makes a piece of the one that comes after it; returns 0 after the last. */
static int advance(const struct walk *walk, struct cut cut, long *chunk, struct piece *piece)
{
    const struct kern_gemm *job = walk->job;
    const long blocks = ceil_div(walk->tiles, AMX_PAIR);
    piece->panel += piece->panels;
    if (piece->panel >= job->p1) {
        piece->panel = job->p0;
        piece->part.k0 = piece->part.k1;
    }
    if (piece->part.k0 >= walk->plan->steps) {
        piece->part.k0 = 0;
        ++*chunk;
    }
    piece->part.k1 = least(piece->part.k0 + cut.part_steps, walk->plan->steps);
    piece->panels = (int)least(AMX_PAIR, job->p1 - piece->panel);
    piece->b0 = blocks * *chunk / cut.chunks;
    piece->b1 = blocks * (*chunk + 1) / cut.chunks;
    return *chunk < cut.chunks;
}

void kern_amx_walk(const struct kern_gemm *job, const struct amx_plan *plan)
{
    _Alignas(AMX_LINE) char partial[AMX_CHUNK_BLOCKS * AMX_BLOCK_BYTES];
    _Alignas(AMX_LINE) char results[2 * AMX_BLOCK_BYTES];
    const long rows = job->m1 - job->m0;
    if (rows <= 0 || job->p0 >= job->p1)
        return;

    struct walk walk = {.job = job, .plan = plan, .partial = partial};
    walk.result = results;
    walk.waiting = results + AMX_BLOCK_BYTES;
    walk.tiles = ceil_div(rows, KERN_TILE_ROWS);
    walk.tile_rows = ceil_div(rows, walk.tiles);
    walk.w_planes = plan->x_low ? 2 : 1;
    walk.block.x_pitch = plan->x_pitch;
    walk.block.x_step = plan->x_step;
    walk.block.w_low = plan->steps * KERN_TILE_BYTES;
    walk.block.w_pitch = walk.w_planes * walk.block.w_low;
    walk.block.ahead = job->w->panels;
    walk.block.finish = plan->finish;
    walk.block.done.job = job;
    walk.block.done.tile_rows = (int)walk.tile_rows;

    const struct cut cut = cut_of(&walk, walk.w_planes + (plan->x_last ? 1 : 0));
    struct piece piece = {.panel = job->p0}, next = piece;
    long chunk = 0;
    int more = advance(&walk, cut, &chunk, &piece);
    kern_tiles_begin((int)walk.tile_rows);
    while (more) {
        next = piece;
        more = advance(&walk, cut, &chunk, &next);
        sweep(&walk, &piece, more ? &next : NULL);
        piece = next;
    }
    if (walk.block.done.rows)
        plan->finish(&walk.block.done, 0, walk.block.done.rows);
    kern_tiles_end();
}

double kern_amx_chain(enum kern_scheme scheme, long steps)
{
    const double products = 4.0 * KERN_TILE_ROWS * KERN_PANEL; /* of 64 bytes each, in a step */
    kern_tiles_begin(KERN_TILE_ROWS);
    for (long step = 0; step < steps; step++) {
        if (scheme == KERN_INT8) {
            kern_tile_dot_int8(0, 4, 6);
            kern_tile_dot_int8(1, 4, 7);
            kern_tile_dot_int8(2, 5, 6);
            kern_tile_dot_int8(3, 5, 7);
        } else {
            kern_tile_dot_bf16(0, 4, 6);
            kern_tile_dot_bf16(1, 4, 7);
            kern_tile_dot_bf16(2, 5, 6);
            kern_tile_dot_bf16(3, 5, 7);
        }
    }
    kern_tiles_end();
    if (scheme == KERN_INT8)
        return products * 64 * 2;
    return products * 32 * 2 / (scheme == KERN_SPLIT_BF16 ? 3 : 1);
}

void kern_overlay_amx(struct kern_table *table)
{
    table->level = KERN_AMX;
    table->name = kern_level_name(KERN_AMX);
    table->panel_group = AMX_PAIR;
    table->form[KERN_INT8] = KERN_BLOCKS;
    table->form[KERN_BF16] = KERN_BLOCKS;
    table->gemm[KERN_INT8] = kern_gemm_int8_amx;
    table->gemm[KERN_BF16] = kern_gemm_bf16_amx;
    table->gemm[KERN_SPLIT_BF16] = kern_gemm_split_bf16_amx;
    kern_overlay_pack_amx(table);
    kern_overlay_attention_amx(table);
}

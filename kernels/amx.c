/* amx.c: the level that adds AMX, and the walk that its products share. amx_gemm.h describes it. */
#include "kernels/amx_gemm.h"
#include "kernels/levels.h"

/* A product on its way. */
struct walk {
    const struct kern_gemm *job;
    const struct amx_plan *plan;
    long tiles;     /* of rows */
    long tile_rows; /* rows of each */
    char *partial;  /* (AMX_CHUNK_BLOCKS) blocks: sums over the k so far */
    char *result;   /* a block: sums over all k */
    char *waiting;  /* another, whose sums are finished beside the next block */
    struct amx_block block;
};

static long least(long a, long b)
{
    return a < b ? a : b;
}

static long ceil_div(long a, long b)
{
    return (a + b - 1) / b;
}

/* The first row of a tile. */
static long tile_row(const struct walk *walk, long tile)
{
    return least(walk->job->m0 + tile * walk->tile_rows, walk->job->m1 - walk->tile_rows);
}

/* The block of the tiles from `tile` and the panels from `panel` on, over `depth` steps from k0. `partial` is the place
 * of its sums until k is through. */
static void multiply_block(struct walk *walk, amx_block_fn *multiply, long tile, int row_tiles,
                           long panel, int panels, long k0, long depth, char *partial)
{
    const struct amx_plan *plan = walk->plan;
    struct amx_block *block = &walk->block;
    const long first = tile_row(walk, tile);
    const long second = tile_row(walk, tile + row_tiles - 1);
    const long at = first * plan->x_pitch + k0 * plan->x_step;
    const int last = k0 + depth == plan->steps;
    block->x = plan->x + at;
    block->x_low = plan->x_low ? plan->x_low + at : NULL;
    block->x_last = plan->x_last ? plan->x_last + at : NULL;
    block->x_second = (second - first) * plan->x_pitch;
    block->w = (const char *)walk->job->w->panels + panel * block->w_pitch + k0 * KERN_TILE_BYTES;
    block->steps = depth;
    block->from = k0 ? partial : NULL;
    block->to = last ? walk->result : partial;
    multiply(block);

    block->done.rows = 0;
    if (last) {
        walk->result = walk->waiting;
        walk->waiting = block->to;
        block->done.tiles = block->to;
        block->done.row[0] = first;
        block->done.row[1] = second;
        block->done.rows = row_tiles * (int)walk->tile_rows;
        block->done.panel = panel;
        block->done.panels = panels;
    }
}

/* The sweep of one chunk's tiles t0..t1 over one pair of panels; `lines` are to be prefetched from
 * `next` on. */
static void sweep(struct walk *walk, long t0, long t1, long panel, int panels, const char *next,
                  long lines)
{
    const struct amx_plan *plan = walk->plan;
    struct amx_block *block = &walk->block;
    const long blocks = ceil_div(t1 - t0, AMX_PAIR);
    const long depth = blocks > AMX_WHOLE_DEPTH_BLOCKS ? plan->depth : plan->steps;
    const int stream_weights = blocks == 1;
    long steps_left = blocks * plan->steps;

    block->ahead = next;
    for (long k0 = 0; k0 < plan->steps; k0 += depth) {
        const long steps = least(depth, plan->steps - k0);
        for (long b = 0; b < blocks; b++) {
            const long tile = t0 + b * AMX_PAIR;
            const int row_tiles = (int)least(AMX_PAIR, t1 - tile);
            block->ahead_lines = steps_left > 0 ? ceil_div(lines, steps_left) : 0;
            multiply_block(walk, (*plan->blocks)[row_tiles - 1][panels - 1][stream_weights], tile,
                           row_tiles, panel, panels, k0, steps,
                           walk->partial + b * AMX_BLOCK_BYTES);
            const long fetched = least(lines, block->ahead_lines * steps);
            block->ahead += fetched * AMX_LINE;
            lines -= fetched;
            steps_left -= steps;
        }
    }
}

void kern_amx_walk(const struct kern_gemm *job, const struct amx_plan *plan)
{
    _Alignas(AMX_LINE) char partial[AMX_CHUNK_BLOCKS * AMX_BLOCK_BYTES];
    _Alignas(AMX_LINE) char results[2 * AMX_BLOCK_BYTES];
    const long rows = job->m1 - job->m0;
    const int w_planes = plan->x_low ? 2 : 1;
    const int x_planes = w_planes + (plan->x_last ? 1 : 0);
    if (rows <= 0 || job->p0 >= job->p1)
        return;

    struct walk walk = {.job = job, .plan = plan, .partial = partial};
    walk.result = results;
    walk.waiting = results + AMX_BLOCK_BYTES;
    walk.tiles = ceil_div(rows, KERN_TILE_ROWS);
    walk.tile_rows = ceil_div(rows, walk.tiles);
    walk.block.x_pitch = plan->x_pitch;
    walk.block.x_step = plan->x_step;
    walk.block.w_low = plan->steps * KERN_TILE_BYTES;
    walk.block.w_pitch = w_planes * walk.block.w_low;
    walk.block.finish = plan->finish;
    walk.block.done.job = job;
    walk.block.done.tile_rows = (int)walk.tile_rows;

    const long blocks = ceil_div(walk.tiles, AMX_PAIR);
    const long block_x_bytes = AMX_PAIR * KERN_TILE_BYTES * x_planes * plan->steps;
    long chunk_blocks = least(AMX_CHUNK_BYTES / block_x_bytes, AMX_CHUNK_BLOCKS);
    if (chunk_blocks <= AMX_WHOLE_DEPTH_BLOCKS)
        chunk_blocks = AMX_WHOLE_DEPTH_BLOCKS + 1;
    const long chunks = ceil_div(blocks, chunk_blocks);
    const char *panels = job->w->panels;

    kern_tiles_begin((int)walk.tile_rows);
    for (long c = 0; c < chunks; c++) {
        const long t0 = blocks * c / chunks * AMX_PAIR;
        const long t1 = least(blocks * (c + 1) / chunks * AMX_PAIR, walk.tiles);
        for (long p = job->p0; p < job->p1; p += AMX_PAIR) {
            const long end = least(p + AMX_PAIR, job->p1);
            const long next = end < job->p1 ? end : c + 1 < chunks ? job->p0 : job->p1;
            const long bytes = least(AMX_PAIR, job->p1 - next) * walk.block.w_pitch;
            sweep(&walk, t0, t1, p, (int)(end - p), panels + next * walk.block.w_pitch,
                  walk.tiles > 1 ? bytes / AMX_LINE : 0);
        }
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

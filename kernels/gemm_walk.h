/* gemm_walk.h: the order in which the prepacked products visit their rows, panels and depth.
 *
 * A product is cut into chunks of rows whose activations stay in the L2 cache. Each chunk meets the
 * panels a group at a time; a group is multiplied over one block of k after another, and within a
 * block all rows of the chunk pass by in tiles as large as the registers hold. The sum of a tile
 * goes on where the block before left it, so the blocks never change a bit. While one group is in
 * use, the next one is prefetched, a few lines at every step, spread evenly over all tiles: the
 * weights of a large model come from the L3 cache or from memory, and one burst would stall.
 */
#ifndef KERNELS_GEMM_WALK_H
#define KERNELS_GEMM_WALK_H

#include "kernels/kernels.h"

/* Before a loop whose length is known once it is inlined: unrolls it whole, so that its arrays live
 * in registers. Emulated instructions have none, and would take a compiler minutes. */
#if defined(KERN_EMULATED)
#define GEMM_UNROLL
#elif defined(__clang__)
#define GEMM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define GEMM_UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    GEMM_LINE = 64,    /* bytes of a cache line */
    GEMM_ROWS_MAX = 8, /* rows of the tallest tile */
    /* With fewer rows the loads alone keep the memory busy, and prefetching costs up to 15%. */
    GEMM_PREFETCH_ROWS = 5,
    /* From so many tiles of rows on, weights held in fewer bits are converted once and not for every tile. */
    GEMM_WIDEN_TILES = 4,
    GEMM_PANELS_MAX = 4 /* panels of the widest tile */
};

/* One tile: `rows` rows times `panels` neighbouring panels over one block of k. */
struct gemm_tile {
    const struct kern_gemm *job;
    long row, panel; /* the first of each */
    const char *x;   /* activations of the first row, from the block's first k */
    long x_pitch;    /* bytes from one row to the next */
    const char *w;   /* weights of the first panel, from the block's first k */
    long w_pitch;    /* bytes from one panel to the next */
    long depth;      /* of the block */
    int first, last; /* whether the block is the first and the last one of k */
    int32_t *
        sums; /* (GEMM_PANELS_MAX, GEMM_ROWS_MAX, KERN_PANEL), aligned to 64: room for a tile's integer sums */
    const char *ahead; /* what to prefetch next */
    long ahead_lines;  /* how many lines of it at every step */
};

typedef void gemm_tile_fn(const struct gemm_tile *tile);

/* Weights of one panel, `depth` of k from w on, as floats. */
typedef void gemm_widen_fn(float *out, const char *w, long depth);

/* What a kernel is like. A tile function exists for every number of rows and panels that `panels`
 * allows. */
struct gemm_plan {
    long x_size;                   /* bytes of one activation */
    long w_size;                   /* bytes of one k of a panel */
    long step;                     /* k between two rounds of prefetching */
    long chunk_bytes;              /* of activations that stay in cache while the panels pass */
    long depth;                    /* longest block of k; 0: all of k in one block */
    int rows;                      /* of the tallest tile */
    int panels[GEMM_ROWS_MAX + 1]; /* panels of a group, by the rows of the tallest tile in use */
    gemm_tile_fn *tile[GEMM_PANELS_MAX + 1][GEMM_ROWS_MAX + 1];
    /* NULL, or with tiles that read floats, and a depth. */
    gemm_widen_fn *widen;
    gemm_tile_fn *wide_tile[GEMM_PANELS_MAX + 1][GEMM_ROWS_MAX + 1];
};

static inline long gemm_min(long a, long b)
{
    return a < b ? a : b;
}

static inline long gemm_ceil_div(long a, long b)
{
    return (a + b - 1) / b;
}

/* One block of k of a group of panels as floats, in place of the weights as they are held. */
static inline void gemm_widen(const struct gemm_plan *plan, struct gemm_tile *tile, int panels,
                              float *room)
{
    const long pitch = plan->depth * KERN_PANEL;
    for (int v = 0; v < panels; v++)
        plan->widen(room + v * pitch, tile->w + v * tile->w_pitch, tile->depth);
    tile->w = (const char *)room;
}

/* The sweep of one chunk's rows over one group of panels. `next` is the group to prefetch,
 * `next_lines` long. `room` is for the weights of a block of k as floats, or NULL. */
static inline void gemm_group(const struct gemm_plan *plan, struct gemm_tile *tile, long m0,
                              long m1, long blocks, int panels, const char *x, long k,
                              const char *next, long next_lines, float *room)
{
    const char *w = tile->w;
    long depth = plan->depth > 0 && blocks > 1 ? plan->depth : k;
    long steps_left = blocks * gemm_ceil_div(k, plan->step);
    const int widen = room && blocks >= GEMM_WIDEN_TILES;
    gemm_tile_fn *const *multiply = widen ? plan->wide_tile[panels] : plan->tile[panels];
    const long w_pitch = tile->w_pitch;

    tile->ahead = next;
    for (long k0 = 0; k0 < k; k0 += depth) {
        tile->depth = gemm_min(depth, k - k0);
        tile->first = k0 == 0;
        tile->last = k0 + tile->depth == k;
        tile->w = w + k0 * plan->w_size;
        tile->w_pitch = w_pitch;
        if (widen) {
            gemm_widen(plan, tile, panels, room);
            tile->w_pitch = plan->depth * KERN_PANEL * (long)sizeof(float);
        }
        long steps = gemm_ceil_div(tile->depth, plan->step);
        for (long b = 0; b < blocks; b++) {
            long row = m0 + (m1 - m0) * b / blocks;
            long end = m0 + (m1 - m0) * (b + 1) / blocks;
            tile->row = row;
            tile->x = x + row * tile->x_pitch + k0 * plan->x_size;
            tile->ahead_lines = steps_left > 0 ? gemm_ceil_div(next_lines, steps_left) : 0;
            multiply[end - row](tile);
            long lines = gemm_min(next_lines, tile->ahead_lines * steps);
            tile->ahead += lines * GEMM_LINE;
            next_lines -= lines;
            steps_left -= steps;
        }
    }
    tile->w_pitch = w_pitch;
}

/* Runs a job. x is its activations as the tiles read them, x_pitch bytes to a row; k is the depth
 * as packed. `room`, for a plan that widens, is (panels of a group, depth, KERN_PANEL) floats; else NULL. */
static inline void gemm_walk_widening(const struct kern_gemm *job, const struct gemm_plan *plan,
                                      const void *x, long x_pitch, long k, float *room)
{
    const char *panels = (const char *)job->w->panels;
    long panel_bytes = k * plan->w_size;
    long chunk_rows = plan->chunk_bytes / (k * plan->x_size) / plan->rows * plan->rows;
    if (chunk_rows < 4 * plan->rows)
        chunk_rows = 4 * plan->rows;
    long rows = job->m1 - job->m0;
    long chunks = gemm_ceil_div(rows, chunk_rows);

    _Alignas(GEMM_LINE) int32_t sums[GEMM_PANELS_MAX * GEMM_ROWS_MAX * KERN_PANEL];
    struct gemm_tile tile = {.job = job, .sums = sums, .x_pitch = x_pitch, .w_pitch = panel_bytes};
    for (long c = 0; c < chunks; c++) {
        long m0 = job->m0 + rows * c / chunks;
        long m1 = job->m0 + rows * (c + 1) / chunks;
        long blocks = gemm_ceil_div(m1 - m0, plan->rows);
        int group = plan->panels[gemm_ceil_div(m1 - m0, blocks)];
        for (long p = job->p0; p < job->p1; p += group) {
            long end = gemm_min(p + group, job->p1);
            long next = end < job->p1 ? end : c + 1 < chunks ? job->p0 : job->p1;
            long next_panels = gemm_min(group, job->p1 - next);
            long lines = gemm_ceil_div(next_panels * panel_bytes, GEMM_LINE);
            tile.panel = p;
            tile.w = panels + p * panel_bytes;
            gemm_group(plan, &tile, m0, m1, blocks, (int)(end - p), (const char *)x, k,
                       panels + next * panel_bytes, rows < GEMM_PREFETCH_ROWS ? 0 : lines, room);
        }
    }
}

static inline void gemm_walk(const struct kern_gemm *job, const struct gemm_plan *plan,
                             const void *x, long x_pitch, long k)
{
    gemm_walk_widening(job, plan, x, x_pitch, k, NULL);
}

#endif

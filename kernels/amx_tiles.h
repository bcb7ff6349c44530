/* amx_tiles.h: the tile instructions that the AMX kernels are made of, by the number of the register.
 *
 * A tile is up to 16 rows of 64 bytes. Tile numbers must be literals. Where KERN_EMULATED is
 * defined, as for tests only, the same names are functions on a tile state in plain C: the kernels
 * can then be proven on a machine without AMX.
 *
 * Loading memory that C has written: kern_tiles_begin and kern_tiles_barrier order the two, which
 * the load itself does not.
 */
#ifndef KERNELS_AMX_TILES_H
#define KERNELS_AMX_TILES_H

#include <stdint.h>
#include <string.h>

enum {
    KERN_TILE_ROWS = 16,
    KERN_TILE_PITCH = 64,   /* bytes of a row */
    KERN_TILE_BYTES = 1024, /* of a whole tile, its rows one after another */
    KERN_TILES = 8
};

/* The operand of ldtilecfg. */
struct kern_tile_config {
    uint8_t palette, start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

#if defined(KERN_EMULATED)

void kern_emulated_configure(const struct kern_tile_config *config);
void kern_emulated_release(void);
void kern_emulated_zero(int tile);
void kern_emulated_load(int tile, const void *from, long pitch);
void kern_emulated_store(int tile, void *to, long pitch);
void kern_emulated_dot_int8(int sum, int a, int b);
void kern_emulated_dot_bf16(int sum, int a, int b);

#define kern_tile_configure(config) kern_emulated_configure(config)
#define kern_tile_release() kern_emulated_release()
#define kern_tile_zero(tile) kern_emulated_zero(tile)
#define kern_tile_load(tile, from, pitch) kern_emulated_load(tile, from, pitch)
#define kern_tile_stream(tile, from, pitch) kern_emulated_load(tile, from, pitch)
#define kern_tile_store(tile, to, pitch) kern_emulated_store(tile, to, pitch)
#define kern_tile_dot_int8(sum, a, b) kern_emulated_dot_int8(sum, a, b)
#define kern_tile_dot_bf16(sum, a, b) kern_emulated_dot_bf16(sum, a, b)

#else

#include <immintrin.h>

#define kern_tile_configure(config) _tile_loadconfig(config)
#define kern_tile_release() _tile_release()
#define kern_tile_zero(tile) _tile_zero(tile)
#define kern_tile_load(tile, from, pitch) _tile_loadd(tile, from, pitch)
/* For an operand that is read once before the other one is needed again: passes the L1 cache by. */
#define kern_tile_stream(tile, from, pitch) _tile_stream_loadd(tile, from, pitch)
#define kern_tile_store(tile, to, pitch) _tile_stored(tile, to, pitch)
/* sum (rows, 16) s32 += a (rows, 64) u8 * b (16, 16, 4) s8 */
#define kern_tile_dot_int8(sum, a, b) _tile_dpbusd(sum, a, b)
/* sum (rows, 16) float += a (rows, 32) bf16 * b (16, 16, 2) bf16; denormals count as zero */
#define kern_tile_dot_bf16(sum, a, b) _tile_dpbf16ps(sum, a, b)

#endif

/* What C wrote so far is in memory for the tile loads that follow. */
static inline void kern_tiles_barrier(void)
{
    __asm__ volatile("" : : : "memory");
}

/* Shapes the tiles for products of `rows` rows at a time, 1..16: tiles 0 to 3 are sums, 4 and 5
 * activations, all of so many rows; 6 and 7 are weights, of 16. All are zero then. */
static inline void kern_tiles_begin(int rows)
{
    struct kern_tile_config config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int tile = 0; tile < KERN_TILES; tile++) {
        config.row_bytes[tile] = KERN_TILE_PITCH;
        config.rows[tile] = (uint8_t)(tile < 6 ? rows : KERN_TILE_ROWS);
    }
    /* gcc 12 takes the instruction to read 8 of its 64 bytes, and drops the stores to the others */
    __asm__ volatile("" : : "r"(&config) : "memory");
    kern_tile_configure(&config);
}

/* Gives the tiles back, so that the operating system need not save them for this thread. */
static inline void kern_tiles_end(void)
{
    kern_tile_release();
}

#endif

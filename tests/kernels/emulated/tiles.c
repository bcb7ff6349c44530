/* The tile instructions in plain C, as their manual defines them, on a tile state held by a thread. Whatever would trap on
 * a CPU (an unconfigured tile, shapes that do not fit) aborts. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/amx_tiles.h"
#include "kernels/levels.h"

enum { DWORDS = KERN_TILE_PITCH / 4 };

struct tile {
    int rows, row_bytes; /* 0: not configured */
    _Alignas(64) uint8_t data[KERN_TILE_ROWS][KERN_TILE_PITCH];
};

static _Thread_local struct tile tiles[KERN_TILES];

static void expect(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "emulated tile instruction: %s\n", what);
    abort();
}

static struct tile *configured(int number)
{
    expect(number >= 0 && number < KERN_TILES, "no such tile");
    expect(tiles[number].rows > 0, "the tile is not configured");
    return &tiles[number];
}

/* The rows that an instruction does not write become zero. */
static void zero_rest(struct tile *tile)
{
    for (int row = tile->rows; row < KERN_TILE_ROWS; row++)
        memset(tile->data[row], 0, sizeof tile->data[row]);
}

void kern_emulated_configure(const struct kern_tile_config *config)
{
    expect(config->palette == 1 && config->start_row == 0, "palette 1 and row 0 are all there is");
    for (int i = 0; i < 16; i++) {
        const int rows = config->rows[i], row_bytes = config->row_bytes[i];
        expect((rows == 0) == (row_bytes == 0), "a tile of rows without bytes, or the reverse");
        expect(rows <= (i < KERN_TILES ? KERN_TILE_ROWS : 0), "too many rows");
        expect(row_bytes <= KERN_TILE_PITCH && row_bytes % 4 == 0, "rows of 4 to 64 bytes");
    }
    memset(tiles, 0, sizeof tiles);
    for (int i = 0; i < KERN_TILES; i++) {
        tiles[i].rows = config->rows[i];
        tiles[i].row_bytes = config->row_bytes[i];
    }
}

void kern_emulated_release(void)
{
    memset(tiles, 0, sizeof tiles);
}

void kern_emulated_zero(int number)
{
    struct tile *tile = configured(number);
    memset(tile->data, 0, sizeof tile->data);
}

void kern_emulated_load(int number, const void *from, long pitch)
{
    struct tile *tile = configured(number);
    memset(tile->data, 0, sizeof tile->data);
    for (int row = 0; row < tile->rows; row++)
        memcpy(tile->data[row], (const char *)from + row * pitch, (size_t)tile->row_bytes);
}

void kern_emulated_store(int number, void *to, long pitch)
{
    const struct tile *tile = configured(number);
    for (int row = 0; row < tile->rows; row++)
        memcpy((char *)to + row * pitch, tile->data[row], (size_t)tile->row_bytes);
}

static void expect_fit(const struct tile *sum, const struct tile *a, const struct tile *b)
{
    expect(sum != a && sum != b && a != b, "the three tiles must differ");
    expect(sum->rows == a->rows, "sums and activations differ in rows");
    expect(a->row_bytes / 4 == b->rows, "activations and weights differ in depth");
    expect(sum->row_bytes == b->row_bytes, "sums and weights differ in columns");
    expect(sum->row_bytes == KERN_TILE_PITCH, "the emulation knows whole rows of sums only");
}

void kern_emulated_dot_int8(int sum_number, int a_number, int b_number)
{
    struct tile *sum = configured(sum_number);
    const struct tile *a = configured(a_number), *b = configured(b_number);
    int8_t weights[KERN_TILE_ROWS][4][DWORDS]; /* in an order that the loop below can vectorise */
    expect_fit(sum, a, b);
    for (int k = 0; k < b->rows; k++)
        for (int column = 0; column < DWORDS; column++)
            for (int i = 0; i < 4; i++)
                memcpy(&weights[k][i][column], &b->data[k][column * 4 + i], 1);
    for (int row = 0; row < sum->rows; row++) {
        uint32_t sums[DWORDS]; /* which wrap, as the instruction's do */
        memcpy(sums, sum->data[row], sizeof sums);
        for (int k = 0; k < b->rows; k++)
            for (int i = 0; i < 4; i++)
                for (int column = 0; column < DWORDS; column++)
                    sums[column] += (uint32_t)(a->data[row][k * 4 + i] * weights[k][i][column]);
        memcpy(sum->data[row], sums, sizeof sums);
    }
    zero_rest(sum);
}

/* Denormals are zero on the way in and on the way out. */
static inline float flushed(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0.0F, x) : x;
}

/* The bf16 of even and of odd k in a row of pairs, as floats. */
static inline void widen(const uint8_t row[KERN_TILE_PITCH], float values[2][DWORDS])
{
    uint32_t pairs[DWORDS], bits[2][DWORDS];
    memcpy(pairs, row, sizeof pairs);
    for (int i = 0; i < DWORDS; i++) {
        bits[0][i] = pairs[i] << 16;
        bits[1][i] = pairs[i] & 0xffff0000U;
    }
    memcpy(values, bits, sizeof bits);
    for (int i = 0; i < DWORDS; i++) {
        values[0][i] = flushed(values[0][i]);
        values[1][i] = flushed(values[1][i]);
    }
}

/* Even and odd k have a sum each, by fused multiply-adds from zero; their sum is added to the tile's. */
void kern_emulated_dot_bf16(int sum_number, int a_number, int b_number)
{
    struct tile *sum = configured(sum_number);
    const struct tile *a = configured(a_number), *b = configured(b_number);
    float weights[KERN_TILE_ROWS][2][DWORDS];
    expect_fit(sum, a, b);
    for (int k = 0; k < b->rows; k++)
        widen(b->data[k], weights[k]);
    for (int row = 0; row < sum->rows; row++) {
        float sums[DWORDS], x[2][DWORDS], parts[2][DWORDS] = {{0}};
        memcpy(sums, sum->data[row], sizeof sums);
        widen(a->data[row], x);
        for (int k = 0; k < b->rows; k++)
            for (int column = 0; column < DWORDS; column++) {
                parts[0][column] = flushed(fmaf(x[0][k], weights[k][0][column], parts[0][column]));
                parts[1][column] = flushed(fmaf(x[1][k], weights[k][1][column], parts[1][column]));
            }
        for (int column = 0; column < DWORDS; column++)
            sums[column] =
                flushed(flushed(sums[column]) + flushed(parts[0][column] + parts[1][column]));
        memcpy(sum->data[row], sums, sizeof sums);
    }
    zero_rest(sum);
}

/* amx_pack.c: rows and weights in bf16, hi values alone or hi and lo. */
#include "kernels/bf16_amx.h"
#include "kernels/levels.h"
#include "kernels/transpose_avx512.h"

enum { LANES = 16, PAIR = 2 * LANES, BYTES = 64 };

static void round_rows(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                       long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++) {
        const float *x = rows->f32 + m * rows->stride;
        uint16_t *hi = rows->bf16 + m * rows->bf16_stride;
        uint16_t *lo = rows->bf16_low ? rows->bf16_low + m * rows->bf16_stride : NULL;
        uint16_t *last = rows->bf16_last ? rows->bf16_last + m * rows->bf16_stride : NULL;
        for (long i = 0; i < width; i += PAIR) {
            const struct kern_values32 v = kern_load32(x + i, width - i);
            const __m512i high = kern_round32(v);
            _mm512_storeu_si512(hi + i, high);
            if (!lo)
                continue;
            const struct kern_values32 rest = kern_rest32(v, high);
            const __m512i low = kern_round32(rest);
            _mm512_storeu_si512(lo + i, low);
            if (last)
                _mm512_storeu_si512(last + i, kern_round_rest32(rest, low));
        }
    }
}

/* A transposed block: past the cache where that can be. */
static inline void store_block(char *out, __m512i row[LANES])
{
    const int stream = (uintptr_t)out % BYTES == 0;
    kern_transpose16(row);
#pragma GCC unroll 16
    for (int j = 0; j < LANES; j++) {
        if (stream)
            _mm512_stream_si512((__m512i *)(void *)(out + j * BYTES), row[j]);
        else
            _mm512_storeu_si512(out + j * BYTES, row[j]);
    }
}

/* Two k of a column are one 32-bit word, so a block of 32 k is a 16 by 16 transpose of words. */
static inline void pack_planes(char *hi, char *lo, const float *const rows[KERN_PANEL], long k)
{
    for (long i = 0; i < k; i += PAIR, hi += LANES * BYTES) {
        __m512i high[LANES], low[LANES];
        for (int j = 0; j < LANES; j++) {
            struct kern_values32 v = {_mm512_setzero_ps(), _mm512_setzero_ps()};
            if (rows[j])
                v = kern_load32(rows[j] + i, k - i);
            high[j] = kern_round32(v);
            low[j] = kern_round_rest32(v, high[j]);
        }
        store_block(hi, high);
        if (lo) {
            store_block(lo, low);
            lo += LANES * BYTES;
        }
    }
    _mm_sfence();
}

static size_t plane_bytes(long k)
{
    return (size_t)kern_round_up(k, KERN_BF16_ALIGN) * KERN_PANEL * sizeof(uint16_t);
}

static size_t split_panel_bytes(long k)
{
    return 2 * plane_bytes(k);
}

static void pack_bf16(void *panel, const float *const rows[KERN_PANEL], long k)
{
    pack_planes(panel, NULL, rows, k);
}

static void pack_split(void *panel, const float *const rows[KERN_PANEL], long k)
{
    pack_planes(panel, (char *)panel + plane_bytes(k), rows, k);
}

void kern_overlay_pack_amx(struct kern_table *table)
{
    table->prepare[KERN_BF16] = round_rows;
    table->prepare[KERN_SPLIT_BF16] = round_rows;
    table->panel_bytes[KERN_BF16] = plane_bytes;
    table->panel_bytes[KERN_SPLIT_BF16] = split_panel_bytes;
    table->pack_floats[KERN_BF16] = pack_bf16;
    table->pack_floats[KERN_SPLIT_BF16] = pack_split;
}

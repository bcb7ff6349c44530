/* amx_pack.c: rows and weights in bf16, hi values alone or hi and lo, with AVX-512 BF16, which every CPU with AMX has.
 * Its conversion is the rounding that kernels.h specifies. */
#include "kernels/levels.h"
#include "kernels/math_avx512.h"
#include "kernels/transpose_avx512.h"

#include <math.h>

enum { LANES = 16, PAIR = 2 * LANES, BYTES = 64 };

/* 32 neighbouring values. */
struct values {
    __m512 first, second;
};

/* The first `count` of 32 floats, and zeros. */
static inline struct values load_values(const float *x, long count)
{
    if (count >= PAIR)
        return (struct values){_mm512_loadu_ps(x), _mm512_loadu_ps(x + LANES)};
    const __mmask16 first = kern_mask16(count < LANES ? count : LANES);
    const __mmask16 second = kern_mask16(count < LANES ? 0 : count - LANES);
    return (struct values){_mm512_maskz_loadu_ps(first, x),
                           _mm512_maskz_loadu_ps(second, x + LANES)};
}

static inline __m512i rounded(struct values x)
{
    return (__m512i)_mm512_cvtne2ps_pbh(x.second, x.first);
}

/* 16 floats less what they were rounded to; 0 where that is not finite. */
static inline __m512 less(__m512 x, __m256i bf16)
{
    const __m512 value = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
    const __mmask16 finite =
        _mm512_cmp_ps_mask(_mm512_abs_ps(value), _mm512_set1_ps(INFINITY), _CMP_LT_OQ);
    return _mm512_maskz_sub_ps(finite, x, value);
}

static inline __m512i rounded_rest(struct values x, __m512i hi)
{
    const struct values left = {less(x.first, _mm512_castsi512_si256(hi)),
                                less(x.second, _mm512_extracti64x4_epi64(hi, 1))};
    return rounded(left);
}

static void round_rows(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                       long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++) {
        const float *x = rows->f32 + m * rows->stride;
        uint16_t *hi = rows->bf16 + m * rows->bf16_stride;
        uint16_t *lo = rows->bf16_low ? rows->bf16_low + m * rows->bf16_stride : NULL;
        for (long i = 0; i < width; i += PAIR) {
            const struct values v = load_values(x + i, width - i);
            const __m512i high = rounded(v);
            _mm512_storeu_si512(hi + i, high);
            if (lo)
                _mm512_storeu_si512(lo + i, rounded_rest(v, high));
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
            struct values v = {_mm512_setzero_ps(), _mm512_setzero_ps()};
            if (rows[j])
                v = load_values(rows[j] + i, k - i);
            high[j] = rounded(v);
            low[j] = rounded_rest(v, high[j]);
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

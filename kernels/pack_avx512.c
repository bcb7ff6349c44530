/* pack_avx512.c: packing weights, quantising them, and conversions to float, with AVX-512. Loading a model is these, so
 * panels go past the cache where they are aligned: they are far larger than it. */
#include "kernels/levels.h"
#include "kernels/math_avx512.h"
#include "kernels/transpose_avx512.h"

#include <string.h>

enum { LANES = 16, BYTES = 64 };

static inline void store_block(char *out, const __m512i row[LANES], int stream)
{
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        if (stream)
            _mm512_stream_si512((__m512i *)(void *)(out + i * BYTES), row[i]);
        else
            _mm512_storeu_si512(out + i * BYTES, row[i]);
    }
}

static int is_aligned(const void *at)
{
    return (uintptr_t)at % BYTES == 0;
}

static void pack_f32(void *panel, const float *const rows[KERN_PANEL], long k)
{
    const int stream = is_aligned(panel);
    int whole = 1;
    for (int j = 0; j < KERN_PANEL; j++)
        whole = whole && rows[j];
    char *out = panel;
    long i = 0;
    for (; whole && i + LANES <= k; i += LANES) {
        __m512i row[LANES];
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++)
            row[j] = _mm512_loadu_si512(rows[j] + i);
        kern_transpose16(row);
        store_block(out + i * BYTES, row, stream);
    }
    for (; i < k; i += LANES) {
        const long depth = k - i < LANES ? k - i : LANES;
        __m512i row[LANES];
        for (int j = 0; j < LANES; j++)
            row[j] = rows[j] ? _mm512_maskz_loadu_epi32(kern_mask16(depth), rows[j] + i)
                             : _mm512_setzero_si512();
        kern_transpose16(row);
        memcpy(out + i * BYTES, row, (size_t)depth * BYTES);
    }
    _mm_sfence();
}

/* Four k of a column are one 32-bit word, so a block of 64 k is a 16 by 16 transpose of words. */
void kern_pack_int8_avx512(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL],
                           long k)
{
    const int stream = is_aligned(panel);
    const __m512i ones8 = _mm512_set1_epi8(1);
    const __m512i ones16 = _mm512_set1_epi16(1);
    __m512i sum = _mm512_setzero_si512();
    for (long i = 0; i < k; i += BYTES) {
        const __mmask64 mask = k - i < BYTES ? ((__mmask64)1 << (k - i)) - 1 : ~(__mmask64)0;
        __m512i row[LANES];
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++)
            row[j] = rows[j] ? _mm512_maskz_loadu_epi8(mask, rows[j] + i) : _mm512_setzero_si512();
        kern_transpose16(row);
        store_block((char *)panel + i * KERN_PANEL, row, stream);
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) {
            const __m512i pairs = _mm512_maddubs_epi16(ones8, row[j]);
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, ones16));
        }
    }
    _mm512_storeu_si512(column_sum, sum);
    _mm_sfence();
}

static float greatest_magnitude(const float *w, long k)
{
    __m512 even = _mm512_setzero_ps();
    __m512 odd = _mm512_setzero_ps();
    long i = 0;
    for (; i + 2 * LANES <= k; i += 2 * LANES) {
        even = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(w + i)), even);
        odd = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(w + i + LANES)), odd);
    }
    for (; i < k; i += LANES) {
        const __mmask16 mask = kern_mask16(k - i < LANES ? k - i : LANES);
        even = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(mask, w + i)), even);
    }
    return _mm512_reduce_max_ps(_mm512_max_ps(even, odd));
}

static float quantise_weights(int8_t *q, const float *w, long k)
{
    const float scale = greatest_magnitude(w, k) / 127.0f;
    if (scale == 0.0f) {
        memset(q, 0, (size_t)k);
        return scale;
    }
    for (long i = 0; i < k; i += LANES) {
        const __mmask16 mask = kern_mask16(k - i < LANES ? k - i : LANES);
        __m512 t = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, w + i), _mm512_set1_ps(scale));
        const __mmask16 number = _mm512_cmp_ps_mask(t, t, _CMP_ORD_Q);
        t = _mm512_min_ps(t, _mm512_set1_ps(127.0f));
        t = _mm512_max_ps(t, _mm512_set1_ps(-127.0f));
        const __m512i rounded = _mm512_maskz_cvtps_epi32(number, t);
        _mm512_mask_cvtepi32_storeu_epi8(q + i, mask, rounded);
    }
    return scale;
}

static void f16_to_f32(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i += LANES) {
        const __mmask16 mask = kern_mask16(n - i < LANES ? n - i : LANES);
        const __m256i half = _mm256_maskz_loadu_epi16(mask, in + i);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(half));
    }
}

static void bf16_to_f32(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i += LANES) {
        const __mmask16 mask = kern_mask16(n - i < LANES ? n - i : LANES);
        const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, in + i));
        _mm512_mask_storeu_epi32(out + i, mask, _mm512_slli_epi32(wide, 16));
    }
}

static void s8_to_f32(float *out, const int8_t *in, float scale, long n)
{
    for (long i = 0; i < n; i += LANES) {
        const __mmask16 mask = kern_mask16(n - i < LANES ? n - i : LANES);
        const __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, in + i));
        _mm512_mask_storeu_ps(out + i, mask,
                              _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_cvtepi32_ps(wide)));
    }
}

void kern_overlay_pack_avx512(struct kern_table *table)
{
    table->pack_floats[KERN_F32] = pack_f32;
    table->quantise_weights = quantise_weights;
    table->f16_to_f32 = f16_to_f32;
    table->bf16_to_f32 = bf16_to_f32;
    table->s8_to_f32 = s8_to_f32;
}

/* pack_avx2.c: packing weights, quantising them, and conversions to float, with AVX2 and F16C. Loading a model is these, so
 * panels go past the cache where they are aligned: they are far larger than it. */
#include "kernels/levels.h"
#include "kernels/math_avx2.h"
#include "kernels/transpose_avx2.h"

#include <math.h>
#include <string.h>

enum { LANES = 8, BYTES = 32, LINE = 64 };

/* Rows of 32 bytes into lines of 64. */
static inline void store_half(char *out, const __m256i row[LANES], long rows, int stream)
{
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++) {
        if (i >= rows)
            break;
        if (stream)
            _mm256_stream_si256((__m256i *)(void *)(out + i * LINE), row[i]);
        else
            _mm256_storeu_si256((__m256i *)(void *)(out + i * LINE), row[i]);
    }
}

static int is_aligned(const void *at)
{
    return (uintptr_t)at % BYTES == 0;
}

static void pack_f32(void *panel, const float *const rows[KERN_PANEL], long k)
{
    const int stream = is_aligned(panel);
    for (long i = 0; i < k; i += LANES) {
        const long depth = k - i < LANES ? k - i : LANES;
        for (int half = 0; half < 2; half++) {
            const float *const *from = rows + half * LANES;
            __m256i row[LANES];
#pragma GCC unroll 8
            for (int j = 0; j < LANES; j++) {
                const int *w = (const int *)(const void *)from[j];
                row[j] = !w ? _mm256_setzero_si256()
                         : depth == LANES
                             ? _mm256_loadu_si256((const __m256i *)(const void *)(w + i))
                             : _mm256_maskload_epi32(w + i, kern_mask8(depth));
            }
            kern_transpose8(row);
            store_half((char *)panel + i * LINE + half * BYTES, row, depth, stream);
        }
    }
    _mm_sfence();
}

/* 32 weights of a row from k on, zeros beyond its end. */
static inline __m256i load_weights(const int8_t *row, long at, long k)
{
    int8_t tail[BYTES] = {0};
    if (!row || at >= k)
        return _mm256_setzero_si256();
    if (at + BYTES <= k)
        return _mm256_loadu_si256((const __m256i *)(const void *)(row + at));
    memcpy(tail, row + at, (size_t)(k - at));
    return _mm256_loadu_si256((const __m256i *)(const void *)tail);
}

/* Four k of a column are one 32-bit word, so a block of 32 k of 8 columns is an 8 by 8 transpose of words. */
static void pack_int7(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL],
                      long k)
{
    const int stream = is_aligned(panel);
    const __m256i ones8 = _mm256_set1_epi8(1);
    const __m256i ones16 = _mm256_set1_epi16(1);
    __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (long i = 0; i < kern_round_up(k, KERN_Q8_ALIGN); i += BYTES) {
        if (i % KERN_INT7_BLOCK == 0)
            sum[0] = sum[1] = _mm256_setzero_si256();
        for (int half = 0; half < 2; half++) {
            __m256i row[LANES];
#pragma GCC unroll 8
            for (int j = 0; j < LANES; j++)
                row[j] = load_weights(rows[half * LANES + j], i, k);
            kern_transpose8(row);
            store_half((char *)panel + i * KERN_PANEL + half * BYTES, row, LANES, stream);
#pragma GCC unroll 8
            for (int j = 0; j < LANES; j++) {
                const __m256i pairs = _mm256_maddubs_epi16(ones8, row[j]);
                sum[half] = _mm256_add_epi32(sum[half], _mm256_madd_epi16(pairs, ones16));
            }
            int32_t *to = column_sum + i / KERN_INT7_BLOCK * KERN_PANEL + half * LANES;
            _mm256_storeu_si256((__m256i *)(void *)to, sum[half]);
        }
    }
    _mm_sfence();
}

/* Sums in 16 bits of the positive or, by magnitude, the negative of 32 weights: in lanes 0 and 1 of each half, those of a
 * group of 16 k. */
static inline __m256i lane_sums(__m256i magnitudes)
{
    const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_set1_epi8(1));
    const __m256i eights = _mm256_add_epi16(pairs, _mm256_srli_epi64(pairs, 32));
    return _mm256_add_epi16(eights, _mm256_bsrli_epi128(eights, 8));
}

/* The largest sum of a lane. */
static int worst_lane(const int8_t *q, long k)
{
    const __m256i lanes = _mm256_setr_epi32(-1, 0, 0, 0, -1, 0, 0, 0),
                  zero = _mm256_setzero_si256();
    __m256i worst = zero;
    for (long i = 0; i < k; i += BYTES) {
        const __m256i w = load_weights(q, i, k);
        const __m256i above = lane_sums(_mm256_max_epi8(w, zero));
        const __m256i below = lane_sums(_mm256_abs_epi8(_mm256_min_epi8(w, zero)));
        worst = _mm256_max_epi16(worst, _mm256_max_epi16(above, below));
    }
    worst = _mm256_and_si256(worst, lanes);
    const __m128i both =
        _mm_max_epi16(_mm256_castsi256_si128(worst), _mm256_extracti128_si256(worst, 1));
    const int first = _mm_extract_epi16(both, 0), second = _mm_extract_epi16(both, 1);
    return first > second ? first : second;
}

/* A column that would have to be scaled down too far is left to the specification. */
static float limit_s8(int8_t *q, long k)
{
    const int worst = worst_lane(q, k);
    if (worst <= KERN_INT7_LANE_MAX)
        return 1.0f;
    const float factor = kern_int7_factor(worst);
    if (factor < KERN_INT7_LEAST_FACTOR)
        return kern_limit_s8_scalar(q, k);
    long i = 0;
    for (; i + LANES <= k; i += LANES) {
        const __m256i wide =
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(q + i)));
        const __m256i scaled =
            _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(wide), _mm256_set1_ps(factor)));
        const __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(scaled), _mm256_extracti128_si256(scaled, 1));
        _mm_storel_epi64((__m128i *)(void *)(q + i), _mm_packs_epi16(words, words));
    }
    for (; i < k; i++)
        q[i] = (int8_t)lrintf((float)q[i] * factor);
    return 1.0f / factor;
}

static float greatest_magnitude(const float *w, long k)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 even = _mm256_setzero_ps();
    __m256 odd = _mm256_setzero_ps();
    long i = 0;
    for (; i + 2 * LANES <= k; i += 2 * LANES) {
        even = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(w + i)), even);
        odd = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(w + i + LANES)), odd);
    }
    for (; i < k; i += LANES) {
        const __m256i mask = kern_mask8(k - i < LANES ? k - i : LANES);
        even = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_maskload_ps(w + i, mask)), even);
    }
    float lane[LANES];
    _mm256_storeu_ps(lane, _mm256_max_ps(even, odd));
    for (int j = 1; j < LANES; j++)
        lane[0] = lane[j] > lane[0] ? lane[j] : lane[0];
    return lane[0];
}

static float quantise_weights(int8_t *q, const float *w, long k)
{
    const float scale = greatest_magnitude(w, k) / 127.0f;
    if (scale == 0.0f) {
        memset(q, 0, (size_t)k);
        return scale;
    }
    for (long i = 0; i < k; i += LANES) {
        const long left = k - i < LANES ? k - i : LANES;
        const __m256 x =
            left == LANES ? _mm256_loadu_ps(w + i) : _mm256_maskload_ps(w + i, kern_mask8(left));
        __m256 t = _mm256_div_ps(x, _mm256_set1_ps(scale));
        t = _mm256_and_ps(t, _mm256_cmp_ps(t, t, _CMP_ORD_Q)); /* a NaN becomes 0 */
        t = _mm256_min_ps(t, _mm256_set1_ps(127.0f));
        t = _mm256_max_ps(t, _mm256_set1_ps(-127.0f));
        const __m256i rounded = _mm256_cvtps_epi32(t);
        const __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
        const __m128i bytes = _mm_packs_epi16(words, words);
        memcpy(q + i, &bytes, (size_t)left);
    }
    return scale;
}

/* 8 values of 16 bits; with fewer left, zeros beyond them. */
static inline __m128i load_halves(const uint16_t *in, long left)
{
    uint16_t tail[LANES] = {0};
    if (left >= LANES)
        return _mm_loadu_si128((const __m128i *)(const void *)in);
    memcpy(tail, in, (size_t)left * sizeof(*in));
    return _mm_loadu_si128((const __m128i *)(const void *)tail);
}

static inline void store_floats(float *out, __m256 x, long left)
{
    if (left >= LANES)
        _mm256_storeu_ps(out, x);
    else
        _mm256_maskstore_ps(out, kern_mask8(left), x);
}

static void f16_to_f32(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i += LANES)
        store_floats(out + i, _mm256_cvtph_ps(load_halves(in + i, n - i)), n - i);
}

static void bf16_to_f32(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i += LANES) {
        const __m256i wide = _mm256_cvtepu16_epi32(load_halves(in + i, n - i));
        store_floats(out + i, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)), n - i);
    }
}

static void s8_to_f32(float *out, const int8_t *in, float scale, long n)
{
    for (long i = 0; i < n; i += LANES) {
        int8_t bytes[LANES] = {0};
        memcpy(bytes, in + i, (size_t)(n - i < LANES ? n - i : LANES));
        const __m128i packed = _mm_loadl_epi64((const __m128i *)(const void *)bytes);
        const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(packed));
        store_floats(out + i, _mm256_mul_ps(_mm256_set1_ps(scale), x), n - i);
    }
}

void kern_overlay_pack_avx2(struct kern_table *table)
{
    table->pack_floats[KERN_F32] = pack_f32;
    table->pack_s8[KERN_INT7] = pack_int7;
    table->limit_s8 = limit_s8;
    table->quantise_weights = quantise_weights;
    table->f16_to_f32 = f16_to_f32;
    table->bf16_to_f32 = bf16_to_f32;
    table->s8_to_f32 = s8_to_f32;
}

/* bf16_avx2.c: rounding rows of activations to bf16 and packing bf16 weights, with AVX2. */
#include "kernels/levels.h"
#include "kernels/math_avx2.h"
#include "kernels/transpose_avx2.h"

#include <math.h>

enum { LANES = 8, BLOCK = 16, LINE = 64, HALF_LINE = 32 };

/* 8 floats to bf16 in 32-bit lanes, bit for bit as kern_bf16_round. */
static inline __m256i rounded(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    sum = _mm256_srli_epi32(sum, 16);
    const __m256i tiny =
        _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), _mm256_setzero_si256());
    const __m256i sign = _mm256_and_si256(upper, _mm256_set1_epi32(0x8000));
    sum = _mm256_blendv_epi8(sum, sign, tiny);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(sum, quiet, nan);
}

/* What rounding x to `high` left over; 0 where that is not finite. */
static inline __m256 rest(__m256 x, __m256i high)
{
    const __m256 value = _mm256_castsi256_ps(_mm256_slli_epi32(high, 16));
    const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value);
    const __m256 finite = _mm256_cmp_ps(magnitude, _mm256_set1_ps(INFINITY), _CMP_LT_OQ);
    return _mm256_and_ps(finite, _mm256_sub_ps(x, value));
}

/* 16 values in 32-bit lanes to 16 bits each, in order. */
static inline __m256i narrowed(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
}

/* 8 floats of which `left` are there, zeros beyond. */
static inline __m256 load_floats(const float *x, long left)
{
    if (left >= LANES)
        return _mm256_loadu_ps(x);
    return left > 0 ? _mm256_maskload_ps(x, kern_mask8(left)) : _mm256_setzero_ps();
}

void kern_round_row_avx2(struct kern_rows *rows, long m, long width)
{
    const float *x = rows->f32 + m * rows->stride;
    uint16_t *high = rows->bf16 + m * rows->bf16_stride;
    uint16_t *low = rows->bf16_low ? rows->bf16_low + m * rows->bf16_stride : NULL;
    uint16_t *last = rows->bf16_last ? rows->bf16_last + m * rows->bf16_stride : NULL;
    for (long i = 0; i < kern_round_up(width, KERN_BF16_ALIGN); i += BLOCK) {
        const __m256 a = load_floats(x + i, width - i);
        const __m256 b = load_floats(x + i + LANES, width - i - LANES);
        const __m256i high_a = rounded(a);
        const __m256i high_b = rounded(b);
        _mm256_storeu_si256((__m256i *)(void *)(high + i), narrowed(high_a, high_b));
        if (!low)
            continue;
        const __m256 rest_a = rest(a, high_a), rest_b = rest(b, high_b);
        const __m256i low_a = rounded(rest_a), low_b = rounded(rest_b);
        _mm256_storeu_si256((__m256i *)(void *)(low + i), narrowed(low_a, low_b));
        if (last)
            _mm256_storeu_si256(
                (__m256i *)(void *)(last + i),
                narrowed(rounded(rest(rest_a, low_a)), rounded(rest(rest_b, low_b))));
    }
}

static void round_rows(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                       long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++)
        kern_round_row_avx2(rows, m, width);
}

/* Two k of a column are one 32-bit word, so a block of 16 k of 8 columns is an 8 by 8 transpose of words. */
static void pack_bf16(void *panel, const float *const rows[KERN_PANEL], long k)
{
    const int stream = (uintptr_t)panel % HALF_LINE == 0;
    for (long i = 0; i < kern_round_up(k, KERN_BF16_ALIGN); i += BLOCK) {
        for (int half = 0; half < 2; half++) {
            __m256i row[LANES];
#pragma GCC unroll 8
            for (int j = 0; j < LANES; j++) {
                const float *w = rows[half * LANES + j];
                row[j] = _mm256_setzero_si256();
                if (w)
                    row[j] = narrowed(rounded(load_floats(w + i, k - i)),
                                      rounded(load_floats(w + i + LANES, k - i - LANES)));
            }
            kern_transpose8(row);
            char *out = (char *)panel + i / 2 * LINE + half * HALF_LINE;
#pragma GCC unroll 8
            for (int j = 0; j < LANES; j++) {
                __m256i *to = (__m256i *)(void *)(out + j * LINE);
                if (stream)
                    _mm256_stream_si256(to, row[j]);
                else
                    _mm256_storeu_si256(to, row[j]);
            }
        }
    }
    _mm_sfence();
}

void kern_overlay_bf16_avx2(struct kern_table *table)
{
    table->gemm[KERN_BF16] = kern_gemm_bf16_avx2;
    table->prepare[KERN_BF16] = round_rows;
    table->prepare[KERN_SPLIT_BF16] = round_rows;
    table->pack_floats[KERN_BF16] = pack_bf16;
}

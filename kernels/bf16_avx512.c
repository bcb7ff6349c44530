/* bf16_avx512.c: rounding rows of activations to bf16 and packing bf16 weights, with AVX-512 BW. */
#include "kernels/levels.h"
#include "kernels/math_avx512.h"
#include "kernels/transpose_avx512.h"

#include <math.h>

enum { LANES = 16, BLOCK = 32, LINE = 64 };

/* What rounding x to `high` left over; 0 where that is not finite. */
static inline __m512 rest(__m512 x, __m256i high)
{
    const __m512 value = kern_widen16(high);
    const __m512 magnitude = _mm512_abs_ps(value);
    const __mmask16 finite = _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(INFINITY), _CMP_LT_OQ);
    return _mm512_maskz_sub_ps(finite, x, value);
}

static inline __mmask16 lanes_left(long left)
{
    return left <= 0 ? 0 : kern_mask16(left < LANES ? left : LANES);
}

static void round_row(struct kern_rows *rows, long m, long width)
{
    const float *x = rows->f32 + m * rows->stride;
    uint16_t *high = rows->bf16 + m * rows->bf16_stride;
    uint16_t *low = rows->bf16_low ? rows->bf16_low + m * rows->bf16_stride : NULL;
    uint16_t *last = rows->bf16_last ? rows->bf16_last + m * rows->bf16_stride : NULL;
    for (long i = 0; i < kern_round_up(width, KERN_BF16_ALIGN); i += LANES) {
        const __m512 v = _mm512_maskz_loadu_ps(lanes_left(width - i), x + i);
        const __m256i h = kern_round16(v);
        _mm256_storeu_si256((__m256i *)(void *)(high + i), h);
        if (!low)
            continue;
        const __m512 left = rest(v, h);
        const __m256i l = kern_round16(left);
        _mm256_storeu_si256((__m256i *)(void *)(low + i), l);
        if (last)
            _mm256_storeu_si256((__m256i *)(void *)(last + i), kern_round16(rest(left, l)));
    }
}

static void round_rows(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                       long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++)
        round_row(rows, m, width);
}

/* Two k of a column are one 32-bit word, so a block of 32 k is a 16 by 16 transpose of words. */
static void pack_bf16(void *panel, const float *const rows[KERN_PANEL], long k)
{
    const int stream = (uintptr_t)panel % LINE == 0;
    for (long i = 0; i < k; i += BLOCK) {
        const __mmask16 left = lanes_left(k - i);
        const __mmask16 right = lanes_left(k - i - LANES);
        __m512i row[LANES];
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) {
            row[j] = _mm512_setzero_si512();
            if (rows[j]) {
                const __m256i a = kern_round16(_mm512_maskz_loadu_ps(left, rows[j] + i));
                const __m256i b = kern_round16(_mm512_maskz_loadu_ps(right, rows[j] + i + LANES));
                row[j] = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
            }
        }
        kern_transpose16(row);
        char *out = (char *)panel + i * KERN_PANEL * (long)sizeof(uint16_t);
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) {
            if (stream)
                _mm512_stream_si512((__m512i *)(void *)(out + j * LINE), row[j]);
            else
                _mm512_storeu_si512(out + j * LINE, row[j]);
        }
    }
    _mm_sfence();
}

void kern_overlay_bf16_avx512(struct kern_table *table)
{
    table->gemm[KERN_BF16] = kern_gemm_bf16_avx512;
    table->prepare[KERN_BF16] = round_rows;
    table->prepare[KERN_SPLIT_BF16] = round_rows;
    table->pack_floats[KERN_BF16] = pack_bf16;
}

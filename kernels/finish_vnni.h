/* finish_vnni.h: what follows the sums of a product, 16 columns at a time, at the levels from VNNI on. */
#ifndef KERNELS_FINISH_VNNI_H
#define KERNELS_FINISH_VNNI_H

#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/math_avx512.h"

/* One vpdpwssd takes zero * column_sum from a sum, exactly: as (zero, 128 zero) . (low, high) of 16 bits each, where
 * low + 128 high = -column_sum. A column sum is at most 127 * 32768, so high has 16 bits, and 128 * 255 < 2^15. vpmulld
 * alone would take twice as long. */
static inline __m512i kern_negative_halves(__m512i column_sum)
{
    const __m512i negative = _mm512_sub_epi32(_mm512_setzero_si512(), column_sum);
    const __m512i low = _mm512_and_si512(negative, _mm512_set1_epi32(127));
    const __m512i high =
        _mm512_and_si512(_mm512_slli_epi32(negative, 9), _mm512_set1_epi32(-65536));
    return _mm512_or_si512(high, low);
}

static inline __m512i kern_zero_halves(int32_t zero)
{
    return _mm512_set1_epi32(zero * (128 * 65536 + 1));
}

#endif

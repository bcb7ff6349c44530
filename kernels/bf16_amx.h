/* bf16_amx.h: 32 floats at a time to bf16 and back, with AVX-512 BF16, which every CPU with AMX has. Its conversion is the
 * rounding that kernels.h specifies. */
#ifndef KERNELS_BF16_AMX_H
#define KERNELS_BF16_AMX_H

#include "kernels/math_avx512.h"

#include <immintrin.h>
#include <math.h>

enum { KERN_LANES16 = 16, KERN_PAIR32 = 32 };

/* 32 neighbouring values. */
struct kern_values32 {
    __m512 first, second;
};

/* The first `count` of 32 floats, 0 or fewer to all, and zeros. */
static inline struct kern_values32 kern_load32(const float *x, long count)
{
    if (count >= KERN_PAIR32)
        return (struct kern_values32){_mm512_loadu_ps(x), _mm512_loadu_ps(x + KERN_LANES16)};
    const long first = count < 0 ? 0 : count < KERN_LANES16 ? count : KERN_LANES16;
    const long second = count < KERN_LANES16 ? 0 : count - KERN_LANES16;
    return (struct kern_values32){_mm512_maskz_loadu_ps(kern_mask16(first), x),
                                  _mm512_maskz_loadu_ps(kern_mask16(second), x + KERN_LANES16)};
}

static inline __m512i kern_round32(struct kern_values32 x)
{
    return (__m512i)_mm512_cvtne2ps_pbh(x.second, x.first);
}

/* 16 floats less what they were rounded to; 0 where that is not finite. */
static inline __m512 kern_rest16(__m512 x, __m256i bf16)
{
    const __m512 value = kern_widen16(bf16);
    const __mmask16 finite =
        _mm512_cmp_ps_mask(_mm512_abs_ps(value), _mm512_set1_ps(INFINITY), _CMP_LT_OQ);
    return _mm512_maskz_sub_ps(finite, x, value);
}

/* What rounding to `high` left of 32 floats. */
static inline struct kern_values32 kern_rest32(struct kern_values32 x, __m512i high)
{
    return (struct kern_values32){kern_rest16(x.first, _mm512_castsi512_si256(high)),
                                  kern_rest16(x.second, _mm512_extracti64x4_epi64(high, 1))};
}

/* The same, rounded in its turn. */
static inline __m512i kern_round_rest32(struct kern_values32 x, __m512i high)
{
    return kern_round32(kern_rest32(x, high));
}

#endif

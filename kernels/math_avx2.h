/* math_avx2.h: functions of 8 floats at a time, in AVX2 and FMA, inlined where they are used.
 *
 * gelu(x) = max(x, 0) - h(|x|), where h(y) = y * (1 - Phi(y)) is smooth, at most 0.17 and
 * below 6.1e-8 from 5.6 on. h is cut into 8 pieces of width 4/5, each a polynomial of degree 6 in t
 * = [0, 1) (interpolation in the piece's Chebyshev nodes; the first piece is exactly 0 at 0), whose
 * coefficients one permutation picks. The last piece is 0, so that the answer is exactly x or 0
 * beyond 5.6. No exponential, no division.
 */
#ifndef KERNELS_MATH_AVX2_H
#define KERNELS_MATH_AVX2_H

#include <immintrin.h>

static const _Alignas(32) float kern_gelu_pieces8[7][8] = {
    {0x0.0p+0f, 0x1.5b1a98p-3f, 0x1.6721ecp-4f, 0x1.425724p-6f, 0x1.2034f4p-9f, 0x1.09ad22p-13f,
     0x1.ff1510p-19f, 0x0.0p+0f},
    {0x1.999866p-2f, -0x1.04d082p-6f, -0x1.91f736p-4f, -0x1.2a84fcp-5f, -0x1.6bf8ecp-8f,
     -0x1.a66d1cp-12f, -0x1.e8bba6p-17f, 0x0.0p+0f},
    {-0x1.055c58p-2f, -0x1.022d60p-3f, 0x1.44d93ap-6f, 0x1.b9b398p-6f, 0x1.9c38d8p-8f,
     0x1.39d074p-11f, 0x1.bc5bccp-16f, 0x0.0p+0f},
    {-0x1.23c4a4p-11f, 0x1.0fd752p-4f, 0x1.6a4a46p-6f, -0x1.0b40cap-7f, -0x1.0bbc40p-8f,
     -0x1.1c37a8p-11f, -0x1.f30a06p-16f, 0x0.0p+0f},
    {0x1.d82992p-6f, -0x1.093832p-15f, -0x1.e6528ep-7f, -0x1.fc71ccp-11f, 0x1.9f41dcp-10f,
     0x1.50298ep-12f, 0x1.6d372ap-16f, 0x0.0p+0f},
    {-0x1.1cc25cp-9f, -0x1.026fd6p-7f, 0x1.99c204p-9f, 0x1.829a68p-10f, -0x1.5d75d4p-12f,
     -0x1.ecfb3ep-14f, -0x1.439f52p-17f, 0x0.0p+0f},
    {-0x1.65fb02p-10f, 0x1.c4dda4p-10f, -0x1.861cb6p-14f, -0x1.67f916p-12f, 0x1.b62754p-16f,
     0x1.5788f8p-16f, 0x1.06206ap-19f, 0x0.0p+0f},
};

/* The first `count` of 8 lanes, count 0..8, as maskload and maskstore take it. */
static inline __m256i kern_mask8(long count)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

/* |error| <= 2.4e-7 absolute over all floats; NaN gives NaN, -inf gives 0. */
static inline __m256 kern_gelu8(__m256 x)
{
    const __m256 y = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
    const __m256 z = _mm256_min_ps(_mm256_mul_ps(y, _mm256_set1_ps(1.25f)), _mm256_set1_ps(7.0f));
    const __m256i piece = _mm256_cvttps_epi32(z);
    const __m256 t = _mm256_sub_ps(z, _mm256_cvtepi32_ps(piece));
    __m256 h = _mm256_permutevar8x32_ps(_mm256_load_ps(kern_gelu_pieces8[6]), piece);
    for (int power = 5; power >= 0; power--) {
        const __m256 c = _mm256_permutevar8x32_ps(_mm256_load_ps(kern_gelu_pieces8[power]), piece);
        h = _mm256_fmadd_ps(h, t, c);
    }
    return _mm256_sub_ps(_mm256_max_ps(_mm256_setzero_ps(), x), h);
}

/* exp(x) for x <= 88: relative error <= 1.2e-7 down to -87.33, 0 below; NaN gives NaN. */
static inline __m256 kern_exp8(__m256 x)
{
    const __m256 lowest = _mm256_set1_ps(-87.33f);
    const __m256 normal = _mm256_cmp_ps(x, lowest, _CMP_NLT_UQ);
    x = _mm256_max_ps(lowest, x);
    /* x = n * log 2 + r, |r| <= log 2 / 2; log 2 in two parts keeps r exact. */
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0f)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
    const __m256i exponent =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_and_ps(normal, _mm256_mul_ps(p, _mm256_castsi256_ps(exponent)));
}

#endif

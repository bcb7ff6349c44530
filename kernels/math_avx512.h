/* math_avx512.h: functions of 16 floats at a time, rounding to bf16 among them, in AVX-512, inlined where they are used.
 *
 * gelu(x) = max(x, 0) - h(|x|), where h(y) = y * (1 - Phi(y)) is smooth, at most 0.17 and
 * below 5.3e-8 from 5.625 on. h is cut into 16 pieces of width 3/8, each a polynomial of degree 5
 * in t = [0, 1) (interpolation in the piece's Chebyshev nodes; the first piece is exactly 0 at 0),
 * whose coefficients one permutation picks. The last piece is 0, so that the answer is exactly x or
 * 0 beyond 5.625. No exponential, no division.
 *
 * What is rounded to bf16 afterwards needs fewer bits: for that there are a GELU and an exponential of about half as many
 * instructions.
 */
#ifndef KERNELS_MATH_AVX512_H
#define KERNELS_MATH_AVX512_H

#include <immintrin.h>

static const _Alignas(64) float kern_gelu_pieces16[6][16] = {
    {0x0.0p+0f, 0x1.0fbddcp-3f, 0x1.5c1980p-3f, 0x1.2c32d4p-3f, 0x1.9a76a4p-4f, 0x1.d2e35cp-5f,
     0x1.c2a49cp-6f, 0x1.74a8f2p-7f, 0x1.09669ap-8f, 0x1.468976p-10f, 0x1.5babb2p-12f,
     0x1.40b680p-14f, 0x1.0083cap-16f, 0x1.63f884p-19f, 0x1.acb2aep-22f, 0x0.0p+0f},
    {0x1.7fffacp-3f, 0x1.494b36p-4f, 0x1.30f8d2p-12f, -0x1.4bf9c8p-5f, -0x1.879538p-5f,
     -0x1.2ed4f6p-5f, -0x1.6baa3ap-6f, -0x1.6532ccp-7f, -0x1.259430p-8f, -0x1.98aad2p-10f,
     -0x1.e523ecp-12f, -0x1.ed5b0cp-14f, -0x1.af14dep-16f, -0x1.445552p-18f, -0x1.a4e2e6p-21f,
     0x0.0p+0f},
    {-0x1.cb8244p-5f, -0x1.8e3c26p-5f, -0x1.f2c6b2p-6f, -0x1.66bd62p-7f, 0x1.29f16ap-9f,
     0x1.e073d6p-8f, 0x1.c00eb4p-8f, 0x1.1edaaep-8f, 0x1.1df864p-9f, 0x1.d03880p-11f,
     0x1.39641ap-12f, 0x1.642f22p-14f, 0x1.57520ep-16f, 0x1.1a0d64p-18f, 0x1.8c63c0p-21f,
     0x0.0p+0f},
    {-0x1.58f112p-15f, 0x1.352f62p-8f, 0x1.c0bbaap-8f, 0x1.798390p-8f, 0x1.89b4dap-9f,
     0x1.1e5908p-11f, -0x1.62aad0p-11f, -0x1.c0702cp-11f, -0x1.3371fap-11f, -0x1.33f5dap-12f,
     -0x1.e7431ap-14f, -0x1.3ab8f0p-15f, -0x1.51d4aep-17f, -0x1.308ea8p-19f, -0x1.d06b26p-22f,
     0x0.0p+0f},
    {0x1.6e9e5cp-10f, 0x1.f5ac08p-11f, 0x1.a9146ap-15f, -0x1.4ab640p-11f, -0x1.86d22ep-11f,
     -0x1.e5968ep-12f, -0x1.1809b8p-13f, 0x1.8dc746p-15f, 0x1.6376b8p-14f, 0x1.f06fc6p-15f,
     0x1.debcaep-16f, 0x1.63f286p-17f, 0x1.aa1846p-19f, 0x1.a3c77ap-21f, 0x1.58d85ap-23f,
     0x0.0p+0f},
    {-0x1.476336p-14f, -0x1.684df4p-13f, -0x1.1afed0p-13f, -0x1.d42a7cp-16f, 0x1.b0c3b0p-15f,
     0x1.0e6a5ap-14f, 0x1.37a964p-15f, 0x1.24367ep-17f, -0x1.2f5c76p-18f, -0x1.95fd8ap-18f,
     -0x1.eca504p-19f, -0x1.a2e3dcp-20f, -0x1.13579cp-21f, -0x1.235e02p-23f, -0x1.fb0dbcp-26f,
     0x0.0p+0f},
};

/* h(a) for the short one: 16 pieces of degree 3 in a itself, piece j being |a - 0.36 j| <= 0.18. The first is exactly 0 at 0,
 * the last everywhere. */
static const _Alignas(64) float kern_gelu_short_pieces16[4][16] = {
    {0x0.0p+0f, -0x1.629c88p-11f, -0x1.8fa022p-8f, 0x1.0d6282p-7f, 0x1.b34c98p-4f, 0x1.3786d2p-2f,
     0x1.04aed8p-1f, 0x1.31764ap-1f, 0x1.0e319cp-1f, 0x1.78d478p-2f, 0x1.a9092ap-3f, 0x1.8a8b90p-4f,
     0x1.312904p-5f, 0x1.8cec38p-7f, 0x1.b520dap-9f, 0x0.0p+0f},
    {0x1.00092cp-1f, 0x1.048c0ep-1f, 0x1.14b43cp-1f, 0x1.fcf668p-2f, 0x1.11243ep-2f,
     -0x1.9af8b6p-4f, -0x1.a7d1e0p-2f, -0x1.0ed78ep-1f, -0x1.d0c43cp-2f, -0x1.307888p-2f,
     -0x1.3fa1bep-3f, -0x1.13c286p-4f, -0x1.8d1aa0p-6f, -0x1.e22c62p-8f, -0x1.f147fcp-10f,
     0x0.0p+0f},
    {-0x1.9af100p-2f, -0x1.c381dcp-2f, -0x1.01a3c6p-1f, -0x1.d68f2ap-2f, -0x1.1d5f32p-2f,
     -0x1.a47b86p-5f, 0x1.bda684p-4f, 0x1.4647bcp-3f, 0x1.0e5902p-3f, 0x1.4b1d1ep-4f,
     0x1.427a02p-5f, 0x1.020da8p-6f, 0x1.597da0p-8f, 0x1.8748b2p-10f, 0x1.79b23cp-12f, 0x0.0p+0f},
    {0x1.757fe0p-6f, 0x1.5ffa66p-4f, 0x1.052144p-3f, 0x1.ce8f98p-4f, 0x1.0c0c8cp-4f, 0x1.2d9bccp-6f,
     -0x1.2323e4p-7f, -0x1.0ab18cp-6f, -0x1.a8e522p-7f, -0x1.e43996p-8f, -0x1.b43b54p-9f,
     -0x1.433356p-10f, -0x1.91d6bcp-12f, -0x1.a82a76p-14f, -0x1.7f03f2p-16f, 0x0.0p+0f},
};

/* The first `count` of 16 lanes, count 0..16. */
static inline __mmask16 kern_mask16(long count)
{
    return (__mmask16)((1u << count) - 1);
}

/* 16 floats to bf16, bit for bit as kern_bf16_round. */
static inline __m256i kern_round16(__m512 x)
{
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    sum = _mm512_srli_epi32(sum, 16);
    const __mmask16 tiny = _mm512_testn_epi32_mask(bits, exponent);
    sum = _mm512_mask_and_epi32(sum, tiny, upper, _mm512_set1_epi32(0x8000));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    sum = _mm512_mask_or_epi32(sum, nan, upper, _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(sum);
}

/* 16 bf16 as floats. */
static inline __m512 kern_widen16(__m256i bf16)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16));
}

/* |error| <= 2.4e-7 absolute over all floats; NaN gives NaN, -inf gives 0. */
static inline __m512 kern_gelu16(__m512 x)
{
    const __m512 z = _mm512_min_ps(_mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(8.0f / 3.0f)),
                                   _mm512_set1_ps(15.0f));
    const __m512i piece = _mm512_cvttps_epi32(z);
    const __m512 t = _mm512_reduce_ps(z, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    __m512 h = _mm512_permutexvar_ps(piece, _mm512_load_ps(kern_gelu_pieces16[5]));
    for (int power = 4; power >= 0; power--) {
        const __m512 c = _mm512_permutexvar_ps(piece, _mm512_load_ps(kern_gelu_pieces16[power]));
        h = _mm512_fmadd_ps(h, t, c);
    }
    return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x), h);
}

/* |error| <= 7e-6 absolute over all floats; NaN gives NaN, -inf gives 0. */
static inline __m512 kern_gelu_short16(__m512 x)
{
    enum { LEAST_MAGNITUDE = 10 /* of the two operands, as a positive number */ };
    const __m512 a = _mm512_range_ps(x, _mm512_set1_ps(5.4f), LEAST_MAGNITUDE);
    /* 2^23 more rounds to a whole number and leaves it in the lowest bits, of which a permutation reads four. */
    const __m512i piece = _mm512_castps_si512(
        _mm512_fmadd_ps(a, _mm512_set1_ps(1.0f / 0.36f), _mm512_set1_ps(0x1p23f)));
    __m512 h = _mm512_permutexvar_ps(piece, _mm512_load_ps(kern_gelu_short_pieces16[3]));
    for (int power = 2; power >= 0; power--) {
        const __m512 c =
            _mm512_permutexvar_ps(piece, _mm512_load_ps(kern_gelu_short_pieces16[power]));
        h = _mm512_fmadd_ps(h, a, c);
    }
    return _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x), h);
}

/* exp(x) for x <= 88: relative error <= 1.2e-7 down to the smallest normal float, denormals and 0
 * below; NaN gives NaN. */
static inline __m512 kern_exp16(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-105.0f), x);
    /* x = n * log 2 + r, |r| <= log 2 / 2; log 2 in two parts keeps r exact. */
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

/* 2^x for x <= 127, 1 at 0: relative error <= 1.1e-4; NaN gives NaN, -inf gives 0. */
static inline __m512 kern_exp2_short16(__m512 x)
{
    const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(0x1.4095eap-4f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.cf7a68p-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.640ea8p-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, x); /* by the power of 2 below x */
}

#endif

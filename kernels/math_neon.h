/* math_neon.h: functions of 4 floats at a time, in NEON, inlined where they are used.
 *
 * gelu(x) = max(x, 0) - h(|x|), where h(y) = y * (1 - Phi(y)) is smooth, at most 0.17 and
 * below 6.1e-8 from 5.6 on. h is cut into 8 pieces of width 4/5, each a polynomial of degree 6 in t
 * = [0, 1) (interpolation in the piece's Chebyshev nodes; the first piece is exactly 0 at 0), whose
 * coefficients one table look-up of bytes picks. The last piece is 0, so that the answer is exactly
 * x or 0 beyond 5.6. No exponential, no division.
 */
#ifndef KERNELS_MATH_NEON_H
#define KERNELS_MATH_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "kernels/inline.h"

enum { KERN_NEON_LANES = 4 };

static const float kern_gelu_pieces4[7][8] = {
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

/* The first of 4 floats, as many as are left; zeros beyond them. */
static inline float32x4_t kern_load4(const float *from, long left)
{
    float part[KERN_NEON_LANES] = {0};
    if (left >= KERN_NEON_LANES)
        return vld1q_f32(from);
    memcpy(part, from, (size_t)left * sizeof(*from));
    return vld1q_f32(part);
}

static inline void kern_store4(float *to, float32x4_t x, long left)
{
    float part[KERN_NEON_LANES];
    if (left >= KERN_NEON_LANES) {
        vst1q_f32(to, x);
        return;
    }
    vst1q_f32(part, x);
    memcpy(to, part, (size_t)left * sizeof(*to));
}

/* |error| <= 2.4e-7 absolute over all floats; NaN gives NaN, -inf gives 0. */
static inline float32x4_t kern_gelu4(float32x4_t x)
{
    const float32x4_t z = vminnmq_f32(vmulq_n_f32(vabsq_f32(x), 1.25f), vdupq_n_f32(7.0f));
    const uint32x4_t piece = vcvtq_u32_f32(z);
    const float32x4_t t = vsubq_f32(z, vcvtq_f32_u32(piece));
    /* Bytes 4 * piece to 4 * piece + 3 of a row of the table. */
    const uint32x4_t bytes = vmlaq_n_u32(vdupq_n_u32(0x03020100), piece, (uint32_t)0x04040404);
    float32x4_t h = vdupq_n_f32(0.0f);
    for (int power = 6; power >= 0; power--) {
        const uint8x16x2_t row =
            vld1q_u8_x2((const uint8_t *)(const void *)kern_gelu_pieces4[power]);
        const float32x4_t c = vreinterpretq_f32_u8(vqtbl2q_u8(row, vreinterpretq_u8_u32(bytes)));
        h = power == 6 ? c : vfmaq_f32(c, h, t);
    }
    return vsubq_f32(vmaxq_f32(vdupq_n_f32(0.0f), x), h);
}

/* exp(x) for x <= 88: relative error <= 1.2e-7 down to -87.33, 0 below; NaN gives NaN. */
static inline float32x4_t kern_exp4(float32x4_t x)
{
    const float32x4_t lowest = vdupq_n_f32(-87.33f);
    const uint32x4_t vanishing = vcltq_f32(x, lowest);
    x = vmaxq_f32(lowest, x);
    /* x = n * log 2 + r, |r| <= log 2 / 2; log 2 in two parts keeps r exact. */
    const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 0x1.715476p+0f));
    float32x4_t r = vfmsq_n_f32(x, n, 0.693359375f);
    r = vfmsq_n_f32(r, n, -2.12194440e-4f);
    float32x4_t p = vdupq_n_f32(1.9875691500e-4f);
    p = vfmaq_f32(vdupq_n_f32(1.3981999507e-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(8.3334519073e-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(4.1665795894e-2f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.6666665459e-1f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(vaddq_f32(r, vdupq_n_f32(1.0f)), p, vmulq_f32(r, r));
    const int32x4_t exponent = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    const float32x4_t result = vmulq_f32(p, vreinterpretq_f32_s32(exponent));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(result), vanishing));
}

/* Transposes a 4 by 4 matrix of 32-bit words. */
ALWAYS_INLINE void kern_transpose4(float32x4_t row[4])
{
    const float64x2_t a = vreinterpretq_f64_f32(vtrn1q_f32(row[0], row[1]));
    const float64x2_t b = vreinterpretq_f64_f32(vtrn2q_f32(row[0], row[1]));
    const float64x2_t c = vreinterpretq_f64_f32(vtrn1q_f32(row[2], row[3]));
    const float64x2_t d = vreinterpretq_f64_f32(vtrn2q_f32(row[2], row[3]));
    row[0] = vreinterpretq_f32_f64(vtrn1q_f64(a, c));
    row[1] = vreinterpretq_f32_f64(vtrn1q_f64(b, d));
    row[2] = vreinterpretq_f32_f64(vtrn2q_f64(a, c));
    row[3] = vreinterpretq_f32_f64(vtrn2q_f64(b, d));
}

#endif

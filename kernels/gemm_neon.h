/* gemm_neon.h: what the products of gemm_neon.c and gemm_dotprod.c share: the end of a tile. */
#ifndef KERNELS_GEMM_NEON_H
#define KERNELS_GEMM_NEON_H

#include <arm_neon.h>

#include "kernels/gemm_walk.h"
#include "kernels/inline.h"
#include "kernels/math_neon.h"

/* Vectors of 4 columns in a panel, and how many bytes of activations one vector holds. */
enum { GEMM_QUARTERS = KERN_PANEL / KERN_NEON_LANES, GEMM_BYTES = 16 };

static inline void gemm_gelu_tile(float *y, long y_stride, int rows, int vectors)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) {
            float *out = y + i * y_stride + KERN_NEON_LANES * v;
            vst1q_f32(out, kern_gelu4(vld1q_f32(out)));
        }
}

/* 16 quantised activations, less 128, which makes them signed: the hardware multiplies values of
 * one sign. */
ALWAYS_INLINE int8x16_t gemm_signed(const char *x)
{
    const uint8x16_t q = vld1q_u8((const uint8_t *)(const void *)x);
    return vreinterpretq_s8_u8(veorq_u8(q, vdupq_n_u8(128)));
}

/* y = (sum - (zero - 128) * column_sum) * x scale * w scale + bias, for one row and 4 columns; the
 * sum is of activations less 128. */
ALWAYS_INLINE void gemm_int8_store(const struct kern_gemm *job, long row, long column,
                                   int32x4_t sum)
{
    const struct kern_weights *w = job->w;
    const int32x4_t exact =
        vmlaq_n_s32(sum, vld1q_s32(w->column_sum + column), 128 - job->x->zero[row]);
    const float32x4_t scaled = vmulq_n_f32(vcvtq_f32_s32(exact), job->x->scale[row]);
    vst1q_f32(job->y + row * job->y_stride + column,
              vfmaq_f32(vld1q_f32(w->bias + column), scaled, vld1q_f32(w->scale + column)));
}

#endif

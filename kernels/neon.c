/* neon.c: what works on rows of activations, with NEON: quantising, normalising, GELU. */
#include "kernels/levels.h"
#include "kernels/math_neon.h"
#include "kernels/quantise.h"

#include <string.h>

enum { LANES = KERN_NEON_LANES, BLOCK = 16 };

/* Least and greatest value met so far, and 0, in each lane. By comparison, so that a NaN of either
 * kind is passed over. */
struct extremes {
    float32x4_t lo, hi;
};

static inline struct extremes no_extremes(void)
{
    return (struct extremes){vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
}

static inline struct extremes extremes_with(struct extremes e, float32x4_t x)
{
    return (struct extremes){vbslq_f32(vcltq_f32(x, e.lo), x, e.lo),
                             vbslq_f32(vcgtq_f32(x, e.hi), x, e.hi)};
}

/* 16 values to bytes. */
static inline uint8x16_t quantised(const float32x4_t x[4], const struct kern_q8_range *range)
{
    uint16x4_t half[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        float32x4_t t = vmulq_n_f32(x[j], range->inverse);
        t = vmaxnmq_f32(t, vdupq_n_f32(range->low)); /* a NaN becomes low */
        t = vminnmq_f32(t, vdupq_n_f32(range->high));
        const int32x4_t q = vaddq_s32(vcvtnq_s32_f32(t), vdupq_n_s32(range->zero));
        half[j] = vmovn_u32(vreinterpretq_u32_s32(q));
    }
    return vcombine_u8(vmovn_u16(vcombine_u16(half[0], half[1])),
                       vmovn_u16(vcombine_u16(half[2], half[3])));
}

static void quantise_row(struct kern_rows *rows, long m, long width, struct extremes e)
{
    const float *x = rows->f32 + m * rows->stride;
    uint8_t *q = rows->q8 + m * rows->q8_stride;
    const struct kern_q8_range range =
        kern_q8_range(vminvq_f32(e.lo), vmaxvq_f32(e.hi), KERN_INT8_MAX);
    rows->scale[m] = range.scale;
    rows->zero[m] = range.zero;
    for (long i = 0; i < width; i += BLOCK) {
        float32x4_t v[4];
        for (int j = 0; j < 4; j++) {
            const long left = width - i - j * LANES;
            v[j] = left > 0 ? kern_load4(x + i + j * LANES, left) : vdupq_n_f32(0.0f);
        }
        vst1q_u8(q + i, quantised(v, &range));
    }
    memset(q + width, 0, (size_t)(kern_round_up(width, KERN_Q8_ALIGN) - width));
}

static void quantise(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                     long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++) {
        const float *x = rows->f32 + m * rows->stride;
        struct extremes even = no_extremes();
        struct extremes odd = no_extremes();
        long i = 0;
        for (; i + 2 * LANES <= width; i += 2 * LANES) {
            even = extremes_with(even, vld1q_f32(x + i));
            odd = extremes_with(odd, vld1q_f32(x + i + LANES));
        }
        for (; i < width; i += LANES)
            even = extremes_with(even, kern_load4(x + i, width - i));
        even.lo = vminq_f32(even.lo, odd.lo);
        even.hi = vmaxq_f32(even.hi, odd.hi);
        quantise_row(rows, m, width, even);
    }
}

static float total(const float32x4_t sum[4])
{
    return vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
}

/* x + residual into y; returns the mean. */
static float add_row(const float *x, const float *residual, float *y, long width)
{
    float32x4_t sum[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f),
                          vdupq_n_f32(0.0f)};
    long i = 0;
    for (; i + BLOCK <= width; i += BLOCK) {
        for (int j = 0; j < 4; j++) {
            float32x4_t v = vld1q_f32(x + i + j * LANES);
            if (residual)
                v = vaddq_f32(v, vld1q_f32(residual + i + j * LANES));
            vst1q_f32(y + i + j * LANES, v);
            sum[j] = vaddq_f32(sum[j], v);
        }
    }
    for (; i < width; i += LANES) {
        float32x4_t v = kern_load4(x + i, width - i);
        if (residual)
            v = vaddq_f32(v, kern_load4(residual + i, width - i));
        kern_store4(y + i, v, width - i);
        sum[0] = vaddq_f32(sum[0], v);
    }
    return total(sum) / (float)width;
}

/* Mean of the squares about the mean. */
static float variance_row(const float *y, float mean, long width)
{
    const float32x4_t centre = vdupq_n_f32(mean);
    float32x4_t sum[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f),
                          vdupq_n_f32(0.0f)};
    long i = 0;
    for (; i + BLOCK <= width; i += BLOCK) {
        for (int j = 0; j < 4; j++) {
            const float32x4_t v = vsubq_f32(vld1q_f32(y + i + j * LANES), centre);
            sum[j] = vfmaq_f32(sum[j], v, v);
        }
    }
    float squares = total(sum);
    for (; i < width; i++)
        squares += (y[i] - mean) * (y[i] - mean);
    return squares / (float)width;
}

/* y = (y - mean) * inverse * gamma + beta; returns the extremes of the row. */
static struct extremes scale_row(const struct kern_norm *job, float *y, float mean, float inverse)
{
    const float32x4_t centre = vdupq_n_f32(mean);
    struct extremes e = no_extremes();
    for (long i = 0; i < job->width; i += LANES) {
        const long left = job->width - i;
        float32x4_t v = vmulq_n_f32(vsubq_f32(kern_load4(y + i, left), centre), inverse);
        v = vfmaq_f32(kern_load4(job->beta + i, left), v, kern_load4(job->gamma + i, left));
        kern_store4(y + i, v, left);
        /* Lanes beyond the row are 0, having a gamma and a beta of 0, or NaN, which counts for nothing. */
        e = extremes_with(e, v);
    }
    return e;
}

static void add_norm(const struct kern_table *table, const struct kern_norm *job)
{
    for (long m = job->m0; m < job->m1; m++) {
        const float *residual =
            job->residual ? job->residual->f32 + m * job->residual->stride : NULL;
        float *y = job->y->f32 + m * job->y->stride;
        const float mean = add_row(job->x + m * job->x_stride, residual, y, job->width);
        const float variance = variance_row(y, mean, job->width);
        const struct extremes e = scale_row(job, y, mean, 1.0f / sqrtf(variance + job->eps));
        if (job->y->q8 && job->y->q8_max == KERN_INT8_MAX)
            quantise_row(job->y, m, job->width, e);
        else if (job->y->q8)
            table->prepare[KERN_INT7](table, job->y, job->width, m, m + 1);
        if (job->y->bf16)
            table->prepare[KERN_BF16](table, job->y, job->width, m, m + 1);
    }
}

void kern_gelu_neon(float *x, long n)
{
    for (long i = 0; i < n; i += LANES)
        kern_store4(x + i, kern_gelu4(kern_load4(x + i, n - i)), n - i);
}

void kern_overlay_neon(struct kern_table *table)
{
    table->panel_group = 4;
    table->gemm[KERN_F32] = kern_gemm_f32_neon;
    table->gemm[KERN_INT8] = kern_gemm_int8_neon;
    table->gemm[KERN_F16] = NULL; /* slower by the specification than by KERN_F32 */
    table->gemm[KERN_S8] = NULL;
    table->prepare[KERN_INT8] = quantise;
    table->add_norm = add_norm;
    kern_set_attention(table, kern_attention_neon, kern_attention_scratch_neon);
    table->gelu = kern_gelu_neon;
    kern_overlay_pack_neon(table);
    kern_overlay_bf16_neon(table);
    kern_overlay_scan_neon(table);
}

/* scan_neon.c: a query's products with rows held as float, half precision or s8, with NEON.
 *
 * A row is summed in four chains of 4 lanes, which are added up in one order at its end. What takes
 * the time is reading the rows, so one at a time is enough. */
#include <string.h>

#include "kernels/math_neon.h"
#include "kernels/scan_rows.h"

enum { LANES = KERN_NEON_LANES, CHAINS = 4, BLOCK = LANES * CHAINS };

/* 16 values of a row as floats. */
ALWAYS_INLINE void load16(const char *row, float32x4_t value[CHAINS], const enum kern_scheme held)
{
    if (held == KERN_S8) {
        const int8x16_t bytes = vld1q_s8((const int8_t *)row);
        const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
        value[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
        value[1] = vcvtq_f32_s32(vmovl_high_s16(low));
        value[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
        value[3] = vcvtq_f32_s32(vmovl_high_s16(high));
        return;
    }
    for (int j = 0; j < CHAINS; j++) {
        const void *at = row + (size_t)(j * LANES) * value_bytes(held);
        value[j] =
            held == KERN_F16 ? vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))) : vld1q_f32(at);
    }
}

/* The last `left` values, under 16, and zeros. */
ALWAYS_INLINE void load_last(const char *row, long left, float32x4_t value[CHAINS],
                             const enum kern_scheme held)
{
    _Alignas(float) char part[BLOCK * sizeof(float)] = {0};
    memcpy(part, row, (size_t)left * value_bytes(held));
    load16(part, value, held);
}

ALWAYS_INLINE void scan(const struct kern_scan *job, const enum kern_scheme held)
{
    const size_t size = value_bytes(held);
    const long whole = job->k / BLOCK * BLOCK, left = job->k - whole;
    float last[BLOCK] = {0}; /* of the query */
    memcpy(last, job->query + whole, (size_t)left * sizeof(*last));
    for (long i = 0; i < job->n; i++) {
        const char *row = (const char *)job->rows + (size_t)(i * job->stride) * size;
        float32x4_t value[CHAINS], sum[CHAINS];
        for (int j = 0; j < CHAINS; j++)
            sum[j] = vdupq_n_f32(0.0f);
        for (long c = 0; c < whole; c += BLOCK) {
            load16(row + (size_t)c * size, value, held);
            for (int j = 0; j < CHAINS; j++)
                sum[j] = vfmaq_f32(sum[j], vld1q_f32(job->query + c + j * LANES), value[j]);
        }
        if (left) {
            load_last(row + (size_t)whole * size, left, value, held);
            for (int j = 0; j < CHAINS; j++)
                sum[j] = vfmaq_f32(sum[j], vld1q_f32(last + j * LANES), value[j]);
        }
        const float total =
            vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
        job->out[i] = held == KERN_S8 ? total * job->scale[i] : total;
    }
}

SCAN_OVERLAY(neon)

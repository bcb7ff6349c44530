/* bf16_neon.c: rounding rows of activations to bf16 and packing bf16 weights, with NEON. */
#include "kernels/levels.h"
#include "kernels/math_neon.h"

#include <math.h>

enum { LANES = KERN_NEON_LANES, BLOCK = 2 * LANES, LINE = 64 };

/* 4 floats to bf16, bit for bit as kern_bf16_round. */
static inline uint16x4_t rounded(float32x4_t x)
{
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t upper = vshrq_n_u32(bits, 16);
    const uint32x4_t odd = vandq_u32(upper, vdupq_n_u32(1));
    uint32x4_t sum = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    sum = vshrq_n_u32(sum, 16);
    const uint32x4_t has_exponent = vtstq_u32(bits, vdupq_n_u32(0x7f800000));
    sum = vbslq_u32(has_exponent, sum, vandq_u32(upper, vdupq_n_u32(0x8000)));
    const uint32x4_t quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
    return vmovn_u32(vbslq_u32(vceqq_f32(x, x), sum, quiet));
}

/* What rounding x to `high` left over; 0 where that is not finite. */
static inline float32x4_t rest(float32x4_t x, uint16x4_t high)
{
    const float32x4_t value = vreinterpretq_f32_u32(vshll_n_u16(high, 16));
    const uint32x4_t finite = vcltq_f32(vabsq_f32(value), vdupq_n_f32(INFINITY));
    const uint32x4_t left = vreinterpretq_u32_f32(vsubq_f32(x, value));
    return vreinterpretq_f32_u32(vandq_u32(finite, left));
}

/* 4 floats of which `left` are there, zeros beyond. */
static inline float32x4_t load_floats(const float *x, long left)
{
    return left > 0 ? kern_load4(x, left) : vdupq_n_f32(0.0f);
}

static void round_rows(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                       long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++) {
        const float *x = rows->f32 + m * rows->stride;
        const long at = m * rows->bf16_stride;
        for (long i = 0; i < kern_round_up(width, KERN_BF16_ALIGN); i += LANES) {
            const float32x4_t v = load_floats(x + i, width - i);
            const uint16x4_t high = rounded(v);
            vst1_u16(rows->bf16 + at + i, high);
            if (!rows->bf16_low)
                continue;
            const float32x4_t left = rest(v, high);
            const uint16x4_t low = rounded(left);
            vst1_u16(rows->bf16_low + at + i, low);
            if (rows->bf16_last)
                vst1_u16(rows->bf16_last + at + i, rounded(rest(left, low)));
        }
    }
}

/* Two k of a column are one 32-bit word, so a block of 8 k of 4 columns is a 4 by 4 transpose of words. */
static void pack_bf16(void *panel, const float *const rows[KERN_PANEL], long k)
{
    char *out = panel;
    for (long i = 0; i < kern_round_up(k, KERN_BF16_ALIGN); i += BLOCK) {
        for (int first = 0; first < KERN_PANEL; first += LANES) {
            float32x4_t row[LANES];
#pragma GCC unroll 4
            for (int j = 0; j < LANES; j++) {
                const float *w = rows[first + j];
                row[j] = vdupq_n_f32(0.0f);
                if (w)
                    row[j] = vreinterpretq_f32_u16(
                        vcombine_u16(rounded(load_floats(w + i, k - i)),
                                     rounded(load_floats(w + i + LANES, k - i - LANES))));
            }
            kern_transpose4(row);
#pragma GCC unroll 4
            for (int j = 0; j < LANES; j++)
                vst1q_u8((uint8_t *)out + (i / 2 + j) * LINE + (long)first * LANES,
                         vreinterpretq_u8_f32(row[j]));
        }
    }
}

void kern_overlay_bf16_neon(struct kern_table *table)
{
    table->gemm[KERN_BF16] = kern_gemm_bf16_neon;
    table->prepare[KERN_BF16] = round_rows;
    table->prepare[KERN_SPLIT_BF16] = round_rows;
    table->pack_floats[KERN_BF16] = pack_bf16;
}

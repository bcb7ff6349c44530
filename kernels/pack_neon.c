/* pack_neon.c: packing weights, quantising them, and conversions to float, with NEON. */
#include "kernels/levels.h"
#include "kernels/math_neon.h"

enum { LANES = KERN_NEON_LANES, BYTES = 16, LINE = 64 };

static void pack_f32(void *panel, const float *const rows[KERN_PANEL], long k)
{
    float *out = panel;
    for (long i = 0; i < k; i += LANES) {
        const long depth = k - i < LANES ? k - i : LANES;
        for (int first = 0; first < KERN_PANEL; first += LANES) {
            float32x4_t row[LANES];
#pragma GCC unroll 4
            for (int j = 0; j < LANES; j++) {
                const float *w = rows[first + j];
                row[j] = w ? kern_load4(w + i, depth) : vdupq_n_f32(0.0f);
            }
            kern_transpose4(row);
#pragma GCC unroll 4
            for (int j = 0; j < LANES; j++) {
                if (j < depth)
                    vst1q_f32(out + (i + j) * KERN_PANEL + first, row[j]);
            }
        }
    }
}

/* 16 weights of a row from k on, zeros beyond its end. */
static inline int8x16_t load_weights(const int8_t *row, long at, long k)
{
    int8_t tail[BYTES] = {0};
    if (!row || at >= k)
        return vdupq_n_s8(0);
    if (at + BYTES <= k)
        return vld1q_s8(row + at);
    memcpy(tail, row + at, (size_t)(k - at));
    return vld1q_s8(tail);
}

/* Four k of a column are one 32-bit word, so a block of 16 k of 4 columns is a 4 by 4 transpose of words. */
static void pack_s8(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL], long k)
{
    char *out = panel;
    memset(column_sum, 0, KERN_PANEL * sizeof(*column_sum));
    for (long i = 0; i < kern_round_up(k, KERN_Q8_ALIGN); i += BYTES) {
        for (int first = 0; first < KERN_PANEL; first += LANES) {
            float32x4_t row[LANES];
#pragma GCC unroll 4
            for (int j = 0; j < LANES; j++) {
                const int8x16_t w = load_weights(rows[first + j], i, k);
                column_sum[first + j] += vaddlvq_s8(w);
                row[j] = vreinterpretq_f32_s8(w);
            }
            kern_transpose4(row);
#pragma GCC unroll 4
            for (int j = 0; j < LANES; j++)
                vst1q_s8((int8_t *)out + i * KERN_PANEL + j * LINE + first * (BYTES / LANES),
                         vreinterpretq_s8_f32(row[j]));
        }
    }
}

/* By comparison, so that a NaN of either kind counts for nothing. */
static float greatest_magnitude(const float *w, long k)
{
    float32x4_t highest = vdupq_n_f32(0.0f);
    for (long i = 0; i < k; i += LANES) {
        const float32x4_t x = vabsq_f32(kern_load4(w + i, k - i));
        highest = vbslq_f32(vcgtq_f32(x, highest), x, highest);
    }
    return vmaxvq_f32(highest);
}

static float quantise_weights(int8_t *q, const float *w, long k)
{
    const float scale = greatest_magnitude(w, k) / 127.0f;
    if (scale == 0.0f) {
        memset(q, 0, (size_t)k);
        return scale;
    }
    for (long i = 0; i < k; i += LANES) {
        const long left = k - i;
        float32x4_t t = vdivq_f32(kern_load4(w + i, left), vdupq_n_f32(scale));
        t = vmaxq_f32(vminq_f32(t, vdupq_n_f32(127.0f)), vdupq_n_f32(-127.0f));
        const int16x4_t words = vmovn_s32(vcvtnq_s32_f32(t)); /* a NaN becomes 0 */
        const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
        memcpy(q + i, &bytes, (size_t)(left < LANES ? left : LANES));
    }
    return scale;
}

/* 4 values of 16 bits; with fewer left, zeros beyond them. */
static inline uint16x4_t load_halves(const uint16_t *in, long left)
{
    uint16_t tail[LANES] = {0};
    if (left >= LANES)
        return vld1_u16(in);
    memcpy(tail, in, (size_t)left * sizeof(*in));
    return vld1_u16(tail);
}

static void f16_to_f32(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i += LANES) {
        const float16x4_t half = vreinterpret_f16_u16(load_halves(in + i, n - i));
        kern_store4(out + i, vcvt_f32_f16(half), n - i);
    }
}

static void bf16_to_f32(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i += LANES) {
        const uint32x4_t bits = vshll_n_u16(load_halves(in + i, n - i), 16);
        kern_store4(out + i, vreinterpretq_f32_u32(bits), n - i);
    }
}

static void s8_to_f32(float *out, const int8_t *in, float scale, long n)
{
    for (long i = 0; i < n; i += 2 * LANES) {
        const long left = n - i;
        int8_t bytes[2 * LANES] = {0};
        memcpy(bytes, in + i, (size_t)(left < 2 * LANES ? left : 2 * LANES));
        const int16x8_t words = vmovl_s8(vld1_s8(bytes));
        const float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
        kern_store4(out + i, vmulq_n_f32(low, scale), left);
        if (left > LANES)
            kern_store4(out + i + LANES, vmulq_n_f32(vcvtq_f32_s32(vmovl_high_s16(words)), scale),
                        left - LANES);
    }
}

void kern_overlay_pack_neon(struct kern_table *table)
{
    table->pack_floats[KERN_F32] = pack_f32;
    table->pack_s8[KERN_INT8] = pack_s8;
    table->quantise_weights = quantise_weights;
    table->f16_to_f32 = f16_to_f32;
    table->bf16_to_f32 = bf16_to_f32;
    table->s8_to_f32 = s8_to_f32;
}

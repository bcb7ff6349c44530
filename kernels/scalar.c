/* scalar.c: the specification of every entry of the table but the products (scalar_gemm.c). Plain
 * loops, no instruction set, any machine. What must be the same bits on every level says so; the
 * rest is held to the bound it states. */
#include <math.h>
#include <string.h>

#include "kernels/bf16.h"
#include "kernels/levels.h"
#include "kernels/quantise.h"

/* Values that share a scale. A NaN counts for neither end of the range and becomes 0. */
static void quantise_block(const float *x, long width, int q8_max, uint8_t *q, float *scale,
                           int32_t *zero)
{
    float lo = 0.0f;
    float hi = 0.0f;
    for (long i = 0; i < width; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    const struct kern_q8_range range = kern_q8_range(lo, hi, q8_max);
    *scale = range.scale;
    *zero = range.zero;
    for (long i = 0; i < width; i++) {
        /* Clamped before it is rounded: the same answer, and always inside an int. */
        float t = x[i] * range.inverse;
        t = t > range.low ? t : range.low;
        t = t < range.high ? t : range.high;
        q[i] = (uint8_t)((int32_t)lrintf(t) + range.zero);
    }
}

/* Bit-exact on every level. */
static void quantise(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                     long m1)
{
    (void)table;
    const int in_blocks = rows->q8_max == KERN_INT7_MAX;
    const long blocks = in_blocks ? kern_int7_blocks(width) : 1;
    const long length = in_blocks ? KERN_INT7_BLOCK : width;
    for (long m = m0; m < m1; m++) {
        const float *x = rows->f32 + m * rows->stride;
        uint8_t *q = rows->q8 + m * rows->q8_stride;
        for (long b = 0; b < blocks; b++) {
            const long from = b * length, at = m * rows->scale_stride + b;
            const long left = width - from < length ? width - from : length;
            quantise_block(x + from, left, rows->q8_max, q + from, rows->scale + at,
                           rows->zero + at);
        }
        memset(q + width, 0, (size_t)(kern_round_up(width, KERN_Q8_ALIGN) - width));
    }
}

/* Bit-exact on every level. */
static void round_rows(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                       long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++) {
        const float *x = rows->f32 + m * rows->stride;
        for (long i = 0; i < kern_round_up(width, KERN_BF16_ALIGN); i++) {
            const long at = m * rows->bf16_stride + i;
            rows->bf16[at] = i < width ? kern_bf16_round(x[i]) : 0;
            if (rows->bf16_low)
                rows->bf16_low[at] = i < width ? kern_bf16_rest(x[i]) : 0;
            if (rows->bf16_last)
                rows->bf16_last[at] = i < width ? kern_bf16_last(x[i]) : 0;
        }
    }
}

/* The mean first, then the variance about it, both in double here. Every level keeps
 *   |error| <= 2^-24 * (width + 8) * max |x + residual| / sd * |gamma| + 2^-23 * (|y| + |beta|), sd
 * = sqrt(variance + eps). */
static void add_norm(const struct kern_table *table, const struct kern_norm *job)
{
    for (long m = job->m0; m < job->m1; m++) {
        const float *x = job->x + m * job->x_stride;
        const float *residual =
            job->residual ? job->residual->f32 + m * job->residual->stride : NULL;
        float *y = job->y->f32 + m * job->y->stride;
        double sum = 0.0;
        for (long i = 0; i < job->width; i++) {
            y[i] = residual ? x[i] + residual[i] : x[i];
            sum += (double)y[i];
        }
        const double mean = sum / (double)job->width;
        double squares = 0.0;
        for (long i = 0; i < job->width; i++)
            squares += ((double)y[i] - mean) * ((double)y[i] - mean);
        const double inverse = 1.0 / sqrt(squares / (double)job->width + (double)job->eps);
        for (long i = 0; i < job->width; i++)
            y[i] = (float)(((double)y[i] - mean) * inverse) * job->gamma[i] + job->beta[i];
    }
    if (job->y->q8)
        table->prepare[KERN_INT8](table, job->y, job->width, job->m0, job->m1);
    if (job->y->bf16)
        table->prepare[KERN_BF16](table, job->y, job->width, job->m0, job->m1);
}

static size_t attention_scratch(long tokens, long dim)
{
    (void)dim;
    return (size_t)tokens * sizeof(float);
}

/* Scores, softmax about their maximum, then the mean of the values. The bits of one query's answer
 * depend on no other query. Scores keep |error| <= dim * 2^-24 * sum |q||k|, exp a relative 2e-7,
 * sums as many roundings as they have terms. */
static void attention(const struct kern_attention *job)
{
    float *score = job->scratch;
    for (long i = job->q0; i < job->q1; i++) {
        const float *q = job->q + i * job->stride;
        float *out = job->out + i * job->out_stride;
        float highest = -INFINITY;
        for (long t = 0; t < job->tokens; t++) {
            const float *k = job->k + t * job->stride;
            float dot = 0.0f;
            for (long d = 0; d < job->dim; d++)
                dot += q[d] * k[d];
            score[t] = dot * job->scale;
            highest = score[t] > highest ? score[t] : highest;
        }
        float sum = 0.0f;
        for (long t = 0; t < job->tokens; t++) {
            score[t] = expf(score[t] - highest);
            sum += score[t];
        }
        for (long d = 0; d < job->dim; d++)
            out[d] = 0.0f;
        for (long t = 0; t < job->tokens; t++) {
            const float *v = job->v + t * job->stride;
            for (long d = 0; d < job->dim; d++)
                out[d] += score[t] * v[d];
        }
        for (long d = 0; d < job->dim; d++)
            out[d] *= 1.0f / sum;
    }
}

/* x * Phi(x) as max(x, 0) - y * (1 - Phi(y)), y = |x|: the second term is small, so is its error.
 * Beyond 20 it is 0. */
void kern_gelu_scalar(float *x, long n)
{
    for (long i = 0; i < n; i++) {
        const float y = fminf(fabsf(x[i]), 20.0f);
        x[i] = (x[i] < 0.0f ? 0.0f : x[i]) - y * 0.5f * erfcf(y * 0.707106781f);
    }
}

static size_t panel_bytes_f32(long k)
{
    return (size_t)k * KERN_PANEL * sizeof(float);
}

static size_t panel_bytes_f16(long k)
{
    return (size_t)k * KERN_PANEL * sizeof(uint16_t);
}

static size_t panel_bytes_s8(long k)
{
    return (size_t)k * KERN_PANEL;
}

static size_t panel_bytes_int8(long k)
{
    return (size_t)kern_round_up(k, KERN_Q8_ALIGN) * KERN_PANEL;
}

static size_t panel_bytes_bf16(long k)
{
    return (size_t)kern_round_up(k, KERN_BF16_ALIGN) * KERN_PANEL * sizeof(uint16_t);
}

static void pack_f32(void *panel, const float *const rows[KERN_PANEL], long k)
{
    float *out = panel;
    for (long i = 0; i < k; i++) {
        for (long j = 0; j < KERN_PANEL; j++)
            out[i * KERN_PANEL + j] = rows[j] ? rows[j][i] : 0.0f;
    }
}

static void pack_bf16(void *panel, const float *const rows[KERN_PANEL], long k)
{
    uint16_t *out = panel;
    for (long i = 0; i < kern_round_up(k, KERN_BF16_ALIGN); i++) {
        for (long j = 0; j < KERN_PANEL; j++)
            out[(i / 2 * KERN_PANEL + j) * 2 + i % 2] =
                rows[j] && i < k ? kern_bf16_round(rows[j][i]) : 0;
    }
}

static void pack_f16(void *panel, const uint16_t *const rows[KERN_PANEL], long k)
{
    uint16_t *out = panel;
    for (long i = 0; i < k; i++) {
        for (long j = 0; j < KERN_PANEL; j++)
            out[i * KERN_PANEL + j] = rows[j] ? rows[j][i] : 0;
    }
}

static void pack_s8(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL], long k)
{
    (void)column_sum;
    int8_t *out = panel;
    for (long i = 0; i < k; i++) {
        for (long j = 0; j < KERN_PANEL; j++)
            out[i * KERN_PANEL + j] = rows[j] ? rows[j][i] : 0;
    }
}

static void pack_blocks(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL],
                        long k, long block)
{
    int8_t *out = panel;
    for (long i = 0; i < kern_round_up(k, KERN_Q8_ALIGN); i++) {
        int32_t *sum = column_sum + i / block * KERN_PANEL;
        if (i % block == 0)
            memset(sum, 0, KERN_PANEL * sizeof(*sum));
        for (long j = 0; j < KERN_PANEL; j++) {
            const int8_t w = rows[j] && i < k ? rows[j][i] : 0;
            out[(i / 4 * KERN_PANEL + j) * 4 + i % 4] = w;
            sum[j] += w;
        }
    }
}

static void pack_int8(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL],
                      long k)
{
    pack_blocks(panel, column_sum, rows, k, kern_round_up(k, KERN_Q8_ALIGN));
}

static void pack_int7(void *panel, int32_t *column_sum, const int8_t *const rows[KERN_PANEL],
                      long k)
{
    pack_blocks(panel, column_sum, rows, k, KERN_INT7_BLOCK);
}

/* What may not grow past KERN_INT7_LANE_MAX: the sums of the positive and of the negative weights of lane 0 or 1 of
 * KERN_INT7_GROUP k, of which `left` are there. */
static void lane_sums(const int8_t *q, int lane, long left, int sums[2])
{
    sums[0] = sums[1] = 0;
    for (int i = 0; i < KERN_INT7_GROUP && i < left; i++)
        if (i / 2 % 2 == lane)
            sums[q[i] < 0] += q[i] < 0 ? -q[i] : q[i];
}

/* Bit-exact on every level. */
float kern_limit_s8_scalar(int8_t *q, long k)
{
    enum { FEW = 32 }; /* one lane in so many is few */
    int worst = KERN_INT7_LANE_MAX, sums[2];
    long lanes = 0, over = 0; /* in spite of KERN_INT7_LEAST_FACTOR */
    for (long i = 0; i < k; i += KERN_INT7_GROUP)
        for (int lane = 0; lane < 2; lane++) {
            lane_sums(q + i, lane, k - i, sums);
            const int larger = sums[0] > sums[1] ? sums[0] : sums[1];
            worst = larger > worst ? larger : worst;
            over += KERN_INT7_LEAST_FACTOR * (float)larger > KERN_INT7_LANE_MAX;
            lanes++;
        }
    if (worst == KERN_INT7_LANE_MAX)
        return 1.0f;
    float factor = kern_int7_factor(worst);
    if (factor < KERN_INT7_LEAST_FACTOR && over * FEW <= lanes)
        factor = KERN_INT7_LEAST_FACTOR;
    for (long i = 0; i < k; i++)
        q[i] = (int8_t)lrintf((float)q[i] * factor);
    for (long i = 0; i < k; i += KERN_INT7_GROUP)
        for (int lane = 0; lane < 2; lane++) {
            lane_sums(q + i, lane, k - i, sums);
            for (int j = 0; j < KERN_INT7_GROUP && j < k - i; j++) {
                const int sum = sums[q[i + j] < 0];
                if (j / 2 % 2 == lane && sum > KERN_INT7_LANE_MAX)
                    q[i + j] = (int8_t)(q[i + j] * KERN_INT7_LANE_MAX / sum);
            }
        }
    return 1.0f / factor;
}

/* Bit-exact on every level, by true divisions. A NaN counts for nothing and becomes 0. */
static float quantise_weights(int8_t *q, const float *w, long k)
{
    float highest = 0.0f;
    for (long i = 0; i < k; i++)
        highest = fabsf(w[i]) > highest ? fabsf(w[i]) : highest;
    const float scale = highest / 127.0f;
    for (long i = 0; i < k; i++) {
        /* Among denormals the scale is coarse, so that the quotient may pass 127. */
        const float t = scale > 0.0f ? w[i] / scale : 0.0f;
        const float below = t < 127.0f ? t : 127.0f;
        q[i] = t == t ? (int8_t)lrintf(below > -127.0f ? below : -127.0f) : 0;
    }
    return scale;
}

/* Conversions to float are exact, so bit-exact on every level; a signalling NaN becomes quiet, as
 * the hardware does. */
void kern_f16_to_f32_scalar(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i++) {
        const uint32_t sign = (uint32_t)(in[i] & 0x8000) << 16;
        const uint32_t exponent = in[i] >> 10 & 31;
        const uint32_t fraction = in[i] & 0x3ff;
        uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
        if (exponent == 31)
            bits = sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0);
        memcpy(&out[i], &bits, sizeof(bits));
        if (exponent == 0) /* zero or denormal: fraction * 2^-24 */
            out[i] = (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
    }
}

static void bf16_to_f32(float *out, const uint16_t *in, long n)
{
    for (long i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)in[i] << 16;
        memcpy(&out[i], &bits, sizeof(bits));
    }
}

static void s8_to_f32(float *out, const int8_t *in, float scale, long n)
{
    for (long i = 0; i < n; i++)
        out[i] = scale * (float)in[i];
}

static void scan_f32(const struct kern_scan *job)
{
    for (long i = 0; i < job->n; i++) {
        const float *row = (const float *)job->rows + i * job->stride;
        float sum = 0.0f;
        for (long c = 0; c < job->k; c++)
            sum += job->query[c] * row[c];
        job->out[i] = sum;
    }
}

static void scan_f16(const struct kern_scan *job)
{
    for (long i = 0; i < job->n; i++) {
        const uint16_t *row = (const uint16_t *)job->rows + i * job->stride;
        float sum = 0.0f;
        for (long c = 0; c < job->k; c++) {
            float value;
            kern_f16_to_f32_scalar(&value, row + c, 1);
            sum += job->query[c] * value;
        }
        job->out[i] = sum;
    }
}

static void scan_s8(const struct kern_scan *job)
{
    for (long i = 0; i < job->n; i++) {
        const int8_t *row = (const int8_t *)job->rows + i * job->stride;
        float sum = 0.0f;
        for (long c = 0; c < job->k; c++)
            sum += job->query[c] * (float)row[c];
        job->out[i] = sum * job->scale[i];
    }
}

void kern_overlay_scalar(struct kern_table *table)
{
    *table = (struct kern_table){
        .level = KERN_SCALAR,
        .fast_int8 = KERN_INT8,
        .panel_group = 1,
        .query_group = 128,
        .gemm = {[KERN_F32] = kern_gemm_f32_scalar,
                 [KERN_BF16] = kern_gemm_bf16_scalar,
                 [KERN_INT8] = kern_gemm_int8_scalar,
                 [KERN_INT7] = kern_gemm_int7_scalar,
                 [KERN_F16] = kern_gemm_f16_scalar,
                 [KERN_S8] = kern_gemm_s8_scalar},
        .prepare = {[KERN_BF16] = round_rows,
                    [KERN_INT8] = quantise,
                    [KERN_INT7] = quantise,
                    [KERN_SPLIT_BF16] = round_rows},
        .add_norm = add_norm,
        .gelu = kern_gelu_scalar,
        .scan = {[KERN_F32] = scan_f32, [KERN_F16] = scan_f16, [KERN_S8] = scan_s8},
        .panel_bytes = {[KERN_F32] = panel_bytes_f32,
                        [KERN_BF16] = panel_bytes_bf16,
                        [KERN_INT8] = panel_bytes_int8,
                        [KERN_INT7] = panel_bytes_int8,
                        [KERN_F16] = panel_bytes_f16,
                        [KERN_S8] = panel_bytes_s8},
        .pack_floats = {[KERN_F32] = pack_f32, [KERN_BF16] = pack_bf16},
        .pack_s8 = {[KERN_INT8] = pack_int8, [KERN_INT7] = pack_int7, [KERN_S8] = pack_s8},
        .pack_f16 = pack_f16,
        .limit_s8 = kern_limit_s8_scalar,
        .quantise_weights = quantise_weights,
        .f16_to_f32 = kern_f16_to_f32_scalar,
        .bf16_to_f32 = bf16_to_f32,
        .s8_to_f32 = s8_to_f32,
    };
    kern_set_attention(table, attention, attention_scratch);
}

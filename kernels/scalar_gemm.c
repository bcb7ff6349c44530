/* scalar_gemm.c: the specification of the products and of their packed layouts. Plain loops.
 *
 * KERN_F32. A panel is (k, 16) float: panel[i][j] is weight i of the panel's column j.
 *     y[row][col] = epilogue(sum over i of x[row][i] * w[col][i] + bias[col])
 * The order of the sum is the level's own, and depends on k alone; |error| <= (k + 1) * 2^-24 *
 * (sum |x||w| + |bias|) before the epilogue.
 *
 * KERN_F16. A panel is (k, 16) half; as KERN_F32, to the bit, on the weights as floats.
 *
 * KERN_S8. A panel is (k, 16) s8.
 *     y[row][col] = epilogue(fmaf(sum over i of x[row][i] * (float)w[col][i], scale[col], bias[col]))
 * |error| <= (k + 2) * 2^-24 * (|scale| * sum |x||w| + |bias|) before the epilogue.
 *
 * KERN_BF16. A panel is (k / 2, 16, 2) bf16, k rounded up to 32 with zeros: panel[i / 2][j][i % 2]; a
 * row of activations is plain bf16, padded alike. As KERN_F32 on the rounded values, whose products
 * are exact in float; the odd k of a pair is added before the even one, as vdpbf16ps does. Sums may
 * be flushed where they are denormal; |error| <= (k + 1) * (2^-24 * (sum |x||w| + |bias|) + 2^-126).
 *
 * KERN_INT8. A panel is (k / 4, 16, 4) s8, k rounded up to 64 with zeros: panel[i / 4][j][i % 4].
 * Exactly: acc = sum over i of q[row][i] * w[col][i]                     in int32 i   = acc -
 * zero[row] * column_sum[col]                       in int32 y   = epilogue(fmaf((float)i *
 * x.scale[row], w.scale[col], bias[col])) with (float)i and the first product rounded to nearest
 * even. Neither int32 overflows for k <= 32768. Every level gives the same bytes for KERN_IDENTITY.
 * A row of q is plain u8, its padding up to 64 is zero.
 *
 * KERN_INT7. The same panels and rows. Over the blocks b in order, from real = 0:
 *     real = fmaf((float)(acc[b] - zero[row][b] * column_sum[b][col]), x.scale[row][b], real)
 * with acc[b] the sum over the block's k; then y = epilogue(fmaf(real, w.scale[col], bias[col])). Every level that has the
 * scheme gives the same bytes for KERN_IDENTITY.
 */
#include <math.h>
#include <string.h>

#include "kernels/bf16.h"
#include "kernels/levels.h"

/* The three products of floats: `load` makes floats of 16 weights. */
static inline void multiply_floats(const struct kern_gemm *job, long size,
                                   void (*load)(float w[KERN_PANEL], const char *from))
{
    const long k = job->w->k;
    for (long p = job->p0; p < job->p1; p++) {
        const char *panel = (const char *)job->w->panels + p * k * KERN_PANEL * size;
        const float *bias = job->w->bias + p * KERN_PANEL;
        const float *scale = job->w->scheme == KERN_S8 ? job->w->scale + p * KERN_PANEL : NULL;
        for (long m = job->m0; m < job->m1; m++) {
            const float *x = job->x->f32 + m * job->x->stride;
            float *y = job->y + m * job->y_stride + p * KERN_PANEL;
            float sum[KERN_PANEL] = {0};
            for (long i = 0; i < k; i++) {
                float w[KERN_PANEL];
                load(w, panel + i * KERN_PANEL * size);
                for (long j = 0; j < KERN_PANEL; j++)
                    sum[j] += x[i] * w[j];
            }
            for (long j = 0; j < KERN_PANEL; j++)
                y[j] = scale ? fmaf(sum[j], scale[j], bias[j]) : sum[j] + bias[j];
            if (job->epilogue == KERN_GELU)
                kern_gelu_scalar(y, KERN_PANEL);
        }
    }
}

static void load_f32(float w[KERN_PANEL], const char *from)
{
    memcpy(w, from, KERN_PANEL * sizeof *w);
}

static void load_f16(float w[KERN_PANEL], const char *from)
{
    kern_f16_to_f32_scalar(w, (const uint16_t *)(const void *)from, KERN_PANEL);
}

static void load_s8(float w[KERN_PANEL], const char *from)
{
    for (int j = 0; j < KERN_PANEL; j++)
        w[j] = (float)((const int8_t *)from)[j];
}

void kern_gemm_f32_scalar(const struct kern_gemm *job)
{
    multiply_floats(job, sizeof(float), load_f32);
}

void kern_gemm_f16_scalar(const struct kern_gemm *job)
{
    multiply_floats(job, sizeof(uint16_t), load_f16);
}

void kern_gemm_s8_scalar(const struct kern_gemm *job)
{
    multiply_floats(job, sizeof(int8_t), load_s8);
}

void kern_gemm_bf16_scalar(const struct kern_gemm *job)
{
    const long k = kern_round_up(job->w->k, KERN_BF16_ALIGN);
    for (long p = job->p0; p < job->p1; p++) {
        const uint16_t *panel = (const uint16_t *)job->w->panels + p * k * KERN_PANEL;
        const float *bias = job->w->bias + p * KERN_PANEL;
        for (long m = job->m0; m < job->m1; m++) {
            const uint16_t *x = job->x->bf16 + m * job->x->bf16_stride;
            float *y = job->y + m * job->y_stride + p * KERN_PANEL;
            float sum[KERN_PANEL] = {0};
            for (long i = 0; i < k; i += 2) {
                const uint16_t *w = panel + i * KERN_PANEL;
                const float even = kern_bf16_value(x[i]);
                const float odd = kern_bf16_value(x[i + 1]);
                /* Set apart first: gcc 12 multiplies by the wrong one of a pair otherwise. */
                float columns[2][KERN_PANEL];
                for (long j = 0; j < 2 * KERN_PANEL; j++)
                    columns[j % 2][j / 2] = kern_bf16_value(w[j]);
                for (long j = 0; j < KERN_PANEL; j++)
                    sum[j] += odd * columns[1][j];
                for (long j = 0; j < KERN_PANEL; j++)
                    sum[j] += even * columns[0][j];
            }
            for (long j = 0; j < KERN_PANEL; j++)
                y[j] = sum[j] + bias[j];
            if (job->epilogue == KERN_GELU)
                kern_gelu_scalar(y, KERN_PANEL);
        }
    }
}

void kern_gemm_int8_scalar(const struct kern_gemm *job)
{
    const struct kern_weights *w = job->w;
    const long k = kern_round_up(w->k, KERN_Q8_ALIGN);
    for (long p = job->p0; p < job->p1; p++) {
        const int8_t *panel = (const int8_t *)w->panels + p * k * KERN_PANEL;
        for (long m = job->m0; m < job->m1; m++) {
            const uint8_t *q = job->x->q8 + m * job->x->q8_stride;
            float *y = job->y + m * job->y_stride + p * KERN_PANEL;
            int32_t acc[KERN_PANEL] = {0};
            for (long i = 0; i < k; i++) {
                for (long j = 0; j < KERN_PANEL; j++)
                    acc[j] += q[i] * panel[(i / 4 * KERN_PANEL + j) * 4 + i % 4];
            }
            for (long j = 0; j < KERN_PANEL; j++) {
                const long col = p * KERN_PANEL + j;
                const int32_t sum = acc[j] - job->x->zero[m] * w->column_sum[col];
                y[j] = fmaf((float)sum * job->x->scale[m], w->scale[col], w->bias[col]);
            }
            if (job->epilogue == KERN_GELU)
                kern_gelu_scalar(y, KERN_PANEL);
        }
    }
}

void kern_gemm_int7_scalar(const struct kern_gemm *job)
{
    const struct kern_weights *w = job->w;
    const long k = kern_round_up(w->k, KERN_Q8_ALIGN), blocks = kern_int7_blocks(k);
    for (long p = job->p0; p < job->p1; p++) {
        const int8_t *panel = (const int8_t *)w->panels + p * k * KERN_PANEL;
        for (long m = job->m0; m < job->m1; m++) {
            const uint8_t *q = job->x->q8 + m * job->x->q8_stride;
            float *y = job->y + m * job->y_stride + p * KERN_PANEL;
            float real[KERN_PANEL] = {0};
            for (long b = 0; b < blocks; b++) {
                const long at = m * job->x->scale_stride + b;
                const int32_t *column_sum = w->column_sum + (p * blocks + b) * KERN_PANEL;
                int32_t acc[KERN_PANEL] = {0};
                for (long i = b * KERN_INT7_BLOCK; i < k && i < (b + 1) * KERN_INT7_BLOCK; i++) {
                    for (long j = 0; j < KERN_PANEL; j++)
                        acc[j] += q[i] * panel[(i / 4 * KERN_PANEL + j) * 4 + i % 4];
                }
                for (long j = 0; j < KERN_PANEL; j++) {
                    const int32_t sum = acc[j] - job->x->zero[at] * column_sum[j];
                    real[j] = fmaf((float)sum, job->x->scale[at], real[j]);
                }
            }
            for (long j = 0; j < KERN_PANEL; j++) {
                const long col = p * KERN_PANEL + j;
                y[j] = fmaf(real[j], w->scale[col], w->bias[col]);
            }
            if (job->epilogue == KERN_GELU)
                kern_gelu_scalar(y, KERN_PANEL);
        }
    }
}

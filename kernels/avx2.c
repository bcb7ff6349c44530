/* avx2.c: what works on rows of activations, with AVX2 and FMA: quantising, normalising, GELU. */
#include "kernels/levels.h"
#include "kernels/math_avx2.h"
#include "kernels/quantise.h"

#include <string.h>

enum { LANES = 8, BLOCK = 32 };

/* Least and greatest value met so far, and 0, in each lane. A NaN is passed over: min and max give their second operand. */
struct extremes {
    __m256 lo, hi;
};

static inline struct extremes extremes_with(struct extremes e, __m256 x)
{
    return (struct extremes){_mm256_min_ps(x, e.lo), _mm256_max_ps(x, e.hi)};
}

static inline struct extremes no_extremes(void)
{
    return (struct extremes){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

/* The lanes of a row's last vectors. */
static inline __m256i tail_mask(long left)
{
    return kern_mask8(left < LANES ? left : LANES);
}

static float least(__m256 v)
{
    __m128 x = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_min_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_min_ss(x, _mm_movehdup_ps(x)));
}

static float greatest(__m256 v)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

static float total(const __m256 sum[4])
{
    const __m256 v = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* 8 of a row's values as u8 in 32-bit lanes. */
static inline __m256i quantised(__m256 x, const struct kern_q8_range *range)
{
    __m256 t = _mm256_mul_ps(x, _mm256_set1_ps(range->inverse));
    t = _mm256_max_ps(t, _mm256_set1_ps(range->low));
    t = _mm256_min_ps(t, _mm256_set1_ps(range->high));
    return _mm256_add_epi32(_mm256_cvtps_epi32(t), _mm256_set1_epi32(range->zero));
}

/* 32 values to 32 bytes. The packs interleave by groups of four bytes within 16, which the permutation undoes. */
static inline __m256i quantised_block(const __m256 x[4], const struct kern_q8_range *range)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i low = _mm256_packs_epi32(quantised(x[0], range), quantised(x[1], range));
    const __m256i high = _mm256_packs_epi32(quantised(x[2], range), quantised(x[3], range));
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
}

/* 32 values from x on, zeros beyond the `left` that are there. */
static inline void load_block(__m256 v[4], const float *x, long left)
{
    for (int j = 0; j < 4; j++)
        v[j] = left >= (j + 1) * LANES ? _mm256_loadu_ps(x + j * LANES)
               : left > j * LANES ? _mm256_maskload_ps(x + j * LANES, tail_mask(left - j * LANES))
                                  : _mm256_setzero_ps();
}

/* Up to KERN_INT7_BLOCK values, which stay in registers from one pass to the next. */
static inline void quantise_block(const float *x, long width, uint8_t *q, float *scale,
                                  int32_t *zero)
{
    __m256 v[KERN_INT7_BLOCK / BLOCK][4];
    struct extremes e = no_extremes();
    for (long i = 0; i < width; i += BLOCK) {
        load_block(v[i / BLOCK], x + i, width - i);
        for (int j = 0; j < 4; j++)
            e = extremes_with(e, v[i / BLOCK][j]);
    }
    const struct kern_q8_range range = kern_q8_range(least(e.lo), greatest(e.hi), KERN_INT7_MAX);
    *scale = range.scale;
    *zero = range.zero;
    for (long i = 0; i < width; i += BLOCK)
        _mm256_storeu_si256((__m256i *)(void *)(q + i), quantised_block(v[i / BLOCK], &range));
}

static void quantise_row(struct kern_rows *rows, long m, long width)
{
    const float *x = rows->f32 + m * rows->stride;
    uint8_t *q = rows->q8 + m * rows->q8_stride;
    const long whole = width / KERN_INT7_BLOCK, blocks = kern_int7_blocks(width);
    float *scale = rows->scale + m * rows->scale_stride;
    int32_t *zero = rows->zero + m * rows->scale_stride;
    for (long b = 0; b < whole; b++)
        quantise_block(x + b * KERN_INT7_BLOCK, KERN_INT7_BLOCK, q + b * KERN_INT7_BLOCK, scale + b,
                       zero + b);
    for (long b = whole; b < blocks; b++)
        quantise_block(x + b * KERN_INT7_BLOCK, width - b * KERN_INT7_BLOCK,
                       q + b * KERN_INT7_BLOCK, scale + b, zero + b);
    memset(q + width, 0, (size_t)(kern_round_up(width, KERN_Q8_ALIGN) - width));
}

void kern_quantise_blocks_avx2(const struct kern_table *table, struct kern_rows *rows, long width,
                               long m0, long m1)
{
    (void)table;
    for (long m = m0; m < m1; m++)
        quantise_row(rows, m, width);
}

/* x + residual into y; returns the mean. */
static float add_row(const float *x, const float *residual, float *y, long width)
{
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    long i = 0;
    for (; i + BLOCK <= width; i += BLOCK) {
        for (int j = 0; j < 4; j++) {
            __m256 v = _mm256_loadu_ps(x + i + j * LANES);
            if (residual)
                v = _mm256_add_ps(v, _mm256_loadu_ps(residual + i + j * LANES));
            _mm256_storeu_ps(y + i + j * LANES, v);
            sum[j] = _mm256_add_ps(sum[j], v);
        }
    }
    for (; i < width; i += LANES) {
        const __m256i mask = tail_mask(width - i);
        __m256 v = _mm256_maskload_ps(x + i, mask);
        if (residual)
            v = _mm256_add_ps(v, _mm256_maskload_ps(residual + i, mask));
        _mm256_maskstore_ps(y + i, mask, v);
        sum[0] = _mm256_add_ps(sum[0], v);
    }
    return total(sum) / (float)width;
}

/* Mean of the squares about the mean. */
static float variance_row(const float *y, float mean, long width)
{
    const __m256 centre = _mm256_set1_ps(mean);
    __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                     _mm256_setzero_ps()};
    long i = 0;
    for (; i + BLOCK <= width; i += BLOCK) {
        for (int j = 0; j < 4; j++) {
            const __m256 v = _mm256_sub_ps(_mm256_loadu_ps(y + i + j * LANES), centre);
            sum[j] = _mm256_fmadd_ps(v, v, sum[j]);
        }
    }
    for (; i < width; i += LANES) {
        const __m256i mask = tail_mask(width - i);
        const __m256 v = _mm256_and_ps(_mm256_castsi256_ps(mask),
                                       _mm256_sub_ps(_mm256_maskload_ps(y + i, mask), centre));
        sum[0] = _mm256_fmadd_ps(v, v, sum[0]);
    }
    return total(sum) / (float)width;
}

/* y = (y - mean) * inverse * gamma + beta */
static void scale_row(const struct kern_norm *job, float *y, float mean, float inverse)
{
    const __m256 centre = _mm256_set1_ps(mean);
    const __m256 factor = _mm256_set1_ps(inverse);
    long i = 0;
    for (; i + LANES <= job->width; i += LANES) {
        const __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(y + i), centre), factor);
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(v, _mm256_loadu_ps(job->gamma + i),
                                                _mm256_loadu_ps(job->beta + i)));
    }
    if (i < job->width) {
        const __m256i mask = tail_mask(job->width - i);
        __m256 v = _mm256_sub_ps(_mm256_maskload_ps(y + i, mask), centre);
        v = _mm256_fmadd_ps(_mm256_mul_ps(v, factor), _mm256_maskload_ps(job->gamma + i, mask),
                            _mm256_maskload_ps(job->beta + i, mask));
        _mm256_maskstore_ps(y + i, mask, v);
    }
}

static void add_norm(const struct kern_table *table, const struct kern_norm *job)
{
    for (long m = job->m0; m < job->m1; m++) {
        const float *residual =
            job->residual ? job->residual->f32 + m * job->residual->stride : NULL;
        float *y = job->y->f32 + m * job->y->stride;
        const float mean = add_row(job->x + m * job->x_stride, residual, y, job->width);
        const float variance = variance_row(y, mean, job->width);
        scale_row(job, y, mean, 1.0f / sqrtf(variance + job->eps));
        if (job->y->bf16)
            kern_round_row_avx2(job->y, m, job->width);
        if (job->y->q8 && job->y->q8_max == KERN_INT7_MAX)
            quantise_row(job->y, m, job->width);
    }
    if (job->y->q8 && job->y->q8_max != KERN_INT7_MAX)
        table->prepare[KERN_INT8](table, job->y, job->width, job->m0, job->m1);
}

void kern_gelu_avx2(float *x, long n)
{
    long i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_ps(x + i, kern_gelu8(_mm256_loadu_ps(x + i)));
    if (i < n) {
        const __m256i mask = kern_mask8(n - i);
        _mm256_maskstore_ps(x + i, mask, kern_gelu8(_mm256_maskload_ps(x + i, mask)));
    }
}

void kern_overlay_avx2(struct kern_table *table)
{
    table->fast_int8 = KERN_INT7;
    table->panel_group = 2;
    table->gemm[KERN_F32] = kern_gemm_f32_avx2;
    table->gemm[KERN_F16] = kern_gemm_f16_avx2;
    table->gemm[KERN_S8] = kern_gemm_s8_avx2;
    table->gemm[KERN_INT7] = kern_gemm_int7_avx2;
    table->gemm[KERN_INT8] = NULL;
    table->prepare[KERN_INT7] = kern_quantise_blocks_avx2;
    table->add_norm = add_norm;
    kern_set_attention(table, kern_attention_avx2, kern_attention_scratch_avx2);
    table->gelu = kern_gelu_avx2;
    kern_overlay_pack_avx2(table);
    kern_overlay_bf16_avx2(table);
    kern_overlay_scan_avx2(table);
}

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

static void quantise_row(struct kern_rows *rows, long m, long width, struct extremes e, int q8_max)
{
    const float *x = rows->f32 + m * rows->stride;
    uint8_t *q = rows->q8 + m * rows->q8_stride;
    const struct kern_q8_range range = kern_q8_range(least(e.lo), greatest(e.hi), q8_max);
    rows->scale[m] = range.scale;
    rows->zero[m] = range.zero;
    for (long i = 0; i < width; i += BLOCK) {
        const long left = width - i;
        __m256 v[4];
        for (int j = 0; j < 4; j++)
            v[j] = left >= BLOCK ? _mm256_loadu_ps(x + i + j * LANES)
                   : left > j * LANES
                       ? _mm256_maskload_ps(x + i + j * LANES, tail_mask(left - j * LANES))
                       : _mm256_setzero_ps();
        _mm256_storeu_si256((__m256i *)(void *)(q + i), quantised_block(v, &range));
    }
    memset(q + width, 0, (size_t)(kern_round_up(width, KERN_Q8_ALIGN) - width));
}

static void quantise(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                     long m1)
{
    for (long m = m0; m < m1; m++) {
        const float *x = rows->f32 + m * rows->stride;
        struct extremes even = no_extremes();
        struct extremes odd = no_extremes();
        long i = 0;
        for (; i + 2 * LANES <= width; i += 2 * LANES) {
            even = extremes_with(even, _mm256_loadu_ps(x + i));
            odd = extremes_with(odd, _mm256_loadu_ps(x + i + LANES));
        }
        for (; i < width; i += LANES)
            even = extremes_with(even, _mm256_maskload_ps(x + i, tail_mask(width - i)));
        even.lo = _mm256_min_ps(even.lo, odd.lo);
        even.hi = _mm256_max_ps(even.hi, odd.hi);
        quantise_row(rows, m, width, even, table->q8_max);
    }
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

/* y = (y - mean) * inverse * gamma + beta; returns the extremes of the row. */
static struct extremes scale_row(const struct kern_norm *job, float *y, float mean, float inverse)
{
    const __m256 centre = _mm256_set1_ps(mean);
    const __m256 factor = _mm256_set1_ps(inverse);
    struct extremes e = no_extremes();
    long i = 0;
    for (; i + LANES <= job->width; i += LANES) {
        __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(y + i), centre), factor);
        v = _mm256_fmadd_ps(v, _mm256_loadu_ps(job->gamma + i), _mm256_loadu_ps(job->beta + i));
        _mm256_storeu_ps(y + i, v);
        e = extremes_with(e, v);
    }
    if (i < job->width) {
        const __m256i mask = tail_mask(job->width - i);
        __m256 v = _mm256_sub_ps(_mm256_maskload_ps(y + i, mask), centre);
        v = _mm256_fmadd_ps(_mm256_mul_ps(v, factor), _mm256_maskload_ps(job->gamma + i, mask),
                            _mm256_maskload_ps(job->beta + i, mask));
        _mm256_maskstore_ps(y + i, mask, v);
        e = extremes_with(e, _mm256_and_ps(_mm256_castsi256_ps(mask), v));
    }
    return e;
}

static void add_norm(const struct kern_table *table, const struct kern_norm *job)
{
    for (long m = job->m0; m < job->m1; m++) {
        const float *residual = job->residual ? job->residual + m * job->residual_stride : NULL;
        float *y = job->y->f32 + m * job->y->stride;
        const float mean = add_row(job->x + m * job->x_stride, residual, y, job->width);
        const float variance = variance_row(y, mean, job->width);
        const struct extremes e = scale_row(job, y, mean, 1.0f / sqrtf(variance + job->eps));
        if (job->y->q8)
            quantise_row(job->y, m, job->width, e, table->q8_max);
        if (job->y->bf16)
            kern_round_row_avx2(job->y, m, job->width);
    }
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
    table->q8_max = 127; /* pairs of u8 * s8 are summed in 16 bits */
    table->panel_group = 2;
    table->gemm[KERN_F32] = kern_gemm_f32_avx2;
    table->gemm[KERN_INT8] = kern_gemm_int8_avx2;
    table->prepare[KERN_INT8] = quantise;
    table->add_norm = add_norm;
    table->attention = kern_attention_avx2;
    table->attention_scratch = kern_attention_scratch_avx2;
    table->gelu = kern_gelu_avx2;
    kern_overlay_pack_avx2(table);
    kern_overlay_bf16_avx2(table);
}

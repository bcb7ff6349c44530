/* avx2.c: what works on rows of activations, with AVX2 and FMA: quantising, normalising, GELU. */
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx2.h"

#include <float.h>
#include <math.h>
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

/* What turns a block's values into u8, in every lane. */
struct scaling {
    __m256 inverse, high;
    __m256i zero; /* in 16 bits */
};

/* 8 of a block's values before its zero point is added: at most q8_max - zero. What is too low, or no number, is negative
 * with it, and becomes 0 in quantised_block. */
static inline __m256i rounded(__m256 x, const struct scaling *by)
{
    return _mm256_cvtps_epi32(_mm256_min_ps(by->high, _mm256_mul_ps(x, by->inverse)));
}

/* 32 values to 32 bytes. The packs interleave by groups of four bytes within 16, which the permutation undoes. */
static inline __m256i quantised_block(const __m256 x[4], const struct scaling *by)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i low = _mm256_packs_epi32(rounded(x[0], by), rounded(x[1], by));
    const __m256i high = _mm256_packs_epi32(rounded(x[2], by), rounded(x[3], by));
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_add_epi16(low, by->zero), _mm256_add_epi16(high, by->zero));
    return _mm256_permutevar8x32_epi32(bytes, order);
}

/* 32 values from x on, zeros beyond the `left` that are there. */
ALWAYS_INLINE void load_block(__m256 v[4], const float *x, long left)
{
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        v[j] = left >= (j + 1) * LANES ? _mm256_loadu_ps(x + j * LANES)
               : left > j * LANES ? _mm256_maskload_ps(x + j * LANES, tail_mask(left - j * LANES))
                                  : _mm256_setzero_ps();
}

/* The ranges of LANES blocks of a row (kern_q8_range), lane by lane. */
struct ranges {
    float inverse[LANES], high[LANES];
    int32_t zero[LANES];
};

/* kern_q8_range of LANES blocks at once, with the same bits; scales of the first `count` go to `scale`, zero points to `zero`. */
static inline void find_ranges(const float lo[LANES], const float hi[LANES], struct ranges *out,
                               float *scale, int32_t *zero, long count)
{
    const __m256 least_value = _mm256_loadu_ps(lo), one = _mm256_set1_ps(1.0f);
    const __m256 most = _mm256_set1_ps((float)KERN_INT7_MAX);
    const __m256i mask = kern_mask8(count);
    const __m256 wide = _mm256_div_ps(_mm256_sub_ps(_mm256_loadu_ps(hi), least_value), most);
    const __m256 usable = _mm256_and_ps(_mm256_cmp_ps(wide, _mm256_set1_ps(FLT_MIN), _CMP_GE_OQ),
                                        _mm256_cmp_ps(wide, _mm256_set1_ps(FLT_MAX), _CMP_LE_OQ));
    const __m256 scales = _mm256_blendv_ps(one, wide, usable);
    const __m256 start = _mm256_div_ps(_mm256_xor_ps(least_value, _mm256_set1_ps(-0.0f)), scales);
    /* min gives its second operand where the first is not below it */
    const __m256i zeros = _mm256_cvtps_epi32(_mm256_min_ps(start, most));
    _mm256_maskstore_ps(scale, mask, scales);
    _mm256_maskstore_epi32(zero, mask, zeros);
    _mm256_storeu_ps(out->inverse, _mm256_div_ps(one, scales));
    _mm256_storeu_ps(out->high, _mm256_sub_ps(most, _mm256_cvtepi32_ps(zeros)));
    _mm256_storeu_si256((__m256i *)(void *)out->zero, zeros);
}

/* The extremes of a block of `width` values. */
ALWAYS_INLINE struct extremes block_extremes(const float *x, long width)
{
    struct extremes even = no_extremes(), odd = no_extremes();
#pragma GCC unroll 3
    for (long i = 0; i < width; i += BLOCK) {
        __m256 v[4];
        load_block(v, x + i, width - i);
        even = extremes_with(extremes_with(even, v[0]), v[2]);
        odd = extremes_with(extremes_with(odd, v[1]), v[3]);
    }
    return (struct extremes){_mm256_min_ps(even.lo, odd.lo), _mm256_max_ps(even.hi, odd.hi)};
}

ALWAYS_INLINE void write_block(const float *x, long width, uint8_t *q, const struct ranges *ranges,
                               long lane)
{
    const struct scaling by = {
        .inverse = _mm256_broadcast_ss(ranges->inverse + lane),
        .high = _mm256_broadcast_ss(ranges->high + lane),
        .zero = _mm256_set1_epi16((int16_t)ranges->zero[lane]),
    };
#pragma GCC unroll 3
    for (long i = 0; i < width; i += BLOCK) {
        __m256 v[4];
        load_block(v, x + i, width - i);
        _mm256_storeu_si256((__m256i *)(void *)(q + i), quantised_block(v, &by));
    }
}

/* Blocks of a row by LANES: the extremes of all, their ranges, then the values, so that no block waits for its own range. */
static void quantise_row(struct kern_rows *rows, long m, long width)
{
    const float *x = rows->f32 + m * rows->stride;
    uint8_t *q = rows->q8 + m * rows->q8_stride;
    const long blocks = kern_int7_blocks(width);
    for (long b0 = 0; b0 < blocks; b0 += LANES) {
        const long count = blocks - b0 < LANES ? blocks - b0 : LANES;
        const long at = m * rows->scale_stride + b0;
        float lo[LANES] = {0}, hi[LANES] = {0};
        struct ranges ranges;
        for (long i = 0; i < count; i++) {
            const long k = (b0 + i) * KERN_INT7_BLOCK;
            const struct extremes e = width - k >= KERN_INT7_BLOCK
                                          ? block_extremes(x + k, KERN_INT7_BLOCK)
                                          : block_extremes(x + k, width - k);
            lo[i] = least(e.lo);
            hi[i] = greatest(e.hi);
        }
        find_ranges(lo, hi, &ranges, rows->scale + at, rows->zero + at, count);
        for (long i = 0; i < count; i++) {
            const long k = (b0 + i) * KERN_INT7_BLOCK;
            if (width - k >= KERN_INT7_BLOCK)
                write_block(x + k, KERN_INT7_BLOCK, q + k, &ranges, i);
            else
                write_block(x + k, width - k, q + k, &ranges, i);
        }
    }
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
    table->query_group = 192; /* whole blocks of six, and every call transposes all keys */
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

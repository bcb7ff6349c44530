/* avx512.c: what works on rows of activations, with AVX-512 F, BW, VL and DQ: quantising, normalising, GELU. */
#include "kernels/inline.h"
#include "kernels/levels.h"
#include "kernels/math_avx512.h"
#include "kernels/quantise.h"

enum { LANES = 16, BLOCK = 64 };

/* Least and greatest value met so far, and 0, in each lane. A NaN is passed over: min and max give their second operand. */
struct extremes {
    __m512 lo, hi;
};

static inline struct extremes extremes_with(struct extremes e, __m512 x)
{
    return (struct extremes){_mm512_min_ps(x, e.lo), _mm512_max_ps(x, e.hi)};
}

/* 16 of a row's values as steps from zero in 32-bit lanes. A NaN, and what is below their range, is the least of them all. */
static inline __m512i steps(__m512 x, const struct kern_q8_range *range, const int wide)
{
    __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(range->inverse));
    if (wide)
        t = _mm512_min_ps(_mm512_set1_ps(range->high), t);
    return _mm512_cvtps_epi32(t);
}

/* 64 values to 64 bytes. The packs saturate, which makes 0 and 255 of what is beyond, and interleave by groups of four bytes
 * within 16, which the permutation undoes. wide: there may be values of more steps than 32 bits hold. */
static inline __m512i quantised_block(const __m512 x[4], const struct kern_q8_range *range,
                                      const int wide)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i zero = _mm512_set1_epi16((short)range->zero);
    const __m512i low = _mm512_packs_epi32(steps(x[0], range, wide), steps(x[1], range, wide));
    const __m512i high = _mm512_packs_epi32(steps(x[2], range, wide), steps(x[3], range, wide));
    return _mm512_permutexvar_epi32(
        order, _mm512_packus_epi16(_mm512_adds_epi16(low, zero), _mm512_adds_epi16(high, zero)));
}

/* The first of 16 floats, as many as are left, and zeros. */
static inline __m512 load16(const float *x, long left)
{
    if (left >= LANES)
        return _mm512_loadu_ps(x);
    return _mm512_maskz_loadu_ps(left <= 0 ? 0 : kern_mask16(left), x);
}

static inline void store16(float *y, __m512 x, long left)
{
    if (left >= LANES)
        _mm512_storeu_ps(y, x);
    else
        _mm512_mask_storeu_ps(y, left <= 0 ? 0 : kern_mask16(left), x);
}

/* 32 bf16 as floats: each goes to the upper half of a zero. */
static inline void widen32(__m512i bf16, __m512 v[2])
{
    static const _Alignas(64)
        uint16_t order[2][2 * LANES] = {{0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
                                         0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15},
                                        {0, 16, 0, 17, 0, 18, 0, 19, 0, 20, 0, 21, 0, 22, 0, 23,
                                         0, 24, 0, 25, 0, 26, 0, 27, 0, 28, 0, 29, 0, 30, 0, 31}};
    const __mmask32 upper = 0xaaaaaaaa;
    for (int i = 0; i < 2; i++)
        v[i] = _mm512_castsi512_ps(
            _mm512_maskz_permutexvar_epi16(upper, _mm512_load_si512(order[i]), bf16));
}

/* 32 values of row m from column i, a multiple of 32, on: floats where there are any, and bf16 otherwise. */
static inline void load32(const struct kern_rows *rows, long m, long i, long width, __m512 v[2])
{
    const long left = width - i;
    if (rows->f32) {
        const float *x = rows->f32 + m * rows->stride + i;
        v[0] = load16(x, left);
        v[1] = load16(x + LANES, left - LANES);
        return;
    }
    const uint16_t *x = kern_bf16_at(rows, m, i);
    const __m512i bf16 =
        left >= 2 * LANES ? _mm512_loadu_si512(x)
                          : _mm512_maskz_loadu_epi16(left <= 0 ? 0 : ((__mmask32)1 << left) - 1, x);
    widen32(bf16, v);
}

ALWAYS_INLINE void write_row(struct kern_rows *rows, long m, long width,
                             const struct kern_q8_range *range, const int wide)
{
    uint8_t *q = rows->q8 + m * rows->q8_stride;
    for (long i = 0; i < width; i += BLOCK) {
        __m512 v[4];
        load32(rows, m, i, width, v);
        load32(rows, m, i + BLOCK / 2, width, v + 2);
        __m512i block = quantised_block(v, range, wide);
        if (width - i < BLOCK)
            block = _mm512_maskz_mov_epi8(((__mmask64)1 << (width - i)) - 1, block);
        _mm512_storeu_si512(q + i, block);
    }
}

static void quantise_row(struct kern_rows *rows, long m, long width, struct extremes e)
{
    const float lo = _mm512_reduce_min_ps(e.lo), hi = _mm512_reduce_max_ps(e.hi);
    const struct kern_q8_range range = kern_q8_range(lo, hi, KERN_INT8_MAX);
    rows->scale[m] = range.scale;
    rows->zero[m] = range.zero;
    if (hi - lo <= FLT_MAX)
        write_row(rows, m, width, &range, 0);
    else /* scale is 1, whatever the values are */
        write_row(rows, m, width, &range, 1);
}

/* Extremes of a row, by the floats. */
static struct extremes float_extremes(const struct kern_rows *rows, long m, long width)
{
    struct extremes even = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    struct extremes odd = even;
    for (long i = 0; i < width; i += 2 * LANES) {
        __m512 v[2];
        load32(rows, m, i, width, v);
        even = extremes_with(even, v[0]);
        odd = extremes_with(odd, v[1]);
    }
    even.lo = _mm512_min_ps(even.lo, odd.lo);
    even.hi = _mm512_max_ps(even.hi, odd.hi);
    return even;
}

/* The same of whole blocks of bf16, by their bits: as signed numbers the greatest is that of the positive values, and as
 * unsigned ones the least of the negative values. A NaN would be beyond either. */
static struct extremes bf16_extremes(const struct kern_rows *rows, long m, long width)
{
    __m512i most = _mm512_setzero_si512(), least = most;
    for (long i = 0; i < width; i += 2 * LANES) {
        const __m512i bf16 = _mm512_loadu_si512(kern_bf16_at(rows, m, i));
        most = _mm512_max_epi16(most, bf16);
        least = _mm512_max_epu16(least, bf16);
    }
    struct extremes e = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m512 v[4];
    widen32(most, v);
    widen32(least, v + 2);
    __mmask16 nan = 0;
    for (int i = 0; i < 4; i++) {
        nan |= _mm512_cmp_ps_mask(v[i], v[i], _CMP_UNORD_Q);
        e = extremes_with(e, v[i]);
    }
    return nan ? float_extremes(rows, m, width) : e;
}

static void quantise(const struct kern_table *table, struct kern_rows *rows, long width, long m0,
                     long m1)
{
    (void)table;
    const int blocks = !rows->f32 && width % (2 * LANES) == 0;
    for (long m = m0; m < m1; m++)
        quantise_row(rows, m, width,
                     blocks ? bf16_extremes(rows, m, width) : float_extremes(rows, m, width));
}

static inline float total(const __m512 sum[4])
{
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

/* Row m of x + residual into y; returns the mean. */
static float add_row(const struct kern_norm *job, long m, float *y)
{
    const float *x = job->x + m * job->x_stride;
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    for (long i = 0; i < job->width; i += BLOCK)
        for (int j = 0; j < 4; j += 2) {
            const long at = i + j * LANES, left = job->width - at;
            __m512 v[2] = {load16(x + at, left), load16(x + at + LANES, left - LANES)};
            if (job->residual) {
                __m512 added[2];
                load32(job->residual, m, at, job->width, added);
                v[0] = _mm512_add_ps(v[0], added[0]);
                v[1] = _mm512_add_ps(v[1], added[1]);
            }
            store16(y + at, v[0], left);
            store16(y + at + LANES, v[1], left - LANES);
            sum[j] = _mm512_add_ps(sum[j], v[0]);
            sum[j + 1] = _mm512_add_ps(sum[j + 1], v[1]);
        }
    return total(sum) / (float)job->width;
}

/* Mean of the squares about the mean. */
static float variance_row(const float *y, float mean, long width)
{
    const __m512 centre = _mm512_set1_ps(mean);
    __m512 sum[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                     _mm512_setzero_ps()};
    long i = 0;
    for (; i + BLOCK <= width; i += BLOCK) {
        for (int j = 0; j < 4; j++) {
            const __m512 v = _mm512_sub_ps(_mm512_loadu_ps(y + i + j * LANES), centre);
            sum[j] = _mm512_fmadd_ps(v, v, sum[j]);
        }
    }
    for (; i < width; i += LANES) {
        const __mmask16 mask = kern_mask16(width - i < LANES ? width - i : LANES);
        const __m512 v = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, y + i), centre);
        sum[0] = _mm512_fmadd_ps(v, v, sum[0]);
    }
    return total(sum) / (float)width;
}

static void add_norm(const struct kern_table *table, const struct kern_norm *job)
{
    const enum kern_scheme round = job->y->bf16_low ? KERN_SPLIT_BF16 : KERN_BF16;
    for (long m = job->m0; m < job->m1; m++) {
        float *y = job->y->f32 + m * job->y->stride;
        const float mean = add_row(job, m, y);
        const float variance = variance_row(y, mean, job->width);
        const __m512 centre = _mm512_set1_ps(mean);
        const __m512 inverse = _mm512_set1_ps(1.0f / sqrtf(variance + job->eps));
        struct extremes e = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (long i = 0; i < job->width; i += LANES) {
            const long left = job->width - i;
            __m512 v = load16(y + i, left);
            v = _mm512_mul_ps(_mm512_sub_ps(v, centre), inverse);
            v = _mm512_fmadd_ps(v, load16(job->gamma + i, left), load16(job->beta + i, left));
            store16(y + i, v, left);
            if (left < LANES)
                v = _mm512_maskz_mov_ps(kern_mask16(left), v);
            e = extremes_with(e, v);
        }
        if (job->y->q8 && job->y->q8_max == KERN_INT8_MAX)
            quantise_row(job->y, m, job->width, e);
        if (job->y->bf16)
            table->prepare[round](table, job->y, job->width, m, m + 1);
    }
    if (job->y->q8 && job->y->q8_max == KERN_INT7_MAX)
        table->prepare[KERN_INT7](table, job->y, job->width, job->m0, job->m1);
}

void kern_gelu_avx512(float *x, long n)
{
    long i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(x + i, kern_gelu16(_mm512_loadu_ps(x + i)));
    if (i < n) {
        const __mmask16 mask = kern_mask16(n - i);
        _mm512_mask_storeu_ps(x + i, mask, kern_gelu16(_mm512_maskz_loadu_ps(mask, x + i)));
    }
}

void kern_overlay_avx512(struct kern_table *table)
{
    table->panel_group = 2;
    table->gemm[KERN_F32] = kern_gemm_f32_avx512;
    table->gemm[KERN_F16] = kern_gemm_f16_avx512;
    table->gemm[KERN_S8] = kern_gemm_s8_avx512;
    table->prepare[KERN_INT8] = quantise;
    table->add_norm = add_norm;
    kern_set_attention(table, kern_attention_avx512, kern_attention_scratch_avx512);
    table->gelu = kern_gelu_avx512;
    kern_overlay_pack_avx512(table);
    kern_overlay_bf16_avx512(table);
    kern_overlay_scan_avx512(table);
}

/* scan_avx2.c: a query's products with rows held as float, half precision or s8, with AVX2.
 *
 * A row is summed in four chains of 8 lanes, which are added up in one order at its end. What takes
 * the time is reading the rows, so one at a time is enough. */
#include <immintrin.h>
#include <string.h>

#include "kernels/math_avx2.h"
#include "kernels/scan_rows.h"

enum { LANES = 8, CHAINS = 4, BLOCK = LANES * CHAINS };

/* 8 values of a row as floats. */
ALWAYS_INLINE __m256 load8(const char *row, const enum kern_scheme held)
{
    if (held == KERN_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)row));
    if (held == KERN_S8)
        return _mm256_cvtepi32_ps(
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)row)));
    return _mm256_loadu_ps((const float *)(const void *)row);
}

/* The last `left` values, under 8, and zeros. */
ALWAYS_INLINE __m256 load_last(const char *row, long left, const enum kern_scheme held)
{
    char part[LANES * sizeof(float)] = {0};
    memcpy(part, row, (size_t)left * value_bytes(held));
    return load8(part, held);
}

ALWAYS_INLINE float total(const __m256 sum[CHAINS])
{
    const __m256 all = _mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3]));
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

ALWAYS_INLINE void scan(const struct kern_scan *job, const enum kern_scheme held)
{
    const size_t size = value_bytes(held);
    const float *query = job->query;
    for (long i = 0; i < job->n; i++) {
        const char *row = (const char *)job->rows + (size_t)(i * job->stride) * size;
        __m256 sum[CHAINS] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                              _mm256_setzero_ps()};
        long c = 0;
        for (; c + BLOCK <= job->k; c += BLOCK)
            for (int j = 0; j < CHAINS; j++) {
                const long at = c + j * LANES;
                sum[j] = _mm256_fmadd_ps(_mm256_loadu_ps(query + at),
                                         load8(row + (size_t)at * size, held), sum[j]);
            }
        for (; c + LANES <= job->k; c += LANES)
            sum[0] = _mm256_fmadd_ps(_mm256_loadu_ps(query + c),
                                     load8(row + (size_t)c * size, held), sum[0]);
        if (c < job->k)
            sum[1] = _mm256_fmadd_ps(_mm256_maskload_ps(query + c, kern_mask8(job->k - c)),
                                     load_last(row + (size_t)c * size, job->k - c, held), sum[1]);
        job->out[i] = held == KERN_S8 ? total(sum) * job->scale[i] : total(sum);
    }
}

SCAN_OVERLAY(avx2)

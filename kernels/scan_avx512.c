/* scan_avx512.c: a query's products with rows held as float, half precision or s8, with AVX-512.
 *
 * A row is summed in four chains of 16 lanes, which are added up in one order at its end. What takes
 * the time is reading the rows, so one at a time is enough. */
#include <immintrin.h>

#include "kernels/math_avx512.h"
#include "kernels/scan_rows.h"

enum { LANES = 16, CHAINS = 4, BLOCK = LANES * CHAINS };

/* 16 values of a row as floats. */
ALWAYS_INLINE __m512 load16(const char *row, const enum kern_scheme held)
{
    if (held == KERN_F16)
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)row));
    if (held == KERN_S8)
        return _mm512_cvtepi32_ps(
            _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)row)));
    return _mm512_loadu_ps(row);
}

/* The last `left` values, under 16, and zeros. */
ALWAYS_INLINE __m512 load_last(const char *row, long left, const enum kern_scheme held)
{
    const __mmask16 mask = kern_mask16(left);
    if (held == KERN_F16)
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row));
    if (held == KERN_S8)
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, row)));
    return _mm512_maskz_loadu_ps(mask, row);
}

ALWAYS_INLINE float total(const __m512 sum[CHAINS])
{
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3])));
}

ALWAYS_INLINE void scan(const struct kern_scan *job, const enum kern_scheme held)
{
    const size_t size = value_bytes(held);
    const float *query = job->query;
    for (long i = 0; i < job->n; i++) {
        const char *row = (const char *)job->rows + (size_t)(i * job->stride) * size;
        __m512 sum[CHAINS] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(),
                              _mm512_setzero_ps()};
        long c = 0;
        for (; c + BLOCK <= job->k; c += BLOCK)
            for (int j = 0; j < CHAINS; j++) {
                const long at = c + j * LANES;
                sum[j] = _mm512_fmadd_ps(_mm512_loadu_ps(query + at),
                                         load16(row + (size_t)at * size, held), sum[j]);
            }
        for (; c + LANES <= job->k; c += LANES)
            sum[0] = _mm512_fmadd_ps(_mm512_loadu_ps(query + c),
                                     load16(row + (size_t)c * size, held), sum[0]);
        if (c < job->k)
            sum[1] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(kern_mask16(job->k - c), query + c),
                                     load_last(row + (size_t)c * size, job->k - c, held), sum[1]);
        job->out[i] = held == KERN_S8 ? total(sum) * job->scale[i] : total(sum);
    }
}

SCAN_OVERLAY(avx512)

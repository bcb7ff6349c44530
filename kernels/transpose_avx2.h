/* transpose_avx2.h: an 8 by 8 matrix of 32-bit words, transposed in registers. */
#ifndef KERNELS_TRANSPOSE_AVX2_H
#define KERNELS_TRANSPOSE_AVX2_H

#include <immintrin.h>

#include "kernels/inline.h"

/* Pairs of words, then of pairs, within each 128 bits; then the halves of rows 4 apart. */
ALWAYS_INLINE void kern_transpose8(__m256i row[8])
{
    __m256i t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(row[i], row[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(row[i], row[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        row[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        row[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        row[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        row[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2x128_si256(row[i], row[i + 4], 0x20);
        t[i + 4] = _mm256_permute2x128_si256(row[i], row[i + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        row[i] = t[i];
}

#endif

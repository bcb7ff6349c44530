/* immintrin.h, placed before the compiler's own: the AVX-512 intrinsics that the kernels use, in AVX2 and plain C. With it
 * the AVX-512, VNNI and AMX sources are compiled and proven on any CPU that has AVX2, FMA and F16C.
 *
 * Each does what the instruction is documented to do, to the bit, NaN and order of operands included; masked loads and
 * stores touch what the mask selects and nothing else. What is not here does not compile. For speed, arithmetic goes by
 * halves with the AVX2 instruction of the same definition.
 */
#pragma GCC system_header

#ifndef TESTS_KERNELS_EMULATED_IMMINTRIN_H
#define TESTS_KERNELS_EMULATED_IMMINTRIN_H

#include_next <immintrin.h>

#include "avx512.h"

/* Some of them are macros already. */
#undef _mm512_cmp_ps_mask
#undef _mm512_extracti64x4_epi64
#undef _mm512_inserti64x4
#undef _mm512_range_ps
#undef _mm512_reduce_ps
#undef _mm512_roundscale_ps
#undef _mm512_shuffle_i32x4
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32

#define _mm512_abs_ps emulated_abs_ps
#define _mm512_add_epi32 emulated_add_epi32
#define _mm512_add_ps emulated_add_ps
#define _mm512_adds_epi16 emulated_adds_epi16
#define _mm512_and_si512 emulated_and_si512
#define _mm512_castps_si512 emulated_castps_si512
#define _mm512_castsi256_si512 emulated_castsi256_si512
#define _mm512_castsi512_ps emulated_castsi512_ps
#define _mm512_castsi512_si256 emulated_castsi512_si256
#define _mm512_cmp_ps_mask(a, b, predicate)                                                        \
    emulated_mask_of(_mm256_cmp_ps(emulated_half_ps(a, 0), emulated_half_ps(b, 0), predicate),     \
                     _mm256_cmp_ps(emulated_half_ps(a, 1), emulated_half_ps(b, 1), predicate))
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtne2ps_pbh emulated_cvtne2ps_pbh
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvttps_epi32 emulated_cvttps_epi32
#define _mm512_div_ps emulated_div_ps
#define _mm512_dpbf16_ps(sum, a, b) emulated_dpbf16_ps(sum, (__m512i)(a), (__m512i)(b))
#define _mm512_dpbusd_epi32 emulated_dpbusd_epi32
#define _mm512_dpwssd_epi32 emulated_dpwssd_epi32
#define _mm512_extracti64x4_epi64 emulated_extracti64x4
#define _mm512_fmadd_ps emulated_fmadd_ps
#define _mm512_fnmadd_ps emulated_fnmadd_ps
#define _mm512_inserti64x4 emulated_inserti64x4
#define _mm512_load_ps emulated_load_ps
#define _mm512_load_si512 emulated_load_si512
#define _mm512_loadu_ps emulated_loadu_ps
#define _mm512_loadu_si512 emulated_loadu_si512
#define _mm512_madd_epi16 emulated_madd_epi16
#define _mm512_maddubs_epi16 emulated_maddubs_epi16
#define _mm512_mask_add_ps(source, mask, a, b)                                                     \
    emulated_mask_mov_ps(source, mask, emulated_add_ps(a, b))
#define _mm512_mask_and_epi32(source, mask, a, b)                                                  \
    emulated_mask_mov_32(source, mask, emulated_and_si512(a, b))
#define _mm512_mask_cvtepi32_storeu_epi8 emulated_mask_cvtepi32_storeu_epi8
#define _mm512_mask_max_ps(source, mask, a, b)                                                     \
    emulated_mask_mov_ps(source, mask, emulated_max_ps(a, b))
#define _mm512_mask_or_epi32(source, mask, a, b)                                                   \
    emulated_mask_mov_32(source, mask, emulated_or_si512(a, b))
#define _mm512_mask_storeu_epi16 emulated_mask_storeu_16
#define _mm512_mask_storeu_epi32 emulated_mask_storeu_32
#define _mm512_mask_storeu_ps emulated_mask_storeu_ps
#define _mm512_maskz_cvtps_epi32(mask, a)                                                          \
    emulated_mask_mov_32(EMULATED_ZERO_SI, mask, emulated_cvtps_epi32(a))
#define _mm512_maskz_fmadd_ps(mask, a, b, c)                                                       \
    emulated_mask_mov_ps(EMULATED_ZERO_PS, mask, emulated_fmadd_ps(a, b, c))
#define _mm512_maskz_loadu_epi16 emulated_maskz_loadu_16
#define _mm512_maskz_loadu_epi32 emulated_maskz_loadu_32
#define _mm512_maskz_loadu_epi8 emulated_maskz_loadu_8
#define _mm512_maskz_loadu_ps emulated_maskz_loadu_ps
#define _mm512_maskz_mov_epi8(mask, a) emulated_mask_mov_8(EMULATED_ZERO_SI, mask, a)
#define _mm512_maskz_mov_ps(mask, a) emulated_mask_mov_ps(EMULATED_ZERO_PS, mask, a)
#define _mm512_maskz_sub_ps(mask, a, b)                                                            \
    emulated_mask_mov_ps(EMULATED_ZERO_PS, mask, emulated_sub_ps(a, b))
#define _mm512_maskz_permutexvar_epi16(mask, order, a)                                             \
    emulated_mask_mov_16(EMULATED_ZERO_SI, mask, emulated_permutexvar_epi16(order, a))
#define _mm512_max_epi16 emulated_max_epi16
#define _mm512_max_epu16 emulated_max_epu16
#define _mm512_max_ps emulated_max_ps
#define _mm512_min_ps emulated_min_ps
#define _mm512_mul_ps emulated_mul_ps
#define _mm512_mullo_epi32 emulated_mullo_epi32
#define _mm512_or_si512 emulated_or_si512
#define _mm512_packs_epi32 emulated_packs_epi32
#define _mm512_packus_epi16 emulated_packus_epi16
#define _mm512_permutex2var_epi16 emulated_permutex2var_epi16
#define _mm512_permutexvar_epi16 emulated_permutexvar_epi16
#define _mm512_permutexvar_epi32 emulated_permutexvar_epi32
#define _mm512_permutexvar_ps emulated_permutexvar_ps
#define _mm512_range_ps emulated_range_ps
#define _mm512_reduce_add_ps emulated_reduce_add_ps
#define _mm512_reduce_max_ps emulated_reduce_max_ps
#define _mm512_reduce_min_ps emulated_reduce_min_ps
#define _mm512_roundscale_ps emulated_roundscale_ps
#define _mm512_reduce_ps emulated_reduce_ps
#define _mm512_scalef_ps emulated_scalef_ps
#define _mm512_set1_epi16 emulated_set1_epi16
#define _mm512_set1_epi32 emulated_set1_epi32
#define _mm512_set1_epi8 emulated_set1_epi8
#define _mm512_set1_ps emulated_set1_ps
#define _mm512_setr_epi32(...) ((emulated){.d = {__VA_ARGS__}}.si)
#define _mm512_setzero_ps() EMULATED_ZERO_PS
#define _mm512_setzero_si512() EMULATED_ZERO_SI
#define _mm512_shuffle_i32x4 emulated_shuffle_i32x4
#define _mm512_slli_epi32 emulated_slli_epi32
#define _mm512_srli_epi32 emulated_srli_epi32
#define _mm512_store_ps emulated_store_ps
#define _mm512_store_si512 emulated_store_si512
#define _mm512_storeu_ps emulated_storeu_ps
#define _mm512_storeu_si512 emulated_storeu_si512
#define _mm512_stream_si512 emulated_store_si512
#define _mm512_sub_epi32 emulated_sub_epi32
#define _mm512_sub_ps emulated_sub_ps
#define _mm512_testn_epi32_mask emulated_testn_epi32_mask
#define _mm512_unpackhi_epi16 emulated_unpackhi_epi16
#define _mm512_unpackhi_epi32 emulated_unpackhi_epi32
#define _mm512_unpackhi_epi64 emulated_unpackhi_epi64
#define _mm512_unpacklo_epi16 emulated_unpacklo_epi16
#define _mm512_unpacklo_epi32 emulated_unpacklo_epi32
#define _mm512_unpacklo_epi64 emulated_unpacklo_epi64
#define _mm256_maskz_loadu_epi16(mask, from)                                                       \
    emulated_castsi512_si256(emulated_maskz_loadu_16(mask, from))
#define _mm_maskz_loadu_epi8(mask, from)                                                           \
    _mm256_castsi256_si128(emulated_castsi512_si256(emulated_maskz_loadu_8(mask, from)))

#endif

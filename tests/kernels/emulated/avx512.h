/* avx512.h: AVX-512 instructions in AVX2 and plain C, one function each, for immintrin.h beside it. */
#pragma GCC system_header

#ifndef TESTS_KERNELS_EMULATED_AVX512_H
#define TESTS_KERNELS_EMULATED_AVX512_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* One register as any of the things it may hold. */
typedef union {
    __m512 ps;
    __m512i si;
    __m256 half_ps[2];
    __m256i half[2];
    __m128i quarter[4];
    float f[16];
    int32_t d[16];
    uint32_t ud[16];
    uint64_t q[8];
    int16_t w[32];
    uint16_t uw[32];
    int8_t b[64];
    uint8_t ub[64];
} emulated;

#define EMULATED static inline
/* For what takes many instructions: copied into every unrolled loop, it would take a compiler minutes. */
#define EMULATED_CALL static __attribute__((noinline, unused))

/* name(a) -> of both halves */
#define EMULATED_PS1(name, of_half)                                                                \
    EMULATED __m512 emulated_##name(__m512 a)                                                      \
    {                                                                                              \
        emulated x = {.ps = a};                                                                    \
        x.half_ps[0] = of_half(x.half_ps[0]);                                                      \
        x.half_ps[1] = of_half(x.half_ps[1]);                                                      \
        return x.ps;                                                                               \
    }
#define EMULATED_PS2(name, of_half)                                                                \
    EMULATED __m512 emulated_##name(__m512 a, __m512 b)                                            \
    {                                                                                              \
        emulated x = {.ps = a}, y = {.ps = b};                                                     \
        x.half_ps[0] = of_half(x.half_ps[0], y.half_ps[0]);                                        \
        x.half_ps[1] = of_half(x.half_ps[1], y.half_ps[1]);                                        \
        return x.ps;                                                                               \
    }
#define EMULATED_PS3(name, of_half)                                                                \
    EMULATED __m512 emulated_##name(__m512 a, __m512 b, __m512 c)                                  \
    {                                                                                              \
        emulated x = {.ps = a}, y = {.ps = b}, z = {.ps = c};                                      \
        x.half_ps[0] = of_half(x.half_ps[0], y.half_ps[0], z.half_ps[0]);                          \
        x.half_ps[1] = of_half(x.half_ps[1], y.half_ps[1], z.half_ps[1]);                          \
        return x.ps;                                                                               \
    }
#define EMULATED_SI2(name, of_half)                                                                \
    EMULATED __m512i emulated_##name(__m512i a, __m512i b)                                         \
    {                                                                                              \
        emulated x = {.si = a}, y = {.si = b};                                                     \
        x.half[0] = of_half(x.half[0], y.half[0]);                                                 \
        x.half[1] = of_half(x.half[1], y.half[1]);                                                 \
        return x.si;                                                                               \
    }
#define EMULATED_SHIFT(name, of_half)                                                              \
    EMULATED __m512i emulated_##name(__m512i a, int count)                                         \
    {                                                                                              \
        emulated x = {.si = a};                                                                    \
        x.half[0] = of_half(x.half[0], count);                                                     \
        x.half[1] = of_half(x.half[1], count);                                                     \
        return x.si;                                                                               \
    }

/* Loads, stores, constants, and views of the same bits. */
EMULATED __m512 emulated_loadu_ps(const void *from)
{
    emulated x;
    memcpy(&x, from, sizeof x);
    return x.ps;
}
EMULATED __m512i emulated_loadu_si512(const void *from)
{
    emulated x;
    memcpy(&x, from, sizeof x);
    return x.si;
}
EMULATED void emulated_storeu_ps(void *to, __m512 a)
{
    memcpy(to, &a, sizeof a);
}
EMULATED void emulated_storeu_si512(void *to, __m512i a)
{
    memcpy(to, &a, sizeof a);
}
/* The aligned ones trap where the instruction does. */
EMULATED const void *emulated_aligned(const void *at)
{
    if ((uintptr_t)at % 64)
        __builtin_trap();
    return at;
}
EMULATED __m512 emulated_load_ps(const void *from)
{
    return emulated_loadu_ps(emulated_aligned(from));
}
EMULATED __m512i emulated_load_si512(const void *from)
{
    return emulated_loadu_si512(emulated_aligned(from));
}
EMULATED void emulated_store_ps(void *to, __m512 a)
{
    emulated_aligned(to);
    emulated_storeu_ps(to, a);
}
EMULATED void emulated_store_si512(void *to, __m512i a)
{
    emulated_aligned(to);
    emulated_storeu_si512(to, a);
}
EMULATED __m512 emulated_set1_ps(float value)
{
    emulated x;
    x.half_ps[0] = x.half_ps[1] = _mm256_set1_ps(value);
    return x.ps;
}
EMULATED __m512i emulated_set1_epi32(int value)
{
    emulated x;
    x.half[0] = x.half[1] = _mm256_set1_epi32(value);
    return x.si;
}
EMULATED __m512i emulated_set1_epi16(short value)
{
    emulated x;
    x.half[0] = x.half[1] = _mm256_set1_epi16(value);
    return x.si;
}
EMULATED __m512i emulated_set1_epi8(char value)
{
    emulated x;
    x.half[0] = x.half[1] = _mm256_set1_epi8(value);
    return x.si;
}
EMULATED __m512i emulated_castps_si512(__m512 a)
{
    emulated x = {.ps = a};
    return x.si;
}
EMULATED __m512 emulated_castsi512_ps(__m512i a)
{
    emulated x = {.si = a};
    return x.ps;
}
EMULATED __m256i emulated_castsi512_si256(__m512i a)
{
    emulated x = {.si = a};
    return x.half[0];
}
EMULATED __m512i emulated_castsi256_si512(__m256i a)
{
    emulated x;
    x.half[0] = a;
    x.half[1] = _mm256_set1_epi8((char)0xa5); /* undefined, so no zeros to rely on */
    return x.si;
}
EMULATED __m512i emulated_inserti64x4(__m512i a, __m256i half, int which)
{
    emulated x = {.si = a};
    x.half[which & 1] = half;
    return x.si;
}
EMULATED __m256i emulated_extracti64x4(__m512i a, int which)
{
    emulated x = {.si = a};
    return x.half[which & 1];
}

/* Masked: the lanes that are not selected are zero, or stay as they are in memory. */
#define EMULATED_MASKED(bits, lanes, member)                                                       \
    EMULATED_CALL __m512i emulated_maskz_loadu_##bits(uint64_t mask, const void *from)             \
    {                                                                                              \
        emulated x;                                                                                \
        memset(&x, 0, sizeof x);                                                                   \
        for (int i = 0; i < lanes; i++)                                                            \
            if (mask >> i & 1)                                                                     \
                memcpy(&x.member[i], (const char *)from + i * (bits / 8), bits / 8);               \
        return x.si;                                                                               \
    }                                                                                              \
    EMULATED_CALL void emulated_mask_storeu_##bits(void *to, uint64_t mask, __m512i a)             \
    {                                                                                              \
        emulated x = {.si = a};                                                                    \
        for (int i = 0; i < lanes; i++)                                                            \
            if (mask >> i & 1)                                                                     \
                memcpy((char *)to + i * (bits / 8), &x.member[i], bits / 8);                       \
    }                                                                                              \
    EMULATED_CALL __m512i emulated_mask_mov_##bits(__m512i source, uint64_t mask, __m512i a)       \
    {                                                                                              \
        emulated x = {.si = a}, other = {.si = source};                                            \
        for (int i = 0; i < lanes; i++)                                                            \
            x.member[i] = mask >> i & 1 ? x.member[i] : other.member[i];                           \
        return x.si;                                                                               \
    }
EMULATED_MASKED(32, 16, ud)
EMULATED_MASKED(16, 32, uw)
EMULATED_MASKED(8, 64, ub)

EMULATED __m512 emulated_maskz_loadu_ps(__mmask16 mask, const void *from)
{
    if (mask == 0xffff)
        return emulated_loadu_ps(from);
    return emulated_castsi512_ps(emulated_maskz_loadu_32(mask, from));
}
EMULATED void emulated_mask_storeu_ps(void *to, __mmask16 mask, __m512 a)
{
    if (mask == 0xffff)
        emulated_storeu_ps(to, a);
    else
        emulated_mask_storeu_32(to, mask, emulated_castps_si512(a));
}
EMULATED __m512 emulated_mask_mov_ps(__m512 source, __mmask16 mask, __m512 a)
{
    return emulated_castsi512_ps(
        emulated_mask_mov_32(emulated_castps_si512(source), mask, emulated_castps_si512(a)));
}
#define EMULATED_ZERO_SI emulated_set1_epi32(0)
#define EMULATED_ZERO_PS emulated_set1_ps(0.0F)

/* Arithmetic of floats. */
EMULATED_PS2(add_ps, _mm256_add_ps)
EMULATED_PS2(sub_ps, _mm256_sub_ps)
EMULATED_PS2(mul_ps, _mm256_mul_ps)
EMULATED_PS2(div_ps, _mm256_div_ps)
EMULATED_PS2(min_ps, _mm256_min_ps)
EMULATED_PS2(max_ps, _mm256_max_ps)
EMULATED_PS3(fmadd_ps, _mm256_fmadd_ps)
EMULATED_PS3(fnmadd_ps, _mm256_fnmadd_ps)
#define emulated_half_abs(x) _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x)
EMULATED_PS1(abs_ps, emulated_half_abs)
#define emulated_half_nearest(x) _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
EMULATED_PS1(nearest_ps, emulated_half_nearest)
/* What infinities leave is 0. */
EMULATED __m256 emulated_half_rest_of(__m256 x, __m256 rounded)
{
    const __m256 infinite =
        _mm256_cmp_ps(emulated_half_abs(x), _mm256_set1_ps(INFINITY), _CMP_EQ_OQ);
    return _mm256_andnot_ps(infinite, _mm256_sub_ps(x, rounded));
}
#define emulated_half_rest(x)                                                                      \
    emulated_half_rest_of(x, _mm256_round_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC))
EMULATED_PS1(rest_ps, emulated_half_rest)
/* Rounding down makes a zero that is left negative, but for that of an infinity. */
EMULATED __m256 emulated_half_rest_above(__m256 x)
{
    const __m256 finite = _mm256_cmp_ps(emulated_half_abs(x), _mm256_set1_ps(INFINITY), _CMP_LT_OQ);
    const __m256 rest = emulated_half_rest_of(x, _mm256_floor_ps(x));
    const __m256 zero = _mm256_cmp_ps(rest, _mm256_setzero_ps(), _CMP_EQ_OQ);
    const __m256 sign = _mm256_and_ps(_mm256_and_ps(zero, finite), _mm256_set1_ps(-0.0F));
    return _mm256_or_ps(rest, sign);
}
EMULATED_PS1(rest_above_ps, emulated_half_rest_above)
/* The smaller magnitude of the two; a quiet NaN is no number, so the other one is. */
EMULATED __m256 emulated_half_least_magnitude(__m256 a, __m256 b)
{
    const __m256 x = emulated_half_abs(a), y = emulated_half_abs(b);
    return _mm256_blendv_ps(_mm256_min_ps(x, y), x, _mm256_cmp_ps(y, y, _CMP_UNORD_Q));
}
EMULATED_PS2(least_magnitude_ps, emulated_half_least_magnitude)

/* a * 2^floor(b), rounded once: the second of two powers alone can make a denormal. */
EMULATED __m256 emulated_half_scalef(__m256 a, __m256 b)
{
    const __m256 floor = _mm256_round_ps(b, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    const __m256 bounded =
        _mm256_max_ps(_mm256_min_ps(floor, _mm256_set1_ps(250.0F)), _mm256_set1_ps(-250.0F));
    const __m256i power = _mm256_cvtps_epi32(bounded);
    const __m256i first = _mm256_srai_epi32(power, 1);
    const __m256i one = _mm256_set1_epi32(127);
    const __m256i second = _mm256_sub_epi32(power, first);
    const __m256 first_factor =
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(first, one), 23));
    const __m256 second_factor =
        _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(second, one), 23));
    const __m256 scaled = _mm256_mul_ps(_mm256_mul_ps(a, first_factor), second_factor);
    return _mm256_blendv_ps(scaled, b, _mm256_cmp_ps(b, b, _CMP_UNORD_Q));
}
EMULATED_PS2(scalef_ps, emulated_half_scalef)

/* Halves, quarters and so on are joined in this order, as the compilers do. */
#define EMULATED_REDUCE(name, quarter)                                                             \
    EMULATED float emulated_reduce_##name##_ps(__m512 a)                                           \
    {                                                                                              \
        emulated x = {.ps = a};                                                                    \
        const __m256 half = _mm256_##name##_ps(x.half_ps[1], x.half_ps[0]);                        \
        __m128 sum = quarter(_mm256_extractf128_ps(half, 1), _mm256_castps256_ps128(half));        \
        sum = quarter(sum, _mm_movehl_ps(sum, sum));                                               \
        return _mm_cvtss_f32(quarter(sum, _mm_shuffle_ps(sum, sum, 1)));                           \
    }
EMULATED_REDUCE(add, _mm_add_ps)
EMULATED_REDUCE(min, _mm_min_ps)
EMULATED_REDUCE(max, _mm_max_ps)

/* Arithmetic of integers. */
EMULATED_SI2(add_epi32, _mm256_add_epi32)
EMULATED_SI2(adds_epi16, _mm256_adds_epi16)
EMULATED_SI2(max_epi16, _mm256_max_epi16)
EMULATED_SI2(max_epu16, _mm256_max_epu16)
EMULATED_SI2(sub_epi32, _mm256_sub_epi32)
EMULATED_SI2(mullo_epi32, _mm256_mullo_epi32)
EMULATED_SI2(and_si512, _mm256_and_si256)
EMULATED_SI2(or_si512, _mm256_or_si256)
EMULATED_SI2(madd_epi16, _mm256_madd_epi16)
EMULATED_SI2(maddubs_epi16, _mm256_maddubs_epi16)
EMULATED_SI2(packs_epi32, _mm256_packs_epi32)
EMULATED_SI2(packus_epi16, _mm256_packus_epi16)
EMULATED_SI2(unpacklo_epi16, _mm256_unpacklo_epi16)
EMULATED_SI2(unpackhi_epi16, _mm256_unpackhi_epi16)
EMULATED_SI2(unpacklo_epi32, _mm256_unpacklo_epi32)
EMULATED_SI2(unpackhi_epi32, _mm256_unpackhi_epi32)
EMULATED_SI2(unpacklo_epi64, _mm256_unpacklo_epi64)
EMULATED_SI2(unpackhi_epi64, _mm256_unpackhi_epi64)
EMULATED_SHIFT(slli_epi32, _mm256_slli_epi32)
EMULATED_SHIFT(srli_epi32, _mm256_srli_epi32)

/* The order of lanes. */
EMULATED_CALL __m512i emulated_permutexvar_epi32(__m512i order, __m512i a)
{
    emulated x = {.si = a}, from = {.si = order}, to;
    for (int i = 0; i < 16; i++)
        to.d[i] = x.d[from.d[i] & 15];
    return to.si;
}
EMULATED_CALL __m512i emulated_permutexvar_epi16(__m512i order, __m512i a)
{
    emulated x = {.si = a}, from = {.si = order}, to;
    for (int i = 0; i < 32; i++)
        to.w[i] = x.w[from.w[i] & 31];
    return to.si;
}
EMULATED_CALL __m512i emulated_permutex2var_epi16(__m512i a, __m512i order, __m512i b)
{
    emulated x = {.si = a}, y = {.si = b}, from = {.si = order}, to;
    for (int i = 0; i < 32; i++)
        to.w[i] = from.w[i] & 32 ? y.w[from.w[i] & 31] : x.w[from.w[i] & 31];
    return to.si;
}
EMULATED __m512 emulated_permutexvar_ps(__m512i order, __m512 a)
{
    emulated x = {.ps = a}, from = {.si = order}, to;
    for (int i = 0; i < 2; i++) {
        const __m256 low = _mm256_permutevar8x32_ps(x.half_ps[0], from.half[i]);
        const __m256 high = _mm256_permutevar8x32_ps(x.half_ps[1], from.half[i]);
        const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(from.half[i], 28));
        to.half_ps[i] = _mm256_blendv_ps(low, high, upper);
    }
    return to.ps;
}
EMULATED __m512i emulated_shuffle_i32x4(__m512i a, __m512i b, int order)
{
    emulated x = {.si = a}, y = {.si = b}, to;
    to.quarter[0] = x.quarter[order & 3];
    to.quarter[1] = x.quarter[order >> 2 & 3];
    to.quarter[2] = y.quarter[order >> 4 & 3];
    to.quarter[3] = y.quarter[order >> 6 & 3];
    return to.si;
}

/* Conversions. */
EMULATED __m512i emulated_cvtps_epi32(__m512 a)
{
    emulated x = {.ps = a};
    x.half[0] = _mm256_cvtps_epi32(x.half_ps[0]);
    x.half[1] = _mm256_cvtps_epi32(x.half_ps[1]);
    return x.si;
}
EMULATED __m512i emulated_cvttps_epi32(__m512 a)
{
    emulated x = {.ps = a};
    x.half[0] = _mm256_cvttps_epi32(x.half_ps[0]);
    x.half[1] = _mm256_cvttps_epi32(x.half_ps[1]);
    return x.si;
}
EMULATED __m512 emulated_cvtepi32_ps(__m512i a)
{
    emulated x = {.si = a};
    x.half_ps[0] = _mm256_cvtepi32_ps(x.half[0]);
    x.half_ps[1] = _mm256_cvtepi32_ps(x.half[1]);
    return x.ps;
}
EMULATED __m512i emulated_cvtepu16_epi32(__m256i a)
{
    emulated x;
    x.half[0] = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(a));
    x.half[1] = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1));
    return x.si;
}
EMULATED __m512i emulated_cvtepi8_epi32(__m128i a)
{
    emulated x;
    x.half[0] = _mm256_cvtepi8_epi32(a);
    x.half[1] = _mm256_cvtepi8_epi32(_mm_srli_si128(a, 8));
    return x.si;
}
EMULATED __m512 emulated_cvtph_ps(__m256i a)
{
    emulated x;
    x.half_ps[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(a));
    x.half_ps[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1));
    return x.ps;
}
EMULATED_CALL __m256i emulated_cvtepi32_epi16(__m512i a)
{
    emulated x = {.si = a}, to;
    for (int i = 0; i < 16; i++)
        to.uw[i] = (uint16_t)x.ud[i];
    return to.half[0];
}
EMULATED_CALL void emulated_mask_cvtepi32_storeu_epi8(void *to, __mmask16 mask, __m512i a)
{
    emulated x = {.si = a};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            ((uint8_t *)to)[i] = (uint8_t)x.ud[i];
}

/* bf16: to nearest even, denormals to zero, NaN quiet; b is the lower half. */
EMULATED_CALL __m512i emulated_cvtne2ps_pbh(__m512 a, __m512 b)
{
    emulated x[2] = {{.ps = b}, {.ps = a}}, to;
    for (int i = 0; i < 32; i++) {
        const uint32_t bits = x[i / 16].ud[i % 16], magnitude = bits & 0x7fffffff;
        const uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        const uint32_t tiny = magnitude < 0x00800000 ? bits >> 16 & 0x8000 : nearest;
        to.uw[i] = (uint16_t)(magnitude > 0x7f800000 ? bits >> 16 | 0x40 : tiny);
    }
    return to.si;
}
EMULATED float emulated_flushed(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0.0F, x) : x;
}
EMULATED float emulated_bf16(uint16_t bits)
{
    const uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return emulated_flushed(value);
}
/* vdpbf16ps: the odd products first; denormals count as zero, on the way in and out. */
EMULATED_CALL __m512 emulated_dpbf16_ps(__m512 sum, __m512i a, __m512i b)
{
    emulated to = {.ps = sum}, x = {.si = a}, y = {.si = b};
    for (int i = 0; i < 16; i++) {
        const float odd = fmaf(emulated_bf16(x.uw[2 * i + 1]), emulated_bf16(y.uw[2 * i + 1]),
                               emulated_flushed(to.f[i]));
        to.f[i] = emulated_flushed(
            fmaf(emulated_bf16(x.uw[2 * i]), emulated_bf16(y.uw[2 * i]), emulated_flushed(odd)));
    }
    return to.ps;
}
/* vpdpbusd: four products u8 * s8 to a 32-bit sum, which wraps. Their 16-bit halves in turn, since four at once
 * would saturate AVX2's sums. */
EMULATED __m256i emulated_half_dpbusd(__m256i sum, __m256i a, __m256i b)
{
    const __m256i a_even = _mm256_and_si256(a, _mm256_set1_epi16(0xff));
    const __m256i a_odd = _mm256_srli_epi16(a, 8);
    const __m256i b_even = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8);
    const __m256i b_odd = _mm256_srai_epi16(b, 8);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a_even, b_even));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a_odd, b_odd));
}
EMULATED_CALL __m512i emulated_dpbusd_epi32(__m512i sum, __m512i a, __m512i b)
{
    emulated to = {.si = sum}, x = {.si = a}, y = {.si = b};
    to.half[0] = emulated_half_dpbusd(to.half[0], x.half[0], y.half[0]);
    to.half[1] = emulated_half_dpbusd(to.half[1], x.half[1], y.half[1]);
    return to.si;
}

/* vpdpwssd: two products s16 * s16 to a 32-bit sum, which wraps. */
EMULATED __m512i emulated_dpwssd_epi32(__m512i sum, __m512i a, __m512i b)
{
    return emulated_add_epi32(sum, emulated_madd_epi16(a, b));
}

/* Comparisons give masks. */
EMULATED __mmask16 emulated_mask_of(__m256 low, __m256 high)
{
    return (__mmask16)(_mm256_movemask_ps(low) | _mm256_movemask_ps(high) << 8);
}
EMULATED __m256 emulated_half_ps(__m512 a, int which)
{
    emulated x = {.ps = a};
    return x.half_ps[which];
}
EMULATED __mmask16 emulated_testn_epi32_mask(__m512i a, __m512i b)
{
    emulated x = {.si = emulated_and_si512(a, b)};
    const __m256i zero = _mm256_setzero_si256();
    return emulated_mask_of(_mm256_castsi256_ps(_mm256_cmpeq_epi32(x.half[0], zero)),
                            _mm256_castsi256_ps(_mm256_cmpeq_epi32(x.half[1], zero)));
}

/* Each with the immediates that the kernels use. */
EMULATED __m512 emulated_roundscale_ps(__m512 a, int immediate)
{
    if (immediate != (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
        __builtin_trap();
    return emulated_nearest_ps(a);
}
EMULATED __m512 emulated_reduce_ps(__m512 a, int immediate)
{
    if (immediate == (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC))
        return emulated_rest_above_ps(a);
    if (immediate != (_MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC))
        __builtin_trap();
    return emulated_rest_ps(a);
}
EMULATED __m512 emulated_range_ps(__m512 a, __m512 b, int immediate)
{
    if (immediate != 10)
        __builtin_trap();
    return emulated_least_magnitude_ps(a, b);
}

#endif

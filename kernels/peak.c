#include "kernels/peak.h"

#include "kernels/levels.h"

#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    CHAINS = 12,
    RUNS = 5,
    STEPS = 400000
}; /* enough chains to hide the latency of the longest instruction */

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Each returns the operations of one step. The barriers keep the compiler from merging or dropping
 * the work. */
static double scalar_f32(void)
{
    float sums[CHAINS] = {0}, x = 0.999F, y = 1e-4F;
    for (long step = 0; step < STEPS; step++) {
        __asm__ volatile("" : "+m"(x), "+m"(y));
        for (int i = 0; i < CHAINS; i++)
            sums[i] = sums[i] * x + y;
    }
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" : : "m"(sums[i]));
    return CHAINS * 2;
}

static double scalar_int8(void)
{
    int32_t sums[CHAINS] = {0};
    int8_t x = 3;
    uint8_t y = 5;
    for (long step = 0; step < STEPS; step++) {
        __asm__ volatile("" : "+m"(x), "+m"(y));
        for (int i = 0; i < CHAINS; i++)
            sums[i] += x * y;
    }
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" : : "m"(sums[i]));
    return CHAINS * 2;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static double avx2_f32(void)
{
    __m256 sums[CHAINS], x = _mm256_set1_ps(0.999F), y = _mm256_set1_ps(1e-4F);
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm256_set1_ps(0.001F * (float)i);
    for (long step = 0; step < STEPS; step++) {
        __asm__ volatile("" : "+x"(x), "+x"(y));
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sums[i] = _mm256_fmadd_ps(sums[i], x, y);
    }
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" : : "x"(sums[i]));
    return CHAINS * 8 * 2;
}

/* As gemm_int7_avx2.c: four products' sums added in 16 bits, then widened. */
__attribute__((target("avx2,fma"))) static double avx2_int7(void)
{
    __m256i sums[CHAINS], x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(2),
                          ones = _mm256_set1_epi16(1);
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm256_set1_epi32(i);
    for (long step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            __m256i sum = sums[i], narrow, next;
            __asm__ volatile("vpmaddubsw %[y], %[x], %[narrow]\n\t"
                             "vpmaddubsw %[y], %[x], %[next]\n\t"
                             "vpaddw %[next], %[narrow], %[narrow]\n\t"
                             "vpmaddubsw %[y], %[x], %[next]\n\t"
                             "vpaddw %[next], %[narrow], %[narrow]\n\t"
                             "vpmaddubsw %[y], %[x], %[next]\n\t"
                             "vpaddw %[next], %[narrow], %[narrow]\n\t"
                             "vpmaddwd %[ones], %[narrow], %[narrow]\n\t"
                             "vpaddd %[narrow], %[sum], %[sum]"
                             : [sum] "+x"(sum), [narrow] "=&x"(narrow), [next] "=&x"(next)
                             : [x] "x"(x), [y] "x"(y), [ones] "x"(ones));
            sums[i] = sum;
        }
    }
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" : : "x"(sums[i]));
    return CHAINS * 128 * 2;
}

__attribute__((target("avx512f"))) static double avx512_f32(void)
{
    __m512 sums[CHAINS], x = _mm512_set1_ps(0.999F), y = _mm512_set1_ps(1e-4F);
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm512_set1_ps(0.001F * (float)i);
    for (long step = 0; step < STEPS; step++) {
        __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sums[i] = _mm512_fmadd_ps(sums[i], x, y);
    }
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" : : "v"(sums[i]));
    return CHAINS * 16 * 2;
}

__attribute__((target("avx512f,avx512vnni"))) static double vnni_int8(void)
{
    __m512i sums[CHAINS], x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(2);
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm512_set1_epi32(i);
    for (long step = 0; step < STEPS; step++) {
        __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sums[i] = _mm512_dpbusd_epi32(sums[i], x, y);
    }
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" : : "v"(sums[i]));
    return CHAINS * 64 * 2;
}

__attribute__((target("avx512f"))) static double dot_bf16(void)
{
    __m512 sums[CHAINS];
    __m512i x = _mm512_set1_epi16(0x3f7f), y = _mm512_set1_epi16(0x38d2); /* 0.996, 1e-4 */
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm512_set1_ps(0.001F * (float)i);
    for (long step = 0; step < STEPS; step++) {
        __asm__ volatile("" : "+v"(x), "+v"(y));
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            __m512 sum = sums[i];
            __asm__("vdpbf16ps %[y], %[x], %[sum]" : [sum] "+v"(sum) : [x] "v"(x), [y] "v"(y));
            sums[i] = sum;
        }
    }
    for (int i = 0; i < CHAINS; i++)
        __asm__ volatile("" : : "v"(sums[i]));
    return CHAINS * 32 * 2;
}

static double amx_int8(void)
{
    return kern_amx_chain(KERN_INT8, STEPS);
}

static double amx_bf16(void)
{
    return kern_amx_chain(KERN_BF16, STEPS);
}

static double amx_split(void)
{
    return kern_amx_chain(KERN_SPLIT_BF16, STEPS);
}
#endif

static unsigned read_plain(const void *memory, size_t size)
{
    const uint64_t *words = memory;
    uint64_t sum = 0;
    for (size_t i = 0; i < size / sizeof *words; i++)
        sum += words[i];
    return (unsigned)(sum ^ (sum >> 32));
}

#if defined(__x86_64__)
/* Eight sums, so that loads and not additions are the limit. */
__attribute__((target("avx2"))) static unsigned read_avx2(const void *memory, size_t size)
{
    const __m256i *lines = memory;
    __m256i sums[8];
    for (int i = 0; i < 8; i++)
        sums[i] = _mm256_setzero_si256();
    for (size_t at = 0; at < size / sizeof *lines; at += 8)
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++)
            sums[i] = _mm256_add_epi64(sums[i], _mm256_load_si256(lines + at + i));
    for (int i = 1; i < 8; i++)
        sums[0] = _mm256_add_epi64(sums[0], sums[i]);
    return (unsigned)_mm256_extract_epi32(sums[0], 0) ^ (unsigned)_mm256_extract_epi32(sums[0], 4);
}
#endif

unsigned kern_read(const void *memory, size_t size)
{
#if defined(__x86_64__)
    if (kern_level_available(KERN_AVX2))
        return read_avx2(memory, size);
#endif
    return read_plain(memory, size);
}

typedef double chain(void);

static chain *find_chain(enum kern_level level, enum kern_scheme scheme)
{
    if (level == KERN_OPENBLAS)
        level = kern_best_level();
#if defined(__x86_64__)
    if (level >= KERN_AMX &&
        (scheme == KERN_INT8 || scheme == KERN_BF16 || scheme == KERN_SPLIT_BF16))
        return scheme == KERN_INT8 ? amx_int8 : scheme == KERN_BF16 ? amx_bf16 : amx_split;
    if (level >= KERN_VNNI && scheme == KERN_INT8)
        return vnni_int8;
    if (level >= KERN_VNNI && scheme == KERN_BF16 && kern_has_bf16_dot())
        return dot_bf16;
    if (level >= KERN_AVX2 && scheme == KERN_INT7)
        return avx2_int7;
    if (level >= KERN_AVX512 && scheme != KERN_INT8)
        return avx512_f32;
    if (level >= KERN_AVX2 && scheme != KERN_INT8)
        return avx2_f32;
#endif
    return kern_is_quantised(scheme) ? scalar_int8 : scalar_f32;
}

double kern_peak_gops(enum kern_level level, enum kern_scheme scheme)
{
    chain *run = find_chain(level, scheme);
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        double start = seconds_now();
        double operations = run() * STEPS;
        double gops = 1e-9 * operations / (seconds_now() - start);
        if (gops > best)
            best = gops;
    }
    return best;
}

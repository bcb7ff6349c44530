/* probe.c: what this CPU has and its operating system lets programs use. */
#include "kernels/levels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Register state that the operating system saves and restores: XCR0. Instructions whose state it
 * does not save must not be used, whatever CPUID says of the CPU. */
static uint64_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has_all(uint64_t bits, uint64_t wanted)
{
    return (bits & wanted) == wanted;
}

enum kern_level kern_best_level(void)
{
    const unsigned leaf1 = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
    const uint64_t ymm_state = 0x06; /* SSE, AVX */
    const uint64_t zmm_state = 0xe6; /* and the masks, the upper halves, registers 16 to 31 */
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, leaf1))
        return KERN_OPENBLAS;
    const uint64_t state = saved_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has_all(b, bit_AVX2) ||
        !has_all(state, ymm_state))
        return KERN_OPENBLAS;
    if (!has_all(b, avx512) || !has_all(state, zmm_state))
        return KERN_AVX2;
    if (!has_all(c, bit_AVX512VNNI))
        return KERN_AVX512;
    return kern_amx_usable() ? KERN_AMX : KERN_VNNI;
}

int kern_has_bf16_dot(void)
{
    const unsigned avx512_bf16 = 1u << 5;
    unsigned a, b, c, d;
    return kern_best_level() >= KERN_AVX512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           has_all(a, avx512_bf16);
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

/* The kernel says what the CPU has and the system lets programs use. */
enum kern_level kern_best_level(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? KERN_DOTPROD : KERN_NEON;
}
#else
enum kern_level kern_best_level(void)
{
    return KERN_OPENBLAS;
}
#endif

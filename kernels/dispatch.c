/* dispatch.c: which levels this machine can run, and the table for one of them. */
#include <string.h>

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

static enum kern_level probe(void)
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
    return probe() >= KERN_AVX512 && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           has_all(a, avx512_bf16);
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

/* The kernel says what the CPU has and the system lets programs use. */
static enum kern_level probe(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? KERN_DOTPROD : KERN_NEON;
}
#else
static enum kern_level probe(void)
{
    return KERN_OPENBLAS;
}
#endif

static const char *const level_names[KERN_LEVELS] = {
    [KERN_SCALAR] = "scalar",   [KERN_OPENBLAS] = "openblas", [KERN_NEON] = "neon",
    [KERN_DOTPROD] = "dotprod", [KERN_AVX2] = "avx2",         [KERN_AVX512] = "avx512",
    [KERN_VNNI] = "vnni",       [KERN_AMX] = "amx",
};

enum kern_level kern_best_level(void)
{
    return probe();
}

int kern_level_native(enum kern_level level)
{
    if (level == KERN_SCALAR || level == KERN_OPENBLAS)
        return 1;
#if defined(__x86_64__)
    return level >= KERN_AVX2 && level < KERN_LEVELS;
#elif defined(__aarch64__)
    return level >= KERN_NEON && level < KERN_AVX2;
#else
    return 0;
#endif
}

int kern_level_available(enum kern_level level)
{
    return kern_level_native(level) && level <= probe();
}

const char *kern_level_name(enum kern_level level)
{
    return level >= KERN_SCALAR && level < KERN_LEVELS ? level_names[level] : NULL;
}

enum kern_level kern_level_from_name(const char *name)
{
    for (int level = 0; name && level < KERN_LEVELS; level++) {
        if (strcmp(name, level_names[level]) == 0)
            return (enum kern_level)level;
    }
    return KERN_LEVELS;
}

void kern_table_init(struct kern_table *table, enum kern_level level)
{
    const enum kern_level base = level == KERN_OPENBLAS ? probe() : level;
    kern_overlay_scalar(table);
    table->level = base;
#if defined(__x86_64__)
    if (base >= KERN_AVX2)
        kern_overlay_avx2(table);
    if (base >= KERN_AVX512)
        kern_overlay_avx512(table);
    if (base >= KERN_VNNI)
        kern_overlay_vnni(table);
    if (base >= KERN_AMX)
        kern_overlay_amx(table);
#elif defined(__aarch64__)
    if (base >= KERN_NEON)
        kern_overlay_neon(table);
    if (base >= KERN_DOTPROD)
        kern_overlay_dotprod(table);
#endif
    if (level == KERN_OPENBLAS)
        kern_overlay_openblas(table);
    table->level = level;
    table->name = level_names[level];
}

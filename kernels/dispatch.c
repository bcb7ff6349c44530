/* dispatch.c: levels by name, and the table for one of them. */
#include <string.h>

#include "kernels/levels.h"

static const char *const level_names[KERN_LEVELS] = {
    [KERN_SCALAR] = "scalar",   [KERN_OPENBLAS] = "openblas", [KERN_NEON] = "neon",
    [KERN_DOTPROD] = "dotprod", [KERN_AVX2] = "avx2",         [KERN_AVX512] = "avx512",
    [KERN_VNNI] = "vnni",       [KERN_AMX] = "amx",
};

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
    return kern_level_native(level) && level <= kern_best_level();
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
    const enum kern_level base = level == KERN_OPENBLAS ? kern_best_level() : level;
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

/* In place of kernels/probe.c: every level is available where the emulation can run. */
#include "kernels/levels.h"

enum kern_level kern_best_level(void)
{
    /* and F16C, which came before both of them */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? KERN_AMX
                                                                           : KERN_OPENBLAS;
}

int kern_has_bf16_dot(void)
{
    return kern_best_level() == KERN_AMX;
}

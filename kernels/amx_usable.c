/* amx_usable.c: whether the tile instructions may be used here. */
#include "kernels/levels.h"

#include <cpuid.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

/* The tile registers are 8 KB, which Linux saves only for processes that have asked for it. */
static int permitted(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, (long)TILE_DATA) == 0;
}
#else
static int permitted(void)
{
    return 0;
}
#endif

int kern_amx_usable(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, AVX512_BF16 = 1 << 5 };
    const unsigned amx = AMX_BF16 | AMX_TILE | AMX_INT8;
    const uint32_t tile_state = 0x60000; /* configuration and data, in XCR0 */
    unsigned a, b, c, d;
    uint32_t low, high;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & amx) != amx)
        return 0;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & AVX512_BF16))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & tile_state) == tile_state && permitted();
}

#include "engine/memory.h"

#include <stdint.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

void *engine_memory_map(size_t size)
{
    if (size == 0 || size > SIZE_MAX - HUGE_PAGE)
        return NULL;
    /* Only a range aligned to a huge page gets one: map more, and give back what lies outside. */
    size_t extra = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    char *base =
        mmap(NULL, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (!extra)
        return base;
    size_t page = 4096;
    size_t before = (HUGE_PAGE - (uintptr_t)base % HUGE_PAGE) % HUGE_PAGE;
    char *start = base + before;
    char *end = start + (size + page - 1) / page * page;
    if (before)
        munmap(base, before);
    if (end < base + size + extra)
        munmap(end, (size_t)(base + size + extra - end));
    madvise(start, size, MADV_HUGEPAGE);
    return start;
}

void engine_memory_unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}

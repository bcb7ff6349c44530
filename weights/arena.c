#include "weights/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 64 };

struct weights_block {
    struct weights_block *next;
    char padding[ARENA_ALIGN - sizeof(struct weights_block *)]; /* what follows is aligned */
};

void *weights_arena_alloc(struct weights_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - 2 * (size_t)ARENA_ALIGN)
        return NULL;
    bytes = (sizeof(struct weights_block) + bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    struct weights_block *block = aligned_alloc(ARENA_ALIGN, bytes);
    if (!block)
        return NULL;
    memset(block, 0, bytes);
    block->next = arena->blocks;
    arena->blocks = block;
    return block + 1;
}

char *weights_arena_copy(struct weights_arena *arena, const char *string)
{
    size_t bytes = strlen(string) + 1;
    char *copy = weights_arena_alloc(arena, bytes, 1);
    if (copy)
        memcpy(copy, string, bytes);
    return copy;
}

void weights_arena_free(struct weights_arena *arena)
{
    while (arena->blocks) {
        struct weights_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

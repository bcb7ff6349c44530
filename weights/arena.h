/* arena.h: memory that lives as long as a model does, and is freed with it. */
#ifndef WEIGHTS_ARENA_H
#define WEIGHTS_ARENA_H

#include <stddef.h>

struct weights_block;

/* Zero-initialise. */
struct weights_arena {
    struct weights_block *blocks;
};

/* count * size zeroed bytes, aligned to 64; NULL without memory or where the product overflows. */
void *weights_arena_alloc(struct weights_arena *arena, size_t count, size_t size);
/* A copy of a string; NULL without memory. */
char *weights_arena_copy(struct weights_arena *arena, const char *string);
void weights_arena_free(struct weights_arena *arena);

#endif

/* memory.h: large blocks that arithmetic streams through. */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stddef.h>

/* Zeroed memory on pages as large as the system grants, so that streaming through weights misses
 * the TLB less. Aligned to 64 at least. NULL when there is none, or size is 0. */
void *engine_memory_map(size_t size);
/* memory may be NULL. */
void engine_memory_unmap(void *memory, size_t size);

#endif

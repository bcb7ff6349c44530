/* ring.h: a queue of bounded size from many threads to one, without locks: D. Vyukov's bounded queue.
 * Each place has a number that says whose turn it is, so that a thread that is stopped in the middle
 * of a push holds up no other push, and the pops only behind its own. */
#ifndef SERVER_RING_H
#define SERVER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_ring;

/* places: a power of two. NULL when memory runs out. */
struct server_ring *server_ring_create(size_t places);
/* What is still in it is the caller's. NULL is ignored. */
void server_ring_free(struct server_ring *ring);

/* Adds an item that is not NULL; false where all places are taken. From any thread. */
bool server_ring_push(struct server_ring *ring, void *item);
/* The oldest item; NULL where there is none. From one thread at a time. */
void *server_ring_pop(struct server_ring *ring);
/* Whether there is nothing to pop, in one order with pushes and all other sequentially consistent
 * operations. */
bool server_ring_empty(const struct server_ring *ring);
/* Places given out so far, and items taken: an item that was pushed before has been taken once the
 * second has reached the first. */
uint64_t server_ring_given(const struct server_ring *ring);
uint64_t server_ring_taken(const struct server_ring *ring);

#endif

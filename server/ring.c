/* ring.c: see ring.h. */
#include "server/ring.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A place is free for push number n while its turn is n, and holds what that pushed while it is
 * n + 1. */
struct place {
    atomic_ullong turn;
    void *item;
};

struct server_ring {
    size_t mask;
    _Alignas(64) atomic_ullong given; /* by those who push */
    _Alignas(64) atomic_ullong taken; /* by the one who pops */
    struct place places[];
};

struct server_ring *server_ring_create(size_t places)
{
    size_t size = sizeof(struct server_ring) + places * sizeof(struct place), i;
    struct server_ring *ring = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!ring)
        return NULL;
    ring->mask = places - 1;
    atomic_init(&ring->given, 0);
    atomic_init(&ring->taken, 0);
    for (i = 0; i < places; i++) {
        atomic_init(&ring->places[i].turn, i);
        ring->places[i].item = NULL;
    }
    return ring;
}

void server_ring_free(struct server_ring *ring)
{
    free(ring);
}

bool server_ring_push(struct server_ring *ring, void *item)
{
    unsigned long long number = atomic_load_explicit(&ring->given, memory_order_relaxed);
    for (;;) {
        struct place *place = &ring->places[number & ring->mask];
        unsigned long long turn = atomic_load_explicit(&place->turn, memory_order_acquire);
        if (turn == number) {
            if (!atomic_compare_exchange_weak_explicit(&ring->given, &number, number + 1,
                                                       memory_order_relaxed, memory_order_relaxed))
                continue;
            place->item = item;
            /* in one order with whatever tells the one who pops, see prediction_log.c */
            atomic_store(&place->turn, number + 1);
            return true;
        }
        if (turn < number)
            return false; /* still holds what was pushed a round before */
        number = atomic_load_explicit(&ring->given, memory_order_relaxed);
    }
}

void *server_ring_pop(struct server_ring *ring)
{
    unsigned long long number = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    struct place *place = &ring->places[number & ring->mask];
    void *item;
    if (atomic_load(&place->turn) != number + 1)
        return NULL;
    item = place->item;
    atomic_store_explicit(&place->turn, number + ring->mask + 1, memory_order_release);
    atomic_store_explicit(&ring->taken, number + 1, memory_order_release);
    return item;
}

bool server_ring_empty(const struct server_ring *ring)
{
    unsigned long long number = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    return atomic_load(&ring->places[number & ring->mask].turn) != number + 1;
}

uint64_t server_ring_given(const struct server_ring *ring)
{
    return atomic_load(&ring->given);
}

uint64_t server_ring_taken(const struct server_ring *ring)
{
    return atomic_load_explicit(&ring->taken, memory_order_acquire);
}

/* peers.c: see peers.h. A hash table with linear probing, never more than half full. */
#include "server/peers.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct peer {
    uint64_t key;
    int count; /* 0: the place is free */
};

struct server_peers {
    pthread_mutex_t lock;
    uint64_t seed;
    size_t mask; /* places - 1 */
    struct peer *places;
};

/* Tells addresses apart; 0 for those that are not counted. */
static uint64_t key_of(const struct sockaddr *address)
{
    uint64_t high, low;
    uint32_t v4;
    if (address && address->sa_family == AF_INET) {
        memcpy(&v4, &((const struct sockaddr_in *)(const void *)address)->sin_addr, sizeof(v4));
        return (uint64_t)v4 << 32 | 1;
    }
    if (!address || address->sa_family != AF_INET6)
        return 0;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    memcpy(&high, v6->s6_addr, sizeof(high));
    memcpy(&low, v6->s6_addr + 8, sizeof(low));
    if (IN6_IS_ADDR_V4MAPPED(v6)) {
        memcpy(&v4, v6->s6_addr + 12, sizeof(v4));
        return (uint64_t)v4 << 32 | 1;
    }
    return high ? high : low | 1; /* ::1 and the like have nothing in the first half */
}

struct server_peers *server_peers_create(int addresses)
{
    struct server_peers *peers = calloc(1, sizeof(*peers));
    size_t places = 16;
    if (!peers)
        return NULL;
    while (places < 2 * (size_t)addresses + 2)
        places *= 2;
    peers->mask = places - 1;
    peers->places = calloc(places, sizeof(*peers->places));
    if (!peers->places || pthread_mutex_init(&peers->lock, NULL)) {
        free(peers->places);
        free(peers);
        return NULL;
    }
    /* nobody outside can choose addresses that collide */
    if (getrandom(&peers->seed, sizeof(peers->seed), GRND_NONBLOCK) < 0)
        peers->seed = (uint64_t)(uintptr_t)peers;
    return peers;
}

void server_peers_free(struct server_peers *peers)
{
    if (!peers)
        return;
    pthread_mutex_destroy(&peers->lock);
    free(peers->places);
    free(peers);
}

static size_t home_of(const struct server_peers *peers, uint64_t key)
{
    uint64_t x = (key ^ peers->seed) * 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 32)) * 0xD6E8FEB86659FD93U;
    return (size_t)(x ^ (x >> 32)) & peers->mask;
}

/* Where a key is, or where it would go. */
static size_t place_of(const struct server_peers *peers, uint64_t key)
{
    size_t i = home_of(peers, key);
    while (peers->places[i].count > 0 && peers->places[i].key != key)
        i = (i + 1) & peers->mask;
    return i;
}

/* Frees a place, and moves those behind it that a search would no longer find. */
static void free_place(struct server_peers *peers, size_t hole)
{
    size_t i = hole;
    peers->places[hole].count = 0;
    for (i = (i + 1) & peers->mask; peers->places[i].count > 0; i = (i + 1) & peers->mask) {
        size_t home = home_of(peers, peers->places[i].key);
        if (((i - home) & peers->mask) < ((i - hole) & peers->mask))
            continue; /* its home is behind the hole */
        peers->places[hole] = peers->places[i];
        peers->places[i].count = 0;
        hole = i;
    }
}

bool server_peers_enter(struct server_peers *peers, const struct sockaddr *address, int limit)
{
    uint64_t key = key_of(address);
    struct peer *peer;
    bool enters;
    if (!key)
        return true;
    pthread_mutex_lock(&peers->lock);
    peer = &peers->places[place_of(peers, key)];
    enters = peer->count < limit;
    if (enters) {
        peer->key = key;
        peer->count++;
    }
    pthread_mutex_unlock(&peers->lock);
    return enters;
}

void server_peers_leave(struct server_peers *peers, const struct sockaddr *address)
{
    uint64_t key = key_of(address);
    size_t place;
    if (!key)
        return;
    pthread_mutex_lock(&peers->lock);
    place = place_of(peers, key);
    if (peers->places[place].count > 0 && --peers->places[place].count == 0)
        free_place(peers, place);
    pthread_mutex_unlock(&peers->lock);
}

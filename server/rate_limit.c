/* rate_limit.c: see rate_limit.h. */
#include "server/rate_limit.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    SETS = 8192, /* of the table: 8192 x 8 buckets, 1 MB */
    WAYS = 8,
    LOCKS = 64,
    SECRET = 16,
    MOST = 1000000 /* requests, in a rate and in a burst */
};

struct bucket {
    uint64_t who; /* 0: free */
    _Atomic int64_t full;
};

struct server_rate_table {
    unsigned char secret[SECRET];
    pthread_mutex_t locks[LOCKS]; /* lock i is of the sets whose number leaves i */
    struct bucket sets[SETS][WAYS];
};

/* ---- rates ---- */

/* A number from 1 to MOST at *text, which is moved behind it. */
static bool read_number(const char **text, int64_t *number)
{
    *number = 0;
    if (**text < '0' || **text > '9')
        return false;
    while (**text >= '0' && **text <= '9') {
        *number = *number * 10 + (*(*text)++ - '0');
        if (*number > MOST)
            return false;
    }
    return *number >= 1;
}

bool server_rate_parse(const char *text, struct server_rate *rate)
{
    int64_t number, burst, period;
    if (!read_number(&text, &number) || *text++ != '/')
        return false;
    switch (*text++) {
    case 's':
        period = 1000000000;
        break;
    case 'm':
        period = 60 * (int64_t)1000000000;
        break;
    case 'h':
        period = 3600 * (int64_t)1000000000;
        break;
    default:
        return false;
    }
    burst = number;
    if (*text == ':' && (text++, !read_number(&text, &burst)))
        return false;
    if (*text)
        return false;
    rate->interval = period / number;
    rate->depth = burst * rate->interval;
    return true;
}

/* ---- one bucket ---- */

int64_t server_rate_take(const struct server_rate *rate, _Atomic int64_t *bucket, int64_t now)
{
    int64_t full = atomic_load_explicit(bucket, memory_order_relaxed), after;
    do {
        after = (full > now ? full : now) + rate->interval;
        if (after - now > rate->depth)
            return after - now - rate->depth;
    } while (!atomic_compare_exchange_weak_explicit(bucket, &full, after, memory_order_relaxed,
                                                    memory_order_relaxed));
    return 0;
}

void server_rate_give_back(const struct server_rate *rate, _Atomic int64_t *bucket)
{
    atomic_fetch_sub_explicit(bucket, rate->interval, memory_order_relaxed);
}

/* ---- the table ---- */

struct server_rate_table *server_rate_table_create(void)
{
    struct server_rate_table *table = calloc(1, sizeof(*table));
    int i;
    if (!table)
        return NULL;
    if (gnutls_rnd(GNUTLS_RND_RANDOM, table->secret, sizeof(table->secret)) < 0) {
        free(table);
        return NULL;
    }
    for (i = 0; i < LOCKS; i++)
        pthread_mutex_init(&table->locks[i], NULL);
    return table;
}

void server_rate_table_free(struct server_rate_table *table)
{
    int i;
    if (!table)
        return;
    for (i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&table->locks[i]);
    free(table);
}

/* A number that nobody without the secret can foresee; never 0. */
static uint64_t number_of(const struct server_rate_table *table, const void *who, size_t length)
{
    unsigned char digest[32];
    uint64_t number = 1;
    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, table->secret, SECRET, who, length, digest) == 0)
        memcpy(&number, digest, sizeof(number));
    return number ? number : 1;
}

/* The bucket of a number in its set, which is locked: its own, else a place that it takes over. */
static struct bucket *bucket_of(struct bucket *set, uint64_t who)
{
    struct bucket *found = &set[0];
    int i;
    for (i = 0; i < WAYS; i++) {
        if (set[i].who == who)
            return &set[i];
        if (atomic_load_explicit(&set[i].full, memory_order_relaxed) <
            atomic_load_explicit(&found->full, memory_order_relaxed))
            found = &set[i];
    }
    found->who = who;
    atomic_store_explicit(&found->full, 0, memory_order_relaxed);
    return found;
}

int64_t server_rate_table_take(struct server_rate_table *table, const struct server_rate *rate,
                               const void *who, size_t length, int64_t now)
{
    uint64_t number = number_of(table, who, length);
    size_t set = (size_t)(number % SETS);
    int64_t wait;
    pthread_mutex_lock(&table->locks[set % LOCKS]);
    wait = server_rate_take(rate, &bucket_of(table->sets[set], number)->full, now);
    pthread_mutex_unlock(&table->locks[set % LOCKS]);
    return wait;
}

void server_rate_table_give_back(struct server_rate_table *table, const struct server_rate *rate,
                                 const void *who, size_t length)
{
    uint64_t number = number_of(table, who, length);
    size_t set = (size_t)(number % SETS);
    pthread_mutex_lock(&table->locks[set % LOCKS]);
    server_rate_give_back(rate, &bucket_of(table->sets[set], number)->full);
    pthread_mutex_unlock(&table->locks[set % LOCKS]);
}

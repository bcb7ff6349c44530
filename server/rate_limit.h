/* rate_limit.h: how often somebody may ask, as a token bucket.
 *
 * A bucket is one number (the generic cell rate algorithm): the time at which it will be full
 * again. Those of named keys belong to the keys; those of addresses and of everyone else stand in a
 * table of fixed size, which a client with many addresses can neither make grow nor aim at: where an
 * address stands depends on a secret, and a new one takes the place that would be full soonest. */
#ifndef SERVER_RATE_LIMIT_H
#define SERVER_RATE_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_rate {
    int64_t interval; /* nanoseconds in which one request comes back; 0: no limit */
    int64_t depth;    /* nanoseconds that the bucket holds: the burst times the interval */
};

/* Reads N/s, N/m or N/h, with :BURST where that is not N: numbers from 1 to 1000000. */
bool server_rate_parse(const char *text, struct server_rate *rate);

/* Takes one request out of a bucket (0 before its first). 0 where there was one; else the
 * nanoseconds until there will be. now is server_now(). */
int64_t server_rate_take(const struct server_rate *rate, _Atomic int64_t *bucket, int64_t now);
/* Puts one back. */
void server_rate_give_back(const struct server_rate *rate, _Atomic int64_t *bucket);

struct server_rate_table;

/* NULL when memory runs out. */
struct server_rate_table *server_rate_table_create(void);
void server_rate_table_free(struct server_rate_table *table);
/* The same as server_rate_take for the bucket of whom length bytes describe. */
int64_t server_rate_table_take(struct server_rate_table *table, const struct server_rate *rate,
                               const void *who, size_t length, int64_t now);
void server_rate_table_give_back(struct server_rate_table *table, const struct server_rate *rate,
                                 const void *who, size_t length);

#endif

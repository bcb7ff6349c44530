/* body.c: see body.h. */
#include "server/body.h"

#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/internal.h"

/* What a body takes of the room that all have. A small one takes none, so that it is never refused for the sake of large ones:
 * those are bounded by the number of connections. */
static size_t share(size_t capacity)
{
    return capacity > SERVER_SMALL_BODY ? capacity : 0;
}

/* Whether so many bytes fit beside what others hold. */
static bool fits(const struct server *server, size_t held, uint64_t bytes)
{
    return held <= server->options.max_bodies && bytes <= server->options.max_bodies - held;
}

static bool take_room(struct server *server, size_t bytes)
{
    if (fits(server, atomic_fetch_add_explicit(&server->bodies, bytes, memory_order_relaxed),
             bytes))
        return true;
    atomic_fetch_sub_explicit(&server->bodies, bytes, memory_order_relaxed);
    return false;
}

static void give_up(struct server_exchange *exchange)
{
    server_body_free(exchange);
    exchange->body_length = 0;
}

static void refuse(struct server_exchange *exchange)
{
    give_up(exchange);
    server_fail_handed(exchange, SERVER_OUTCOME_FULL, "large requests");
}

bool server_body_fits(struct server_exchange *exchange, uint64_t bytes)
{
    struct server *server = exchange->server;
    if (bytes <= SERVER_SMALL_BODY ||
        fits(server, atomic_load_explicit(&server->bodies, memory_order_relaxed), bytes))
        return true;
    refuse(exchange);
    return false;
}

/* By doubling, so that a body in small pieces is not moved again and again. */
static size_t capacity_for(const struct server_exchange *exchange, size_t wanted)
{
    const size_t most = exchange->server->options.max_body;
    size_t capacity = exchange->body_capacity ? exchange->body_capacity : SERVER_SMALL_BODY;
    while (capacity < wanted)
        capacity *= 2;
    return capacity > most && capacity > SERVER_SMALL_BODY ? most : capacity;
}

/* False where 503 or 500 has been answered. */
static bool grow(struct server_exchange *exchange, size_t wanted)
{
    size_t capacity = capacity_for(exchange, wanted);
    size_t more = share(capacity) - share(exchange->body_capacity);
    char *body;
    if (!take_room(exchange->server, more)) {
        refuse(exchange);
        return false;
    }
    body = realloc(exchange->body, capacity);
    if (!body) {
        atomic_fetch_sub_explicit(&exchange->server->bodies, more, memory_order_relaxed);
        give_up(exchange);
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return false;
    }
    exchange->body = body;
    exchange->body_capacity = capacity;
    return true;
}

void server_body_add(struct server_exchange *exchange, const char *data, size_t size)
{
    size_t length = exchange->body_length + size;
    if (length > exchange->body_capacity && !grow(exchange, length))
        return;
    memcpy(exchange->body + exchange->body_length, data, size);
    exchange->body_length = length;
}

void server_body_free(struct server_exchange *exchange)
{
    size_t held = share(exchange->body_capacity);
    if (held > 0)
        atomic_fetch_sub_explicit(&exchange->server->bodies, held, memory_order_relaxed);
    free(exchange->body);
    exchange->body = NULL;
    exchange->body_capacity = 0;
}

/* connections.c: see connections.h. */
#include "server/connections.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum {
    WAITING_BITS = 3, /* of the state */
    WAITING_MASK = (1 << WAITING_BITS) - 1,
    /* A body's rate is looked at once this part of its time is over: it may start slowly. */
    GRACE_PART = 6
};

struct server_connections {
    pthread_mutex_t lock;
    struct server_connection *first;
};

/* Milliseconds, as coarse as the kernel's tick, and cheap. */
static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct server_connections *server_connections_create(void)
{
    struct server_connections *connections = calloc(1, sizeof(*connections));
    if (connections && pthread_mutex_init(&connections->lock, NULL)) {
        free(connections);
        return NULL;
    }
    return connections;
}

void server_connections_free(struct server_connections *connections)
{
    if (!connections)
        return;
    pthread_mutex_destroy(&connections->lock);
    free(connections);
}

struct server_connection *server_connections_add(struct server_connections *connections, int fd)
{
    struct server_connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return NULL;
    connection->fd = fd;
    server_connection_wait(connection, SERVER_WAITING_FIRST);
    pthread_mutex_lock(&connections->lock);
    connection->next = connections->first;
    if (connection->next)
        connection->next->previous = connection;
    connections->first = connection;
    pthread_mutex_unlock(&connections->lock);
    return connection;
}

void server_connections_remove(struct server_connections *connections,
                               struct server_connection *connection)
{
    if (!connection)
        return;
    pthread_mutex_lock(&connections->lock);
    if (connection->next)
        connection->next->previous = connection->previous;
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        connections->first = connection->next;
    pthread_mutex_unlock(&connections->lock);
    free(connection);
}

void server_connection_wait(struct server_connection *connection, enum server_waiting waiting)
{
    if (!connection)
        return;
    if (waiting == SERVER_WAITING_BODY)
        atomic_store_explicit(&connection->received, 0, memory_order_relaxed);
    /* one store, so that the sweep never sees a new step with the time of the old one */
    atomic_store_explicit(&connection->state, now_ms() << WAITING_BITS | waiting,
                          memory_order_release);
}

void server_connection_received(struct server_connection *connection, size_t bytes)
{
    if (connection)
        atomic_fetch_add_explicit(&connection->received, bytes, memory_order_relaxed);
}

/* Whether a body that has been on its way for so long has come too slowly. */
static bool is_too_slow(const struct server_connection *connection,
                        const struct server_limits *limits, uint64_t elapsed)
{
    uint64_t received = atomic_load_explicit(&connection->received, memory_order_relaxed);
    uint64_t grace = (uint64_t)limits->body_timeout * 1000 / GRACE_PART;
    return elapsed > grace && received * 1000 < (uint64_t)limits->min_rate * elapsed;
}

/* Why a connection is to be closed; SERVER_COUNTERS where it is not. */
static enum server_counter overdue(const struct server_connection *connection,
                                   const struct server_limits *limits, uint64_t now)
{
    uint64_t state = atomic_load_explicit(&connection->state, memory_order_acquire);
    uint64_t since = state >> WAITING_BITS, elapsed = now > since ? now - since : 0;
    uint64_t header = (uint64_t)limits->header_timeout * 1000;
    switch ((enum server_waiting)(state & WAITING_MASK)) {
    case SERVER_WAITING_FIRST:
    case SERVER_WAITING_HEADERS:
        return elapsed > header ? SERVER_COUNT_CLOSED_HEADER : SERVER_COUNTERS;
    case SERVER_WAITING_NEXT:
        /* when its first byte came is not known: not after the library would have closed it */
        return elapsed > header + (uint64_t)limits->idle_timeout * 1000 ? SERVER_COUNT_CLOSED_HEADER
                                                                        : SERVER_COUNTERS;
    case SERVER_WAITING_BODY:
        if (elapsed > (uint64_t)limits->body_timeout * 1000)
            return SERVER_COUNT_CLOSED_BODY;
        return is_too_slow(connection, limits, elapsed) ? SERVER_COUNT_CLOSED_RATE
                                                        : SERVER_COUNTERS;
    case SERVER_WAITING_READER:
        return elapsed > (uint64_t)limits->body_timeout * 1000 ? SERVER_COUNT_CLOSED_READER
                                                               : SERVER_COUNTERS;
    case SERVER_WAITING_SELF:
        break;
    }
    return SERVER_COUNTERS;
}

void server_connections_sweep(struct server_connections *connections,
                              const struct server_limits *limits, struct server_meter *meter)
{
    struct server_connection *connection;
    uint64_t now = now_ms();
    pthread_mutex_lock(&connections->lock);
    for (connection = connections->first; connection; connection = connection->next) {
        enum server_counter reason =
            connection->shut ? SERVER_COUNTERS : overdue(connection, limits, now);
        if (reason == SERVER_COUNTERS)
            continue;
        /* its thread finds the connection at its end, and closes it */
        shutdown(connection->fd, SHUT_RDWR);
        connection->shut = true;
        server_count(meter, reason, 1);
    }
    pthread_mutex_unlock(&connections->lock);
}

static bool expects(const struct server_connection *connection, uint64_t now, uint64_t last_ms)
{
    uint64_t state = atomic_load_explicit(&connection->state, memory_order_acquire);
    uint64_t since = state >> WAITING_BITS;
    bool recent = now < since + last_ms;
    int unread = 0;
    if (connection->shut)
        return false;
    switch ((enum server_waiting)(state & WAITING_MASK)) {
    case SERVER_WAITING_SELF:
        return true;
    case SERVER_WAITING_FIRST:
    case SERVER_WAITING_HEADERS:
        if (recent)
            return true;
        break;
    case SERVER_WAITING_NEXT:
        break;
    case SERVER_WAITING_BODY:
    case SERVER_WAITING_READER:
        return false;
    }
    return ioctl(connection->fd, FIONREAD, &unread) == 0 && unread > 0;
}

bool server_connections_expect(struct server_connections *connections, uint64_t last_ms, int *open)
{
    const struct server_connection *connection;
    uint64_t now = now_ms();
    bool found = false;
    *open = 0;
    pthread_mutex_lock(&connections->lock);
    for (connection = connections->first; connection; connection = connection->next) {
        found = found || expects(connection, now, last_ms);
        ++*open;
    }
    pthread_mutex_unlock(&connections->lock);
    return found;
}

/* The one that has waited for such a request the longest; NULL where none does. */
static struct server_connection *find_idle(const struct server_connections *connections,
                                           enum server_waiting waiting, uint64_t *since,
                                           bool *leaving)
{
    struct server_connection *connection, *found = NULL;
    *leaving = false;
    for (connection = connections->first; connection; connection = connection->next) {
        uint64_t state = atomic_load_explicit(&connection->state, memory_order_acquire);
        enum server_waiting is = (enum server_waiting)(state & WAITING_MASK);
        bool idle = is == SERVER_WAITING_FIRST || is == SERVER_WAITING_NEXT;
        /* one that is to end may still have a request, which came just before */
        *leaving = *leaving || connection->shut || (connection->ending && idle);
        if (is != waiting || connection->shut || connection->ending ||
            (found && state >> WAITING_BITS >= *since))
            continue;
        found = connection;
        *since = state >> WAITING_BITS;
    }
    return found;
}

uint64_t server_connections_longest_idle(struct server_connections *connections,
                                         enum server_waiting waiting, bool *leaving)
{
    uint64_t since = 0, now = now_ms();
    bool found;
    pthread_mutex_lock(&connections->lock);
    found = find_idle(connections, waiting, &since, leaving) != NULL;
    pthread_mutex_unlock(&connections->lock);
    return found && now > since ? now - since : 0;
}

void server_connections_end_idle(struct server_connections *connections,
                                 enum server_waiting waiting, struct server_meter *meter)
{
    struct server_connection *connection;
    uint64_t since;
    bool leaving;
    int unread = 0;
    pthread_mutex_lock(&connections->lock);
    connection = find_idle(connections, waiting, &since, &leaving);
    /* with bytes to read it is no longer idle, as its thread is about to find out */
    if (connection && ioctl(connection->fd, FIONREAD, &unread) == 0 && unread == 0) {
        /* it can still be written to: what came in the meantime is read and answered before the end is seen */
        shutdown(connection->fd, SHUT_RD);
        connection->ending = true;
        server_count(meter, SERVER_COUNT_CLOSED_ROOM, 1);
    }
    pthread_mutex_unlock(&connections->lock);
}

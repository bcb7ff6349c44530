/* connections.h: the open connections, what each is waited for, and since when.
 *
 * The HTTP library closes connections on which nothing moves; a client that sends a byte now and then
 * keeps one for ever. So every step of a request has its time here, and those that are over are shut
 * down by a sweep from another thread. A connection leaves the list before its descriptor is closed,
 * and is shut down with the list locked, so that the descriptor is always its own.
 *
 * Saying what a connection is waited for is one store; the list is locked when connections come and
 * go, and by the sweep. */
#ifndef SERVER_CONNECTIONS_H
#define SERVER_CONNECTIONS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/metrics.h"

enum server_waiting {
    SERVER_WAITING_FIRST,   /* for the first request */
    SERVER_WAITING_NEXT,    /* for another request */
    SERVER_WAITING_HEADERS, /* for the rest of a request whose first line has come */
    SERVER_WAITING_BODY,
    SERVER_WAITING_SELF,  /* for this server: there is no limit */
    SERVER_WAITING_READER /* for the client to take its answer */
};

/* Seconds; bytes a second. */
struct server_limits {
    int idle_timeout, header_timeout, body_timeout, min_rate;
};

struct server_connections;
struct server_tls_certificate;

struct server_connection {
    struct server_connection *previous, *next;
    int fd;
    atomic_ullong state;    /* milliseconds since when, and in the low bits what is waited for */
    atomic_ullong received; /* bytes of the body that is waited for */
    bool shut;              /* has been shut down; with the list locked, as the next one */
    bool ending;            /* is to end for others, once it is seen that nothing more can come */
    uintptr_t target_end;   /* where the last request's target ends, as far as a string goes */
    struct server_tls_certificate *certificate; /* that it was opened with; NULL: none */
    bool linger;                                /* it was answered before its body was read */
};

struct server_connections *server_connections_create(void);
void server_connections_free(struct server_connections *connections);

/* A connection that waits for its first request; NULL when memory runs out. */
struct server_connection *server_connections_add(struct server_connections *connections, int fd);
/* To be called while the descriptor is open; frees the connection. NULL is ignored. */
void server_connections_remove(struct server_connections *connections,
                               struct server_connection *connection);

/* Both are called by the connection's own thread, and ignore NULL. */
void server_connection_wait(struct server_connection *connection, enum server_waiting waiting);
void server_connection_received(struct server_connection *connection, size_t bytes);

/* Shuts down those that have been waited for too long, and counts them. */
void server_connections_sweep(struct server_connections *connections,
                              const struct server_limits *limits, struct server_meter *meter);

/* Idle is a connection that waits for its first request or for another one, as waiting says. */

/* Milliseconds that the connection has been idle which has been so the longest; 0: none is. *leaving is
 * set where one is about to go. */
uint64_t server_connections_longest_idle(struct server_connections *connections,
                                         enum server_waiting waiting, bool *leaving);
/* Lets that connection end, so that another may have its place: a request that has come is still answered. */
void server_connections_end_idle(struct server_connections *connections,
                                 enum server_waiting waiting, struct server_meter *meter);

/* Whether a request is at hand or may be on its way: bytes wait to be read, or a connection was opened, or headers began to
 * come, within the last milliseconds. *open is set to how many connections there are. */
bool server_connections_expect(struct server_connections *connections, uint64_t last_ms, int *open);

#endif

/* http.h: HTTP by libmicrohttpd: a pool of daemons, each one epoll thread, fed with connections by
 * the listener.
 *
 * The library's own thread pool is the same thing, but accepts by itself, and its way to stop
 * accepting races with its threads; with daemons of our own the listener decides what is accepted,
 * and each thread's callbacks know their thread. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "weights/distil_status.h"

struct server;
struct server_http;

distil_status server_http_start(struct server *server, int threads, int max_connections,
                                struct server_http **http, distil_error *error);
/* Hands over a connected socket, which http closes in the end. */
void server_http_add(struct server_http *http, int fd, const struct sockaddr *address,
                     socklen_t length);
/* Closes connections whose client has taken too long; to be called several times a second. */
void server_http_sweep(struct server_http *http);
/* Lets the connection end that has waited for its first request the longest, where that is as many milliseconds or
 * more; where none has, the same of those that wait for another one. Whether one is about to end. */
bool server_http_make_room(struct server_http *http, int64_t least_ms);
/* Whether a request is at hand that is not in flight yet, or may be on its way, as one is for the first milliseconds of a
 * connection. */
bool server_http_expects(struct server_http *http, uint64_t last_ms);
/* Closes all connections; none may be waiting for a worker any more. */
void server_http_free(struct server_http *http);

#endif

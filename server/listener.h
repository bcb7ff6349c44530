/* listener.h: the thread that accepts connections and gives them to the HTTP threads. */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include "weights/distil_status.h"

struct server;
struct server_listener;

/* Listens on options.uds of the server, else on its options.host and options.port, whose HTTP threads must be running. */
distil_status server_listener_start(struct server *server, int max_connections,
                                    struct server_listener **listener, distil_error *error);
int server_listener_port(const struct server_listener *listener);
/* Accepts what has connected already, then stops listening. Further calls do nothing. */
void server_listener_stop(struct server_listener *listener);
/* Takes over a socket whose client may still be sending a body that nobody wants: reads it off for
 * a while, so that the client sees the answer instead of a reset connection. The descriptor is
 * closed in the end. */
void server_listener_linger(struct server_listener *listener, int fd);
void server_listener_free(struct server_listener *listener);

#endif

/* connection.h: one connection of the load generator: a request goes out, an answer comes in. */
#ifndef PERF_HTTP_CONNECTION_H
#define PERF_HTTP_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { CONNECTION_BUFFER = 8192 };

struct connection {
    int fd;       /* -1: closed */
    bool busy;    /* a request is on its way */
    bool closing; /* the server closes after this answer */
    int64_t due;  /* when the request was to be sent, nanoseconds */
    const char *request;
    size_t to_send;
    unsigned status; /* of the answer; 0 until its head has come */
    size_t to_read;  /* of its body */
    size_t length;   /* in the buffer */
    char buffer[CONNECTION_BUFFER];
};

enum connection_event { CONNECTION_WAITS, CONNECTION_ANSWERED, CONNECTION_FAILED };

/* Begins to connect; false where that fails at once. */
bool connection_open(struct connection *connection, const struct sockaddr *address,
                     socklen_t length);
void connection_close(struct connection *connection);
/* Sends a request, as far as it goes. */
enum connection_event connection_send(struct connection *connection, const char *request,
                                      size_t length);
/* Goes on where there is something to read, or room to write. */
enum connection_event connection_go_on(struct connection *connection);

#endif

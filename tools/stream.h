/* stream.h: bytes to a server and back, in the clear or by TLS, until a deadline. */
#ifndef TOOLS_STREAM_H
#define TOOLS_STREAM_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "weights/distil_status.h"

/* Set the socket (-1: none), which does not block, and the deadline, as tool_now; zero the rest. */
struct tool_stream {
    int socket;
    double deadline; /* seconds */
    gnutls_session_t tls;
    gnutls_certificate_credentials_t credentials;
};

/* Waits until the socket is ready; false, with errno set, at an error or at the deadline. */
bool tool_stream_wait(const struct tool_stream *stream, short events);
/* Speaks TLS from here on. The server's certificate is not verified: this is for questions that
 * hold no secret. */
distil_status tool_stream_secure(struct tool_stream *stream, const char *host, distil_error *error);
/* As send and recv, but wait; -1 with errno set. */
ssize_t tool_stream_send(const struct tool_stream *stream, const void *data, size_t size);
ssize_t tool_stream_receive(const struct tool_stream *stream, void *data, size_t size);
void tool_stream_close(struct tool_stream *stream);

#endif

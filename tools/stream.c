#include "tools/stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/progress.h"

bool tool_stream_wait(const struct tool_stream *stream, short events)
{
    struct pollfd ready = {.fd = stream->socket, .events = events};
    for (;;) {
        double left = stream->deadline - tool_now();
        int found = left > 0 ? poll(&ready, 1, (int)(left * 1000) + 1) : 0;
        if (found > 0)
            return true;
        if (found == 0 || errno != EINTR) {
            errno = found == 0 ? ETIMEDOUT : errno;
            return false;
        }
    }
}

/* After a call of GnuTLS that did not succeed: whether to make it again, once the socket is ready
 * for what it wanted to do. Else errno is set. */
static bool again(const struct tool_stream *stream, ssize_t code)
{
    if (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED)
        return tool_stream_wait(stream,
                                gnutls_record_get_direction(stream->tls) ? POLLOUT : POLLIN);
    if (code < 0 && !gnutls_error_is_fatal((int)code))
        return true;
    errno = EPROTO;
    return false;
}

distil_status tool_stream_secure(struct tool_stream *stream, const char *host, distil_error *error)
{
    int code = gnutls_init(&stream->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (code == 0)
        code = gnutls_certificate_allocate_credentials(&stream->credentials);
    if (code == 0)
        code = gnutls_credentials_set(stream->tls, GNUTLS_CRD_CERTIFICATE, stream->credentials);
    if (code == 0)
        code = gnutls_set_default_priority(stream->tls);
    if (code == 0)
        code = gnutls_server_name_set(stream->tls, GNUTLS_NAME_DNS, host, strlen(host));
    if (code != 0)
        return distil_fail(error, DISTIL_SYSTEM, "TLS: %s", gnutls_strerror(code));
    gnutls_transport_set_int(stream->tls, stream->socket);
    do
        code = gnutls_handshake(stream->tls);
    while (code != 0 && again(stream, code));
    if (code == 0)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_IO, "%s: TLS could not be agreed upon: %s", host,
                       errno == ETIMEDOUT ? strerror(errno) : gnutls_strerror(code));
}

ssize_t tool_stream_send(const struct tool_stream *stream, const void *data, size_t size)
{
    ssize_t sent;
    if (!stream->tls)
        return tool_stream_wait(stream, POLLOUT) ? send(stream->socket, data, size, MSG_NOSIGNAL)
                                                 : -1;
    do
        sent = gnutls_record_send(stream->tls, data, size);
    while (sent < 0 && again(stream, sent));
    return sent < 0 ? -1 : sent;
}

ssize_t tool_stream_receive(const struct tool_stream *stream, void *data, size_t size)
{
    ssize_t got;
    if (!stream->tls)
        return tool_stream_wait(stream, POLLIN) ? recv(stream->socket, data, size, 0) : -1;
    do
        got = gnutls_record_recv(stream->tls, data, size);
    while (got < 0 && got != GNUTLS_E_PREMATURE_TERMINATION && again(stream, got));
    if (got == GNUTLS_E_PREMATURE_TERMINATION)
        return 0; /* closed without a farewell */
    return got < 0 ? -1 : got;
}

void tool_stream_close(struct tool_stream *stream)
{
    if (stream->tls)
        gnutls_deinit(stream->tls);
    if (stream->credentials)
        gnutls_certificate_free_credentials(stream->credentials);
    if (stream->socket >= 0)
        close(stream->socket);
    stream->tls = NULL;
    stream->credentials = NULL;
    stream->socket = -1;
}

/* connection.c: see connection.h. */
#include "connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

bool connection_open(struct connection *connection, const struct sockaddr *address,
                     socklen_t length)
{
    int one = 1;
    connection->busy = connection->closing = false;
    connection->to_send = connection->length = connection->to_read = 0;
    connection->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        return false;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(connection->fd, address, length) == 0 || errno == EINPROGRESS)
        return true;
    connection_close(connection);
    return false;
}

void connection_close(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    connection->busy = false;
}

static enum connection_event send_more(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->request, connection->to_send, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == ENOTCONN ? CONNECTION_WAITS : CONNECTION_FAILED;
    connection->request += sent;
    connection->to_send -= (size_t)sent;
    return CONNECTION_WAITS;
}

enum connection_event connection_send(struct connection *connection, const char *request,
                                      size_t length)
{
    connection->busy = true;
    connection->status = 0;
    connection->request = request;
    connection->to_send = length;
    return send_more(connection);
}

/* The value of a header within a head that ends in NUL; NULL where there is none. */
static const char *header(const char *head, const char *name)
{
    size_t length = strlen(name);
    const char *line;
    for (line = strchr(head, '\n'); line; line = strchr(line + 1, '\n'))
        if (strncasecmp(line + 1, name, length) == 0 && line[1 + length] == ':')
            return line + 2 + length + strspn(line + 2 + length, " ");
    return NULL;
}

/* Reads the head, if all of it is there. */
static enum connection_event read_head(struct connection *connection)
{
    char *end = memmem(connection->buffer, connection->length, "\r\n\r\n", 4);
    const char *value;
    size_t head;
    if (!end)
        return connection->length == CONNECTION_BUFFER ? CONNECTION_FAILED : CONNECTION_WAITS;
    head = (size_t)(end - connection->buffer) + 4;
    end[2] = '\0';
    if (head < 14 || memcmp(connection->buffer, "HTTP/1.1 ", 9) != 0)
        return CONNECTION_FAILED;
    connection->status = (unsigned)strtoul(connection->buffer + 9, NULL, 10);
    value = header(connection->buffer, "Content-Length");
    connection->to_read = value ? strtoul(value, NULL, 10) : 0;
    value = header(connection->buffer, "Connection");
    connection->closing = value && strncasecmp(value, "close", 5) == 0;
    connection->length -= head;
    memmove(connection->buffer, connection->buffer + head, connection->length);
    return CONNECTION_WAITS;
}

/* Takes in what has been received. */
static enum connection_event take_in(struct connection *connection)
{
    if (!connection->status && read_head(connection) == CONNECTION_FAILED)
        return CONNECTION_FAILED;
    if (!connection->status)
        return CONNECTION_WAITS;
    if (connection->length > connection->to_read)
        return CONNECTION_FAILED; /* more than was asked for */
    connection->to_read -= connection->length;
    connection->length = 0;
    if (connection->to_read > 0)
        return CONNECTION_WAITS;
    connection->busy = false;
    return CONNECTION_ANSWERED;
}

enum connection_event connection_go_on(struct connection *connection)
{
    enum connection_event event = CONNECTION_WAITS;
    if (connection->to_send > 0 && send_more(connection) == CONNECTION_FAILED)
        return CONNECTION_FAILED;
    while (event == CONNECTION_WAITS) {
        ssize_t got = recv(connection->fd, connection->buffer + connection->length,
                           CONNECTION_BUFFER - connection->length, 0);
        if (got < 0 && errno == EAGAIN)
            return CONNECTION_WAITS;
        if (got <= 0 || !connection->busy)
            return CONNECTION_FAILED;
        connection->length += (size_t)got;
        event = take_in(connection);
    }
    return event;
}

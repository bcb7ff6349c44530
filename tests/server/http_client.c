/* http_client.c: see http_client.h. */
#include "tests/server/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/suite.h"

bool client_open(struct client *client, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->length = 0;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (client->fd < 0)
        return false;
    /* a request goes out in several pieces, which must not wait for each other's acknowledgement */
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return true;
    client_close(client);
    return false;
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

bool client_send(struct client *client, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(client->fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool client_send_text(struct client *client, const char *text)
{
    return client_send(client, text, strlen(text));
}

/* Receives more; false at the end, an error or after a timeout. */
static bool receive(struct client *client)
{
    struct pollfd fd = {.fd = client->fd, .events = POLLIN};
    ssize_t got;
    if (client->length == CLIENT_BUFFER || poll(&fd, 1, (int)patience_ms()) <= 0)
        return false;
    got = recv(client->fd, client->received + client->length, CLIENT_BUFFER - client->length, 0);
    if (got <= 0)
        return false;
    client->length += (size_t)got;
    return true;
}

void reply_header(const struct reply *reply, const char *name, char *value, size_t size)
{
    const char *line = strstr(reply->head, "\r\n");
    size_t length = strlen(name);
    value[0] = '\0';
    for (; line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *start = line + 3 + length + strspn(line + 3 + length, " ");
            snprintf(value, size, "%.*s", (int)strcspn(start, "\r"), start);
            return;
        }
}

static void consume(struct client *client, size_t count)
{
    memmove(client->received, client->received + count, client->length - count);
    client->length -= count;
}

void client_read(struct client *client, bool head_only, struct reply *reply)
{
    char value[32];
    char *end;
    size_t head;
    memset(reply, 0, sizeof(*reply));
    while (!(end = memmem(client->received, client->length, "\r\n\r\n", 4)))
        if (!receive(client))
            return;
    head = (size_t)(end - client->received) + 4;
    if (head >= sizeof(reply->head))
        return;
    memcpy(reply->head, client->received, head);
    consume(client, head);
    reply_header(reply, "Content-Length", value, sizeof(value));
    reply->body_length = head_only ? 0 : strtoul(value, NULL, 10);
    while (client->length < reply->body_length)
        if (reply->body_length >= sizeof(reply->body) || !receive(client))
            return;
    memcpy(reply->body, client->received, reply->body_length);
    consume(client, reply->body_length);
    reply->status = atoi(reply->head + 9);
}

bool client_is_closed(struct client *client)
{
    struct pollfd fd = {.fd = client->fd, .events = POLLIN};
    char byte;
    return poll(&fd, 1, (int)patience_ms()) > 0 && recv(client->fd, &byte, 1, MSG_PEEK) <= 0;
}

void client_request(struct client *client, const char *method, const char *path, const char *body,
                    struct reply *reply)
{
    char head[512];
    snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: test\r\n", method, path);
    client_send_text(client, head);
    if (body) {
        snprintf(head, sizeof(head), "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                 strlen(body));
        client_send_text(client, head);
    }
    client_send_text(client, "\r\n");
    if (body)
        client_send_text(client, body);
    client_read(client, strcmp(method, "HEAD") == 0, reply);
}

void request(int port, const char *method, const char *path, const char *body, struct reply *reply)
{
    struct client client;
    memset(reply, 0, sizeof(*reply));
    if (!client_open(&client, port))
        return;
    client_request(&client, method, path, body, reply);
    client_close(&client);
}

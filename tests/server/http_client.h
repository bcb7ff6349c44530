/* http_client.h: an HTTP client for tests, small enough to send what no proper client would. */
#ifndef TESTS_SERVER_HTTP_CLIENT_H
#define TESTS_SERVER_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

enum { CLIENT_BUFFER = 131072 };

struct client {
    int fd;
    size_t length; /* received and not yet read */
    char received[CLIENT_BUFFER];
};

struct reply {
    int status; /* 0: the connection ended before a whole answer */
    char head[4096];
    char body[CLIENT_BUFFER];
    size_t body_length;
};

/* Connects to 127.0.0.1; false when refused. */
bool client_open(struct client *client, int port);
void client_close(struct client *client);
/* False when the server closed the connection. */
bool client_send(struct client *client, const char *data, size_t length);
bool client_send_text(struct client *client, const char *text);
/* Reads one answer, waited for with patience_ms; bodyless for HEAD. */
void client_read(struct client *client, bool head_only, struct reply *reply);
/* Whether the server has closed the connection, waited for in the same way. */
bool client_is_closed(struct client *client);
/* Sends a request with a JSON body (NULL: none) on an open connection and reads the answer. */
void client_request(struct client *client, const char *method, const char *path, const char *body,
                    struct reply *reply);
/* The same on a connection of its own. */
void request(int port, const char *method, const char *path, const char *body, struct reply *reply);
/* The value of a header, copied; "" where there is none. */
void reply_header(const struct reply *reply, const char *name, char *value, size_t size);

#endif

/* body.h: the body of a request as it arrives, and the room that the bodies of all requests have together: 10,000 connections may
 * each send one up to the limit. */
#ifndef SERVER_BODY_H
#define SERVER_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_exchange;

/* Bytes of a body up to which an HTTP thread reads it itself, a millisecond's work at most, and which counts for nothing in
 * the room that all have. */
enum { SERVER_SMALL_BODY = 4096 };

/* Whether there is room now for a body that is to have so many bytes; if not, 503 is answered. */
bool server_body_fits(struct server_exchange *exchange, uint64_t bytes);
/* Adds what came. Where there is no room for it, the body is given up: 503 is answered, or 500 where memory ran out. */
void server_body_add(struct server_exchange *exchange, const char *data, size_t size);
/* Frees the body. */
void server_body_free(struct server_exchange *exchange);

#endif

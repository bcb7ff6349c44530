/* cors.h: which other origins' pages may read answers (the Fetch standard's CORS protocol). Never
 * with the browser's own credentials: a page sends its key or token itself. */
#ifndef SERVER_CORS_H
#define SERVER_CORS_H

#include <stdbool.h>

#include "weights/distil_status.h"

enum { SERVER_ORIGINS = 32 };

struct server_cors {
    bool any;
    int count; /* 0 and not any: no origin may */
    char *origins[SERVER_ORIGINS];
};

/* What a page may send, and read, beyond what every page may. */
extern const char server_cors_allow_headers[], server_cors_expose_headers[];

/* Reads origins with commas between them, such as https://app.example.com, or "*". NULL: none.
 * DISTIL_INVALID names what is none. */
distil_status server_cors_parse(const char *text, struct server_cors *cors, distil_error *error);
void server_cors_free(struct server_cors *cors);

/* What Access-Control-Allow-Origin answers to an origin; NULL where it may not, or is NULL. */
const char *server_cors_allow(const struct server_cors *cors, const char *origin);

#endif

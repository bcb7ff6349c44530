/* headers.h: what the header fields of a request say that the server acts on, and whether they can
 * be trusted to. */
#ifndef SERVER_HEADERS_H
#define SERVER_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SERVER_FORWARDED = 8 };

/* The last fields of a header that may be given more than once, in order. */
struct server_header_fields {
    int count;
    const char *values[SERVER_FORWARDED];
};

/* Zero-initialise. Strings belong to the request. */
struct server_headers {
    unsigned content_lengths, transfer_encodings, hosts; /* how often each is given */
    uint64_t content_length;
    const char *content_type, *content_encoding, *transfer_encoding, *request_id, *traceparent,
        *request_timeout;
    const char *accept; /* the last one, where it is given several times */
    const char *authorization, *api_key;
    unsigned authorizations, api_keys, traceparents, request_timeouts; /* how often each is given */
    const char *origin, *requested_method;                             /* of the CORS protocol */
    struct server_header_fields forwarded, forwarded_for;
    bool expects_continue;
    bool bad_name, bad_value; /* a field broke the grammar of RFC 9110 */
    bool folded;              /* set by the caller: a field went on in a second line */
    bool cut_target;          /* set by the caller: the request's target holds a NUL */
};

/* Takes a field in. Neither string needs its NUL to be where the length says. */
void server_headers_take(struct server_headers *headers, const char *name, size_t name_length,
                         const char *value, size_t value_length);

/* What makes it doubtful where the message ends, whom it is for or what it asks; NULL where nothing does. */
const char *server_headers_problem(const struct server_headers *headers, bool is_1_0);

/* The milliseconds of X-Request-Timeout-Ms: 0 where it is not given, -1 where it is no whole number
 * of at least 1. One too large for the type is the largest. */
int64_t server_headers_timeout(const struct server_headers *headers);

/* Whether the client would rather have HTML than JSON: it names text/html, with a higher quality than JSON has by name or
 * by wildcard; with the same one, where it does not name application/json before it. */
bool server_headers_accept_html(const struct server_headers *headers);

/* Whether they say that a body follows. */
static inline bool server_headers_frame_body(const struct server_headers *headers)
{
    return headers->content_lengths > 0 || headers->transfer_encodings > 0;
}

#endif

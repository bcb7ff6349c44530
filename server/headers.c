/* headers.c: see headers.h. */
#include "server/headers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Whether a field's name is a token: no white space, no colon, no control characters. A name such
 * as "Content-Length " is another field to one reader, and the same one to the next. */
static bool is_token(const char *name, size_t length)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    size_t i;
    for (i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name[i], letter = byte | 0x20;
        bool alphanumeric = (letter >= 'a' && letter <= 'z') || (byte >= '0' && byte <= '9');
        if (!alphanumeric && !(byte && strchr(marks, byte)))
            return false;
    }
    return length > 0;
}

/* Whether a value is free of what other readers may end a line or a string at. */
static bool is_value(const char *value, size_t length)
{
    return !memchr(value, '\r', length) && !memchr(value, '\n', length) &&
           !memchr(value, '\0', length);
}

/* Keeps a field; of too many, the last, which the nearest proxy wrote. */
static void keep(struct server_header_fields *fields, const char *value)
{
    if (fields->count == SERVER_FORWARDED)
        memmove(fields->values, fields->values + 1, (SERVER_FORWARDED - 1) * sizeof(value));
    else
        fields->count++;
    fields->values[fields->count - 1] = value;
}

/* A field by its first letter, so that few names are compared. */
static void take_known(struct server_headers *headers, const char *name, const char *value)
{
    switch (name[0] | 0x20) {
    case 'a':
        if (strcasecmp(name, "Authorization") == 0) {
            headers->authorizations++;
            headers->authorization = value;
        } else if (strcasecmp(name, "Access-Control-Request-Method") == 0) {
            headers->requested_method = value;
        } else if (strcasecmp(name, "Accept") == 0) {
            headers->accept = value;
        }
        break;
    case 'c':
        if (strcasecmp(name, "Content-Length") == 0) {
            headers->content_lengths++;
            headers->content_length = strtoull(value, NULL, 10);
        } else if (strcasecmp(name, "Content-Type") == 0) {
            headers->content_type = value;
        } else if (strcasecmp(name, "Content-Encoding") == 0) {
            headers->content_encoding = value;
        }
        break;
    case 'e':
        if (strcasecmp(name, "Expect") == 0)
            headers->expects_continue = true;
        break;
    case 'f':
        if (strcasecmp(name, "Forwarded") == 0)
            keep(&headers->forwarded, value);
        break;
    case 'o':
        if (strcasecmp(name, "Origin") == 0)
            headers->origin = value;
        break;
    case 'h':
        if (strcasecmp(name, "Host") == 0)
            headers->hosts++;
        break;
    case 't':
        if (strcasecmp(name, "Transfer-Encoding") == 0) {
            headers->transfer_encodings++;
            headers->transfer_encoding = value;
        } else if (strcasecmp(name, "traceparent") == 0) {
            headers->traceparents++;
            headers->traceparent = value;
        }
        break;
    case 'x':
        if (strcasecmp(name, "X-Request-Id") == 0) {
            headers->request_id = value;
        } else if (strcasecmp(name, "X-Request-Timeout-Ms") == 0) {
            headers->request_timeouts++;
            headers->request_timeout = value;
        } else if (strcasecmp(name, "X-API-Key") == 0) {
            headers->api_keys++;
            headers->api_key = value;
        } else if (strcasecmp(name, "X-Forwarded-For") == 0) {
            keep(&headers->forwarded_for, value);
        }
        break;
    default:
        break;
    }
}

void server_headers_take(struct server_headers *headers, const char *name, size_t name_length,
                         const char *value, size_t value_length)
{
    if (!is_token(name, name_length))
        headers->bad_name = true;
    else if (value && !is_value(value, value_length))
        headers->bad_value = true;
    else if (value)
        take_known(headers, name, value);
}

int64_t server_headers_timeout(const struct server_headers *headers)
{
    const char *digit = headers->request_timeout;
    int64_t ms = 0;
    if (!digit)
        return 0;
    for (; *digit >= '0' && *digit <= '9'; digit++)
        ms = ms > (INT64_MAX - 9) / 10 ? INT64_MAX : ms * 10 + (*digit - '0');
    digit += strspn(digit, " \t"); /* the library leaves white space behind a value */
    return *digit || ms == 0 ? -1 : ms;
}

/* An intermediary that sees the end of a message elsewhere could be made to smuggle requests. The
 * HTTP library takes the first of several lengths, and lets Transfer-Encoding win. */
const char *server_headers_problem(const struct server_headers *headers, bool is_1_0)
{
    if (headers->cut_target)
        return "the request's target holds a NUL";
    if (headers->folded)
        return "a header is folded into several lines";
    if (headers->bad_name)
        return "the name of a header is empty or holds a character that no name may have";
    if (headers->bad_value)
        return "the value of a header holds a line break or a NUL";
    if (headers->content_lengths > 1)
        return "Content-Length is given more than once";
    if (headers->transfer_encodings > 1)
        return "Transfer-Encoding is given more than once";
    if (headers->transfer_encodings && headers->content_lengths)
        return "Content-Length and Transfer-Encoding are both given";
    if (headers->transfer_encodings && strcasecmp(headers->transfer_encoding, "chunked") != 0)
        return "Transfer-Encoding must be chunked";
    if (headers->transfer_encodings && is_1_0)
        return "Transfer-Encoding is not known to HTTP/1.0";
    if (headers->hosts > 1)
        return "Host is given more than once";
    if (!is_1_0 && headers->hosts == 0)
        return "Host is missing";
    if (headers->authorizations > 1)
        return "Authorization is given more than once";
    if (headers->api_keys > 1)
        return "X-API-Key is given more than once";
    if (headers->request_timeouts > 1)
        return "X-Request-Timeout-Ms is given more than once";
    return NULL;
}

/* The quality of a media range of Accept, in thousandths: 1000 where it states none. */
static int quality(const char *range, size_t length)
{
    const char *end = range + length, *at = memchr(range, ';', length);
    for (; at; at = memchr(at, ';', (size_t)(end - at))) {
        for (at++; at < end && (*at == ' ' || *at == '\t');)
            at++;
        if (end - at >= 2 && (*at | 0x20) == 'q' && at[1] == '=') {
            int thousandths = at[2] == '1' ? 1000 : 0, place = 100;
            for (at += 3; at < end && (*at == '.' || (*at >= '0' && *at <= '9')); at++)
                if (*at != '.') {
                    thousandths += place * (*at - '0');
                    place /= 10;
                }
            return thousandths < 1000 ? thousandths : 1000;
        }
    }
    return 1000;
}

bool server_headers_accept_html(const struct server_headers *headers)
{
    /* qualities by name, by half a name, by none; -1: not given */
    int html = -1, json = -1, application = -1, any = -1;
    bool json_first = false;
    const char *at = headers->accept;
    while (at && *at) {
        size_t length, name;
        at += strspn(at, " \t,");
        length = strcspn(at, ",");
        name = strcspn(at, ";, \t");
        if (name == strlen("text/html") && strncasecmp(at, "text/html", name) == 0)
            html = quality(at, length);
        else if (name == strlen("application/json") &&
                 strncasecmp(at, "application/json", name) == 0) {
            json = quality(at, length);
            json_first = html < 0;
        } else if (name == strlen("application/*") && strncasecmp(at, "application/*", name) == 0)
            application = quality(at, length);
        else if (name == strlen("*/*") && strncmp(at, "*/*", name) == 0)
            any = quality(at, length);
        at += length;
    }
    if (json < 0)
        json = application >= 0 ? application : any;
    return html > 0 && (html > json || (html == json && !json_first));
}

/* cors.c: see cors.h. */
#include "server/cors.h"

#include <stdlib.h>
#include <string.h>

const char server_cors_allow_headers[] =
    "Authorization, Content-Type, X-API-Key, X-Request-Id, X-Request-Timeout-Ms, traceparent, "
    "tracestate";
const char server_cors_expose_headers[] =
    "Retry-After, WWW-Authenticate, X-Prediction-Id, X-Request-Id";

/* Whether a text is an origin as browsers write it: scheme, host, perhaps a port, and no more. */
static bool is_origin(const char *text)
{
    static const char host[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]";
    size_t scheme = strncmp(text, "https://", 8) == 0  ? 8
                    : strncmp(text, "http://", 7) == 0 ? 7
                                                       : 0;
    return scheme && text[scheme] && strspn(text + scheme, host) == strlen(text + scheme);
}

static distil_status read_origin(const char *text, size_t length, struct server_cors *cors,
                                 distil_error *error)
{
    char *origin;
    if (cors->count == SERVER_ORIGINS)
        return distil_fail(error, DISTIL_INVALID,
                           "cors-allow-origin: at most %d origins can be listed", SERVER_ORIGINS);
    origin = strndup(text, length);
    if (!origin)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for origins");
    cors->origins[cors->count++] = origin;
    if (is_origin(origin))
        return DISTIL_OK;
    return distil_fail(error, DISTIL_INVALID,
                       "cors-allow-origin: '%.100s' is no origin such as https://app.example.com, "
                       "in small letters and without a path",
                       origin);
}

distil_status server_cors_parse(const char *text, struct server_cors *cors, distil_error *error)
{
    distil_status status = DISTIL_OK;
    memset(cors, 0, sizeof(*cors));
    if (!text)
        return DISTIL_OK;
    cors->any = strcmp(text, "*") == 0;
    while (!cors->any && !status) {
        size_t length;
        text += strspn(text, " ");
        length = strcspn(text, ", ");
        status = read_origin(text, length, cors, error);
        text += length;
        text += strspn(text, " ");
        if (!*text)
            break;
        text += *text == ',';
    }
    if (status)
        server_cors_free(cors);
    return status;
}

void server_cors_free(struct server_cors *cors)
{
    while (cors->count > 0)
        free(cors->origins[--cors->count]);
}

const char *server_cors_allow(const struct server_cors *cors, const char *origin)
{
    int i;
    if (!origin)
        return NULL;
    if (cors->any)
        return "*";
    for (i = 0; i < cors->count; i++)
        if (strcmp(cors->origins[i], origin) == 0)
            return cors->origins[i];
    return NULL;
}

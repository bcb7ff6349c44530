/* http_request.c: what a request says: its target, its headers, its body. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/access.h"
#include "server/body.h"
#include "server/headers.h"
#include "server/http_exchange.h"
#include "server/internal.h"
#include "server/router.h"

/* A body in chunks that grew over the limit is read off so that 413 can be answered, but not
 * for ever. */
enum { DISCARD_FACTOR = 8 };

/* ---- headers ---- */

/* A client's request id is taken over when it is short and printable. */
static bool take_id(struct server_exchange *exchange, const char *value)
{
    size_t length = value ? strlen(value) : 0, i;
    if (length == 0 || length >= SERVER_ID_SIZE)
        return false;
    for (i = 0; i < length; i++)
        if (value[i] < 0x21 || value[i] > 0x7E)
            return false;
    memcpy(exchange->id, value, length + 1);
    return true;
}

/* Gives the request its id, and its place in the trace that it belongs to, if it does. */
static void identify(struct server_http_thread *thread, struct server_http_exchange *http,
                     const struct server_headers *headers)
{
    uint64_t seed = thread->server->id_seed, number = thread->number++;
    if (!take_id(&http->exchange, headers->request_id))
        server_trace_make_id(seed, number, http->exchange.id);
    if (headers->traceparents == 1 && server_trace_parse(headers->traceparent, &http->trace))
        server_trace_make_id(~seed, number, http->trace.span_id);
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t name_length, const char *value, size_t value_length)
{
    struct server_headers *headers = cls;
    (void)kind;
    /* the library lets a field be continued on a second line by moving its name elsewhere and
       appending to it, so that the value no longer follows: "Content-Len: 5" and " gth" would be a
       Content-Length */
    if (value && (uintptr_t)value <= (uintptr_t)name + name_length)
        headers->folded = true;
    server_headers_take(headers, name, name_length, value, value_length);
    return MHD_YES;
}

/* Whether a media type is JSON's, with or without parameters. */
static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t length = sizeof(json) - 1;
    if (strncasecmp(type, json, length) != 0)
        return false;
    return type[length] == '\0' || type[length] == ';' || type[length] == ' ';
}

/* Whether a browser asks if a page of an allowed origin may send a request. It shows no credential,
 * and none is looked at. */
static bool is_preflight(const struct server_exchange *exchange,
                         const struct server_headers *headers)
{
    return exchange->cors_origin && headers->requested_method &&
           strcmp(exchange->method, "OPTIONS") == 0;
}

/* False where the client's own timeout cannot be read. */
static bool set_deadline(struct server_exchange *exchange, const struct server_headers *headers)
{
    const struct server_options *options = &exchange->server->options;
    int64_t timeout = server_headers_timeout(headers);
    if (timeout > options->max_request_timeout_ms)
        timeout = options->max_request_timeout_ms;
    if (timeout == 0)
        timeout = options->request_timeout_ms;
    if (timeout > 0)
        exchange->job.deadline = exchange->began + timeout * 1000000;
    return timeout >= 0;
}

static void check_headers(struct server_http_exchange *http, const struct server_headers *headers,
                          bool is_1_0)
{
    struct server_exchange *exchange = &http->exchange;
    const struct server_options *options = &exchange->server->options;
    bool ready = server_get_state(exchange->server) != SERVER_LOADING;
    const char *problem = server_headers_problem(headers, is_1_0);
    if (problem) {
        http->close = true;
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, NULL, "%s", problem);
        return;
    }
    /* what came as its body, if anything did, would be read as the next request */
    if (strcmp(exchange->method, "POST") == 0 && !server_headers_frame_body(headers))
        http->close = true;
    if (headers->content_length > options->max_body) {
        http->close = true;
        server_fail(exchange, 413, SERVER_ERROR_VALIDATION, NULL,
                    "the body has %llu bytes, at most %zu are accepted",
                    (unsigned long long)headers->content_length, options->max_body);
        return;
    }
    exchange->route = server_route_find(exchange->method, exchange->path, &exchange->allow);
    if (!exchange->route && exchange->allow && is_preflight(exchange, headers)) {
        exchange->preflight = true;
        server_answer_static(exchange, 204, "");
    } else if (!exchange->route && exchange->allow)
        server_fail(exchange, 405, SERVER_ERROR_METHOD, NULL, "%s does not take %s, but %s",
                    exchange->path, exchange->method, exchange->allow);
    else if (!exchange->route)
        server_fail(exchange, 404, SERVER_ERROR_NOT_FOUND, NULL, "there is nothing at %s",
                    exchange->path);
    else if (!server_access_admit(exchange->server->access, exchange, headers))
        return;
    else if (exchange->route->json_body && headers->content_type && !is_json(headers->content_type))
        server_fail(exchange, 415, SERVER_ERROR_MEDIA_TYPE, NULL,
                    "the body must be application/json, not %s", headers->content_type);
    else if (headers->content_encoding && strcasecmp(headers->content_encoding, "identity") != 0)
        server_fail(exchange, 415, SERVER_ERROR_MEDIA_TYPE, NULL,
                    "the content encoding %s is not supported", headers->content_encoding);
    else if (exchange->route->needs_model && !set_deadline(exchange, headers))
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "X-Request-Timeout-Ms",
                    "X-Request-Timeout-Ms must be a whole number of milliseconds from 1, not "
                    "\"%.40s\"",
                    headers->request_timeout);
    else if (exchange->route->needs_model && !ready) {
        exchange->retry_after = 1;
        server_count(exchange->meter, SERVER_COUNT_SHED_LOADING, 1);
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL, "the model is being loaded");
    } else if (headers->content_length > SERVER_SMALL_BODY) { /* before room is made for the body */
        if (!server_http_shed(exchange, headers->content_length))
            server_body_fits(exchange, headers->content_length);
    }
}

/* The path of a request's target, which in its absolute form begins with scheme and host. */
static const char *path_of(const char *target)
{
    const char *authority = strncasecmp(target, "http://", 7) == 0    ? target + 7
                            : strncasecmp(target, "https://", 8) == 0 ? target + 8
                                                                      : NULL;
    const char *path = authority ? strchr(authority, '/') : target;
    return path ? path : "/";
}

struct server_connection *server_http_kept(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

struct server_http_exchange *server_http_begin(struct server_http_thread *thread,
                                               struct MHD_Connection *connection,
                                               const char *target, const char *method,
                                               const char *version)
{
    struct server_http_exchange *http = calloc(1, sizeof(*http));
    struct server_headers headers = {0};
    const union MHD_ConnectionInfo *info;
    if (!http)
        return NULL;
    http->connection = connection;
    http->kept = server_http_kept(connection);
    http->exchange.server = thread->server;
    http->exchange.pool = &thread->pool;
    http->exchange.meter = thread->meter;
    http->exchange.method = method;
    http->exchange.path = path_of(target);
    http->exchange.model_asked =
        MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "model");
    http->exchange.began = server_now();
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    http->exchange.client = server_address_of(info ? info->client_addr : NULL);
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &headers);
    http->exchange.accepts_html = server_headers_accept_html(&headers);
    identify(thread, http, &headers);
    server_access_locate(thread->server->access, &http->exchange, &headers);
    /* the version follows the target in the library's buffer, unless a NUL cut the target short */
    if (http->kept && http->kept->target_end && (uintptr_t)version != http->kept->target_end + 1)
        headers.cut_target = true;
    check_headers(http, &headers, strcmp(version, "HTTP/1.0") == 0);
    http->arriving = server_headers_frame_body(&headers);
    http->expects_continue = headers.expects_continue;
    if (http->arriving)
        atomic_fetch_add_explicit(&thread->server->arriving, 1, memory_order_relaxed);
    server_connection_wait(http->kept, http->arriving ? SERVER_WAITING_BODY : SERVER_WAITING_SELF);
    return http;
}

void server_http_arrived(struct server_http_exchange *http)
{
    if (http->arriving)
        atomic_fetch_sub_explicit(&http->exchange.server->arriving, 1, memory_order_release);
    http->arriving = false;
}

/* ---- the body ---- */

bool server_http_take_body(struct server_http_exchange *http, const char *data, size_t size)
{
    struct server_exchange *exchange = &http->exchange;
    size_t limit = exchange->server->options.max_body;
    server_connection_received(http->kept, size);
    if (exchange->status) {
        http->discarded += size;
        return http->discarded / DISCARD_FACTOR <= limit;
    }
    if (size > limit - exchange->body_length) {
        http->close = true;
        server_body_free(exchange);
        exchange->body_length = 0;
        server_fail(exchange, 413, SERVER_ERROR_VALIDATION, NULL,
                    "the body has over %zu bytes, the most that are accepted", limit);
        return true;
    }
    server_body_add(exchange, data, size);
    return true;
}

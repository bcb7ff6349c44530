/* http.c: see http.h. */
#include "server/http.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "server/exchange.h"
#include "server/headers.h"
#include "server/internal.h"
#include "server/listener.h"
#include "server/router.h"

enum {
    /* A body in chunks that grew over the limit is read off so that 413 can be answered, but not
       for ever. */
    DISCARD_FACTOR = 8,
    FIRST_BODY_CAPACITY = 4096,
    CONNECTION_MEMORY = 32 * 1024, /* for the request line, headers and a window of the body */
    LISTEN_SLACK = 64
};

struct http_thread {
    struct server *server;
    struct MHD_Daemon *daemon;
    struct server_token_pool pool;
};

struct server_http {
    struct server *server;
    int count;
    unsigned next; /* whom the next connection goes to */
    struct http_thread *threads;
};

/* In place of an exchange, from the request line on: the target holds a space. */
static const char malformed_target;

/* What outlives the requests of a connection. */
struct http_connection {
    bool linger; /* it was answered before its body was read */
};

/* An exchange with what the HTTP library needs of it. */
struct http_exchange {
    struct server_exchange exchange; /* first: the two share their address */
    struct MHD_Connection *connection;
    int fd; /* of the connection, while the exchange is suspended */
    size_t discarded;
    struct server_headers headers;
    bool close;     /* the connection, after the answer */
    bool counted;   /* as in flight: the request is complete */
    bool suspended; /* waits for the workers, or has waited */
};

static struct http_exchange *http_of(struct server_exchange *exchange)
{
    return (struct http_exchange *)(void *)exchange;
}

/* ---- headers ---- */

/* A client's request id is taken over when it is short and printable. */
static void take_id(struct server_exchange *exchange, const char *value)
{
    size_t length = strlen(value), i;
    if (length == 0 || length >= SERVER_ID_SIZE)
        return;
    for (i = 0; i < length; i++)
        if (value[i] < 0x21 || value[i] > 0x7E)
            return;
    memcpy(exchange->id, value, length + 1);
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

static void check_headers(struct http_exchange *http, bool needs_host)
{
    struct server_exchange *exchange = &http->exchange;
    const struct server_options *options = &exchange->server->options;
    const struct server_headers *headers = &http->headers;
    bool ready = server_get_state(exchange->server) != SERVER_LOADING;
    const char *problem = server_headers_problem(headers, needs_host);
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
    if (!exchange->route && exchange->allow)
        server_fail(exchange, 405, SERVER_ERROR_METHOD, NULL, "%s does not take %s, but %s",
                    exchange->path, exchange->method, exchange->allow);
    else if (!exchange->route)
        server_fail(exchange, 404, SERVER_ERROR_NOT_FOUND, NULL, "there is nothing at %s",
                    exchange->path);
    else if (exchange->route->json_body && headers->content_type && !is_json(headers->content_type))
        server_fail(exchange, 415, SERVER_ERROR_MEDIA_TYPE, NULL,
                    "the body must be application/json, not %s", headers->content_type);
    else if (headers->content_encoding && strcasecmp(headers->content_encoding, "identity") != 0)
        server_fail(exchange, 415, SERVER_ERROR_MEDIA_TYPE, NULL,
                    "the content encoding %s is not supported", headers->content_encoding);
    else if (exchange->route->needs_model && !ready) {
        exchange->retry_after = 1;
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL, "the model is being loaded");
    }
}

/* ---- the body ---- */

static bool grow_body(struct server_exchange *exchange, size_t wanted)
{
    size_t capacity = exchange->body_capacity ? exchange->body_capacity : FIRST_BODY_CAPACITY;
    char *body;
    while (capacity < wanted)
        capacity *= 2;
    body = realloc(exchange->body, capacity);
    if (!body)
        return false;
    exchange->body = body;
    exchange->body_capacity = capacity;
    return true;
}

static void drop_body(struct server_exchange *exchange)
{
    free(exchange->body);
    exchange->body = NULL;
    exchange->body_length = exchange->body_capacity = 0;
}

/* Takes a piece of the body; false when the connection is to be cut. */
static bool take_body(struct http_exchange *http, const char *data, size_t size)
{
    struct server_exchange *exchange = &http->exchange;
    size_t limit = exchange->server->options.max_body;
    if (exchange->status) {
        http->discarded += size;
        return http->discarded / DISCARD_FACTOR <= limit;
    }
    if (size > limit - exchange->body_length) {
        http->close = true;
        drop_body(exchange);
        server_fail(exchange, 413, SERVER_ERROR_VALIDATION, NULL,
                    "the body has over %zu bytes, the most that are accepted", limit);
        return true;
    }
    if (exchange->body_length + size > exchange->body_capacity &&
        !grow_body(exchange, exchange->body_length + size)) {
        drop_body(exchange);
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return true;
    }
    memcpy(exchange->body + exchange->body_length, data, size);
    exchange->body_length += size;
    return true;
}

/* ---- the answer ---- */

static void make_id(struct server_exchange *exchange)
{
    struct server *server = exchange->server;
    unsigned long long number =
        atomic_fetch_add_explicit(&server->requests, 1, memory_order_relaxed);
    if (!exchange->id[0])
        snprintf(exchange->id, sizeof(exchange->id), "%08llx-%llx",
                 (unsigned long long)server->id_seed & 0xFFFFFFFFU, number);
}

static void add_headers(struct http_exchange *http, struct MHD_Response *response)
{
    struct server_exchange *exchange = &http->exchange;
    char number[16];
    MHD_add_response_header(response, "Content-Type", "application/json");
    if (exchange->id[0])
        MHD_add_response_header(response, "X-Request-Id", exchange->id);
    if (exchange->status == 405)
        MHD_add_response_header(response, "Allow", exchange->allow);
    if (exchange->retry_after) {
        snprintf(number, sizeof(number), "%d", exchange->retry_after);
        MHD_add_response_header(response, "Retry-After", number);
    }
    if (http->close || server_get_state(exchange->server) == SERVER_DRAINING)
        MHD_add_response_header(response, "Connection", "close");
}

static enum MHD_Result respond(struct http_exchange *http)
{
    struct server_exchange *exchange = &http->exchange;
    enum MHD_ResponseMemoryMode mode = MHD_RESPMEM_MUST_FREE;
    struct MHD_Response *response;
    enum MHD_Result result;
    if (exchange->answer_is_static)
        mode = MHD_RESPMEM_PERSISTENT;
    else
        make_id(exchange);
    response = MHD_create_response_from_buffer(exchange->answer_length, exchange->answer, mode);
    if (!response)
        return MHD_NO;
    exchange->answer = NULL; /* it is the response's now */
    add_headers(http, response);
    result = MHD_queue_response(http->connection, exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Answers before the body has been read. The library then closes the connection. */
static enum MHD_Result respond_early(struct http_exchange *http)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(http->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *kept = info ? info->socket_context : NULL;
    if (kept)
        kept->linger = true;
    return respond(http);
}

static void on_job_done(struct server_job *job)
{
    struct server_exchange *exchange =
        (struct server_exchange *)(void *)((char *)job - offsetof(struct server_exchange, job));
    MHD_resume_connection(http_of(exchange)->connection);
}

/* Whether the client has closed its side. A suspended connection keeps its descriptor until it is
 * resumed, which is when the job is done. */
static bool on_job_asked(struct server_job *job)
{
    struct server_exchange *exchange =
        (struct server_exchange *)(void *)((char *)job - offsetof(struct server_exchange, job));
    struct pollfd fd = {.fd = http_of(exchange)->fd, .events = POLLRDHUP};
    return fd.fd >= 0 && poll(&fd, 1, 0) > 0;
}

static int descriptor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* Lets the handler loose on a complete request. */
static enum MHD_Result dispatch(struct http_exchange *http)
{
    struct server_exchange *exchange = &http->exchange;
    struct server_queue *queue = exchange->server->queue;
    exchange->route->handle(exchange);
    if (!exchange->status && exchange->finish) {
        if (server_queue_reserve(queue, exchange->job.count, exchange->job.tokens)) {
            exchange->job.done = on_job_done;
            exchange->job.gone = on_job_asked;
            http->fd = descriptor_of(http->connection);
            http->suspended = true;
            /* suspend before the push: the workers may be done before the push returns */
            MHD_suspend_connection(http->connection);
            server_queue_push(queue, &exchange->job);
            return MHD_YES;
        }
        server_fail_overloaded(exchange);
    }
    return respond(http);
}

/* ---- callbacks ---- */

/* The path of a request's target, which in its absolute form begins with scheme and host. */
static const char *path_of(const char *target)
{
    const char *authority = strncasecmp(target, "http://", 7) == 0    ? target + 7
                            : strncasecmp(target, "https://", 8) == 0 ? target + 8
                                                                      : NULL;
    const char *path = authority ? strchr(authority, '/') : target;
    return path ? path : "/";
}

/* Called with the target as it came. What is returned is the exchange's place until there is one.
 * Checked here and not by the library, whose answer to such errors is malformed. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    union {
        const char *from;
        void *to;
    } marker = {&malformed_target};
    (void)cls;
    (void)connection;
    return target && strchr(target, ' ') ? marker.to : NULL;
}

static struct http_exchange *begin(struct http_thread *thread, struct MHD_Connection *connection,
                                   const char *path, const char *method, const char *version)
{
    struct http_exchange *http = calloc(1, sizeof(*http));
    if (!http)
        return NULL;
    http->connection = connection;
    http->exchange.server = thread->server;
    http->exchange.pool = &thread->pool;
    http->exchange.method = method;
    http->exchange.path = path_of(path);
    http->exchange.began = server_now();
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &http->headers);
    if (http->headers.request_id)
        take_id(&http->exchange, http->headers.request_id);
    check_headers(http, strcmp(version, "HTTP/1.0") != 0);
    return http;
}

/* Called when the headers are there, for each piece of the body, when the body is complete, and
 * after a resume. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    struct http_exchange *http = *context;
    if (!http || *context == &malformed_target) {
        bool malformed = http != NULL;
        *context = http = begin(cls, connection, url, method, version);
        if (!http)
            return MHD_NO;
        if (malformed) {
            http->close = true;
            server_fail(&http->exchange, 400, SERVER_ERROR_VALIDATION, NULL,
                        "the request's target holds a space");
        }
        /* an answer before the body costs the connection: only where reading on costs more */
        if (http->exchange.status && (http->close || http->headers.expects_continue))
            return respond_early(http);
        return MHD_YES;
    }
    if (*size > 0) {
        bool keep = take_body(http, data, *size);
        *size = 0;
        return keep ? MHD_YES : MHD_NO;
    }
    if (http->suspended) {
        http->exchange.finish(&http->exchange);
        http->close = http->close || http->exchange.job.abandoned;
        return respond(http);
    }
    http->counted = true;
    atomic_fetch_add_explicit(&http->exchange.server->in_flight, 1, memory_order_relaxed);
    return http->exchange.status ? respond(http) : dispatch(http);
}

static void log_exchange(const struct http_exchange *http)
{
    const struct server_exchange *exchange = &http->exchange;
    const struct server_job *job = &exchange->job;
    double total = (double)(server_now() - exchange->began) / 1e6;
    bool computed = http->suspended;
    struct server_log_field fields[] = {
        {.name = "id", .kind = SERVER_LOG_TEXT, .text = exchange->id[0] ? exchange->id : "-"},
        {.name = "method", .kind = SERVER_LOG_TEXT, .text = exchange->method},
        {.name = "path", .kind = SERVER_LOG_TEXT, .text = exchange->path},
        {.name = "status", .kind = SERVER_LOG_INTEGER, .integer = exchange->status},
        {.name = "bytes_in",
         .kind = SERVER_LOG_INTEGER,
         .integer = (int64_t)(exchange->body_length + http->discarded)},
        {.name = "bytes_out",
         .kind = SERVER_LOG_INTEGER,
         .integer = (int64_t)exchange->answer_length},
        {.name = "total_ms", .kind = SERVER_LOG_REAL, .real = total},
        {.name = "texts", .kind = SERVER_LOG_INTEGER, .integer = job->count},
        {.name = "tokens", .kind = SERVER_LOG_INTEGER, .integer = job->tokens},
        {.name = "batch_texts", .kind = SERVER_LOG_INTEGER, .integer = job->batch_texts},
        {.name = "queue_ms",
         .kind = SERVER_LOG_REAL,
         .real = (double)(job->taken - job->queued) / 1e6},
        {.name = "inference_ms",
         .kind = SERVER_LOG_REAL,
         .real = (double)(job->ended - job->taken) / 1e6},
    };
    int count = (int)(sizeof(fields) / sizeof(*fields));
    server_log_event(&exchange->server->options.log, SERVER_LOG_DEBUG, "request", fields,
                     computed ? count : count - 5);
}

/* Called once an answer is sent, or the client has gone. A request that waits for a worker is never
 * completed before it is resumed. */
static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct http_thread *thread = cls;
    struct http_exchange *http = *context;
    (void)connection;
    (void)code;
    *context = NULL;
    if (!http || (const void *)http == &malformed_target)
        return;
    if (server_log_enabled(&thread->server->options.log, SERVER_LOG_DEBUG))
        log_exchange(http);
    if (http->counted)
        atomic_fetch_sub_explicit(&thread->server->in_flight, 1, memory_order_release);
    server_exchange_release(&http->exchange);
    free(http);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_thread *thread = cls;
    struct http_connection *kept = *context;
    int fd;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = calloc(1, sizeof(*kept)); /* without it the connection does not linger */
        return;
    }
    atomic_fetch_sub_explicit(&thread->server->connections, 1, memory_order_relaxed);
    if (kept && kept->linger) {
        fd = dup(descriptor_of(connection));
        if (fd >= 0)
            server_listener_linger(thread->server->listener, fd);
    }
    free(kept);
}

static void on_library_message(void *cls, const char *format, va_list arguments)
{
    const struct server *server = cls;
    char message[512];
    size_t length;
    vsnprintf(message, sizeof(message), format, arguments);
    length = strcspn(message, "\n");
    message[length] = '\0';
    /* it speaks of clients that went away or sent nonsense: nothing an operator must see */
    server_log_printf(&server->options.log, SERVER_LOG_DEBUG, "libmicrohttpd: %s", message);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX in place, but leaves %00 as it stands: decoded it would cut the path short, and
 * /health%00x would be /health. */
static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    const char *from = text;
    char *to = text;
    (void)cls;
    (void)connection;
    while (*from) {
        int high = *from == '%' ? hex_digit(from[1]) : -1;
        int low = high >= 0 ? hex_digit(from[2]) : -1;
        if (low >= 0 && high * 16 + low != 0) {
            *to++ = (char)(high * 16 + low);
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return (size_t)(to - text);
}

/* ---- the pool ---- */

static distil_status start_thread(struct server_http *http, struct http_thread *thread,
                                  int max_connections, distil_error *error)
{
    struct server *server = http->server;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    thread->server = server;
    /* the listener keeps the sum; a thread may hold more than its even share, never more than all
     */
    thread->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, thread, MHD_OPTION_EXTERNAL_LOGGER, on_library_message,
        server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, thread, MHD_OPTION_NOTIFY_CONNECTION, on_connection, thread,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(max_connections + LISTEN_SLACK),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)server->options.idle_timeout_seconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK,
        on_target, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_END);
    if (!thread->daemon)
        return distil_fail(error, DISTIL_SYSTEM, "an HTTP thread could not be started");
    http->count++;
    return DISTIL_OK;
}

distil_status server_http_start(struct server *server, int threads, int max_connections,
                                struct server_http **http, distil_error *error)
{
    struct server_http *made = calloc(1, sizeof(*made));
    distil_status status = DISTIL_OK;
    int i;
    if (!made || !(made->threads = calloc((size_t)threads, sizeof(*made->threads)))) {
        free(made);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the HTTP threads");
    }
    made->server = server;
    for (i = 0; i < threads && !status; i++)
        status = start_thread(made, &made->threads[i], max_connections, error);
    if (status) {
        server_http_free(made);
        return status;
    }
    *http = made;
    return DISTIL_OK;
}

void server_http_add(struct server_http *http, int fd, const struct sockaddr *address,
                     socklen_t length)
{
    unsigned i = http->next++ % (unsigned)http->count;
    /* counted here, as the thread takes it over some time later */
    atomic_fetch_add_explicit(&http->server->connections, 1, memory_order_relaxed);
    /* the library closes the socket when it cannot take it */
    if (MHD_add_connection(http->threads[i].daemon, fd, address, length) != MHD_YES)
        atomic_fetch_sub_explicit(&http->server->connections, 1, memory_order_relaxed);
}

void server_http_free(struct server_http *http)
{
    int i;
    if (!http)
        return;
    for (i = 0; i < http->count; i++) {
        MHD_stop_daemon(http->threads[i].daemon);
        server_token_pool_free(&http->threads[i].pool);
    }
    free(http->threads);
    free(http);
}

/* http.c: see http.h. */
#include "server/http.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/http_exchange.h"
#include "server/internal.h"
#include "server/listener.h"
#include "server/peers.h"
#include "server/router.h"
#include "server/tls.h"

enum {
    CONNECTION_MEMORY = 12 * 1024, /* for the request line, headers and a window of the body */
    LISTEN_SLACK = 64
};

struct server_http {
    struct server *server;
    int count;
    unsigned next; /* whom the next connection goes to */
    struct server_http_thread *threads;
};

/* In place of an exchange, from the request line on: the target holds a space. */
static const char malformed_target;

/* ---- callbacks ---- */

/* Called with the target as it came. What is returned is the exchange's place until there is one.
 * Checked here and not by the library, whose answer to such errors is malformed. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    union {
        const char *from;
        void *to;
    } marker = {&malformed_target};
    struct server_connection *kept = server_http_kept(connection);
    (void)cls;
    server_connection_wait(kept, SERVER_WAITING_HEADERS);
    if (kept && target)
        kept->target_end = (uintptr_t)(target + strlen(target));
    return target && strchr(target, ' ') ? marker.to : NULL;
}

/* Called when the headers are there, for each piece of the body, when the body is complete, and
 * after a resume. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context)
{
    struct server_http_exchange *http = *context;
    if (!http || *context == &malformed_target) {
        bool malformed = http != NULL;
        *context = http = server_http_begin(cls, connection, url, method, version);
        if (!http)
            return MHD_NO;
        if (malformed) {
            http->close = true;
            server_fail(&http->exchange, 400, SERVER_ERROR_VALIDATION, NULL,
                        "the request's target holds a space");
        }
        /* an answer before the body costs the connection: only where reading on costs more */
        if (http->exchange.status && (http->close || http->expects_continue))
            return server_http_respond_early(http);
        return MHD_YES;
    }
    if (*size > 0) {
        bool keep = server_http_take_body(http, data, *size);
        *size = 0;
        return keep ? MHD_YES : MHD_NO;
    }
    if (http->suspended) {
        atomic_fetch_sub_explicit(&http->exchange.server->suspended, 1, memory_order_relaxed);
        http->suspended = false;
        if (!http->exchange.status) /* it was not refused meanwhile */
            http->exchange.finish(&http->exchange);
        http->close = http->close || http->exchange.job.fate == SERVER_ABANDONED;
        return server_http_go_on(http) ? MHD_YES : server_http_respond(http);
    }
    http->counted = true;
    server_connection_wait(http->kept, SERVER_WAITING_SELF);
    /* in this order, so that whoever drains sees it in one place or the other */
    atomic_fetch_add_explicit(&http->exchange.server->in_flight, 1, memory_order_relaxed);
    server_http_arrived(http);
    return http->exchange.status ? server_http_respond(http) : server_http_dispatch(http);
}

/* Called once an answer is sent, or the client has gone. A request that waits for a worker is never
 * completed before it is resumed. */
static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct server_http_thread *thread = cls;
    struct server_http_exchange *http = *context;
    (void)connection;
    *context = NULL;
    if (!http || (const void *)http == &malformed_target)
        return;
    http->cut = code != MHD_REQUEST_TERMINATED_COMPLETED_OK;
    server_http_count_exchange(http);
    if (thread->server->options.access_log ||
        server_log_enabled(&thread->server->options.log, SERVER_LOG_DEBUG))
        server_http_log_exchange(http);
    if (http->suspended) /* its client had gone when it was resumed */
        atomic_fetch_sub_explicit(&thread->server->suspended, 1, memory_order_relaxed);
    server_http_arrived(http);
    if (http->counted)
        atomic_fetch_sub_explicit(&thread->server->in_flight, 1, memory_order_release);
    server_connection_wait(http->kept, SERVER_WAITING_NEXT);
    server_exchange_release(&http->exchange);
    free(http);
}

static const struct sockaddr *address_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : NULL;
}

/* Called before anything is read. Without what it makes, a connection has no deadlines and does not
 * linger. */
static struct server_connection *begin_connection(const struct server_http_thread *thread,
                                                  struct MHD_Connection *connection, int fd)
{
    struct server_connection *kept = server_connections_add(thread->connections, fd);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    /* a session without a certificate of its own begins with the one that the daemon has */
    if (kept && thread->server->tls && info && info->tls_session)
        kept->certificate = server_tls_begin(thread->server->tls, info->tls_session);
    return kept;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server_http_thread *thread = cls;
    struct server_connection *kept = *context;
    struct server *server = thread->server;
    int fd = server_http_descriptor(connection);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = begin_connection(thread, connection, fd);
        return;
    }
    atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
    if (server->peers)
        server_peers_leave(server->peers, address_of(connection));
    if (kept && kept->linger) {
        int copy = dup(fd);
        if (copy >= 0)
            server_listener_linger(server->listener, copy);
    }
    if (kept && kept->certificate)
        server_tls_end(server->tls, kept->certificate);
    server_connections_remove(thread->connections, kept);
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

/* What a string is in the library's list of options, which takes none for const. */
static struct MHD_OptionItem text_option(enum MHD_OPTION option, const char *text)
{
    union {
        const char *from;
        void *to;
    } value = {text};
    return (struct MHD_OptionItem){option, 0, value.to};
}

/* Fills in the options that TLS needs; the flags it needs. */
static unsigned tls_options(const struct server_tls *tls, struct MHD_OptionItem options[4])
{
    int count = 0;
    if (tls) {
        options[count++] =
            text_option(MHD_OPTION_HTTPS_MEM_CERT, server_tls_first_certificate(tls));
        options[count++] = text_option(MHD_OPTION_HTTPS_MEM_KEY, server_tls_first_key(tls));
        options[count++] = text_option(MHD_OPTION_HTTPS_PRIORITIES, server_tls_priorities());
    }
    options[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return tls ? MHD_USE_TLS : 0;
}

static distil_status start_thread(struct server_http *http, struct server_http_thread *thread,
                                  int max_connections, distil_error *error)
{
    struct server *server = http->server;
    struct MHD_OptionItem tls[4];
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    flags |= tls_options(server->tls, tls);
    thread->server = server;
    thread->connections = server_connections_create();
    if (!thread->connections)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for an HTTP thread");
    thread->number = (uint64_t)http->count << 48;
    thread->meter = server_http_meter(server, http->count);
    /* the listener keeps the sum; a thread may hold more than its even share, never more than all
     */
    thread->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, thread, MHD_OPTION_EXTERNAL_LOGGER, on_library_message,
        server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, thread, MHD_OPTION_NOTIFY_CONNECTION, on_connection, thread,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(max_connections + LISTEN_SLACK),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)server->options.idle_timeout_seconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK,
        on_target, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (!thread->daemon) {
        server_connections_free(thread->connections);
        return distil_fail(error, DISTIL_SYSTEM, "an HTTP thread could not be started");
    }
    http->count++;
    return DISTIL_OK;
}

/* Threads are scheduled as the one that starts them. SCHED_BATCH takes an idle CPU at once, but where
 * all compute it waits for a tick instead of interrupting: under load requests are then read and
 * answered many at a time, which costs less than one by one. */
static distil_status start_threads(struct server_http *http, int threads, int max_connections,
                                   distil_error *error)
{
    const struct sched_param none = {0};
    bool ordinary = sched_getscheduler(0) == SCHED_OTHER;
    distil_status status = DISTIL_OK;
    int i;
    if (ordinary)
        sched_setscheduler(0, SCHED_BATCH, &none); /* where it is not allowed, it costs more */
    for (i = 0; i < threads && !status; i++)
        status = start_thread(http, &http->threads[i], max_connections, error);
    if (ordinary)
        sched_setscheduler(0, SCHED_OTHER, &none);
    return status;
}

distil_status server_http_start(struct server *server, int threads, int max_connections,
                                struct server_http **http, distil_error *error)
{
    struct server_http *made = calloc(1, sizeof(*made));
    distil_status status;
    if (!made || !(made->threads = calloc((size_t)threads, sizeof(*made->threads)))) {
        free(made);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the HTTP threads");
    }
    made->server = server;
    status = start_threads(made, threads, max_connections, error);
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
    if (MHD_add_connection(http->threads[i].daemon, fd, address, length) != MHD_YES) {
        atomic_fetch_sub_explicit(&http->server->connections, 1, memory_order_relaxed);
        if (http->server->peers)
            server_peers_leave(http->server->peers, address);
    }
}

void server_http_sweep(struct server_http *http)
{
    const struct server_options *options = &http->server->options;
    const struct server_limits limits = {
        .idle_timeout = options->idle_timeout_seconds,
        .header_timeout = options->header_timeout_seconds,
        .body_timeout = options->body_timeout_seconds,
        .min_rate = options->min_rate,
    };
    int i;
    for (i = 0; i < http->count; i++)
        server_connections_sweep(http->threads[i].connections, &limits,
                                 server_common_meter(http->server));
}

bool server_http_expects(struct server_http *http, uint64_t last_ms)
{
    int i, open = 0;
    for (i = 0; i < http->count; i++) {
        int own;
        if (server_connections_expect(http->threads[i].connections, last_ms, &own))
            return true;
        open += own;
    }
    /* one that was handed to a thread and not begun by it yet */
    return open < atomic_load_explicit(&http->server->connections, memory_order_relaxed);
}

/* The same among those that wait for such a request. */
static bool make_room_of(struct server_http *http, enum server_waiting waiting, int64_t least_ms)
{
    struct server_connections *chosen = NULL;
    uint64_t longest = 0;
    int i;
    for (i = 0; i < http->count; i++) {
        bool leaving;
        uint64_t idle =
            server_connections_longest_idle(http->threads[i].connections, waiting, &leaving);
        if (leaving)
            return true;
        if (idle > longest) {
            longest = idle;
            chosen = http->threads[i].connections;
        }
    }
    if (!chosen || longest < (uint64_t)least_ms)
        return false;
    server_connections_end_idle(chosen, waiting, server_common_meter(http->server));
    return true;
}

bool server_http_make_room(struct server_http *http, int64_t least_ms)
{
    /* those that never asked go before those of users */
    return make_room_of(http, SERVER_WAITING_FIRST, least_ms) ||
           make_room_of(http, SERVER_WAITING_NEXT, least_ms);
}

void server_http_free(struct server_http *http)
{
    int i;
    if (!http)
        return;
    for (i = 0; i < http->count; i++) {
        MHD_stop_daemon(http->threads[i].daemon);
        server_token_pool_free(&http->threads[i].pool);
        server_connections_free(http->threads[i].connections);
    }
    free(http->threads);
    free(http);
}

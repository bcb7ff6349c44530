/* http_work.c: what becomes of a complete request: who makes sense of it, and who computes its answer
 * while its connection sleeps. */
#include <poll.h>

#include "server/body.h"
#include "server/http_exchange.h"
#include "server/internal.h"
#include "server/router.h"

static struct server_http_exchange *reading_of(struct server_reading *reading)
{
    return (struct server_http_exchange *)(void *)((char *)reading -
                                                   offsetof(struct server_http_exchange, reading));
}

/* Answers a large request, and frees what it was: its thread has only to send the answer. */
static void on_finish(struct server_reading *reading, enum server_turn turn)
{
    struct server_http_exchange *http = reading_of(reading);
    (void)turn;
    http->exchange.finish(&http->exchange);
    if (server_http_go_on(http))
        return;
    server_exchange_forget(&http->exchange);
    MHD_resume_connection(http->connection);
}

/* Wakes the connection of an exchange that is computed. */
static void on_wake(struct server_exchange *exchange)
{
    struct server_http_exchange *http = server_http_of(exchange);
    if (!http->reading.read) {
        MHD_resume_connection(http->connection);
        return;
    }
    http->reading = (struct server_reading){.read = on_finish};
    server_reader_push(exchange->server->reader, &http->reading);
}

static void on_job_done(struct server_job *job)
{
    on_wake(
        (struct server_exchange *)(void *)((char *)job - offsetof(struct server_exchange, job)));
}

/* Whether the client has closed its side. A suspended connection keeps its descriptor until it is
 * resumed, which is when the job is done. */
static bool on_job_asked(struct server_job *job)
{
    struct server_exchange *exchange =
        (struct server_exchange *)(void *)((char *)job - offsetof(struct server_exchange, job));
    struct pollfd fd = {.fd = server_http_of(exchange)->fd, .events = POLLRDHUP};
    return fd.fd >= 0 && poll(&fd, 1, 0) > 0;
}

int server_http_descriptor(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* Puts the connection to sleep. */
static void suspend(struct server_http_exchange *http)
{
    if (http->suspended)
        return;
    http->suspended = true;
    atomic_fetch_add_explicit(&http->exchange.server->suspended, 1, memory_order_relaxed);
    MHD_suspend_connection(http->connection);
}

bool server_http_go_on(struct server_http_exchange *http)
{
    struct server_exchange *exchange = &http->exchange;
    if (exchange->status || !exchange->submit)
        return false;
    exchange->wake = on_wake;
    suspend(http);
    exchange->submit(exchange);
    return true;
}

/* Hands what the handler prepared to those who do the work; false where the exchange is answered. */
static bool hand_on(struct server_http_exchange *http)
{
    struct server_exchange *exchange = &http->exchange;
    struct server_queue *queue = exchange->server->queue;
    enum server_room room;
    int64_t wait;
    if (exchange->status || (!exchange->submit && !exchange->finish))
        return false;
    if (exchange->submit)
        return server_http_go_on(http);
    if (!server_work_make_outputs(exchange))
        return false;
    room = server_queue_reserve(queue, &exchange->job, &wait);
    if (room == SERVER_ROOM_LATE && server_now() >= exchange->job.deadline) {
        server_fail_handed(exchange, SERVER_OUTCOME_LATE, "texts"); /* reading it took too long */
        return false;
    }
    if (room != SERVER_ROOM) {
        server_fail_overloaded(exchange, room, wait);
        return false;
    }
    exchange->job.done = on_job_done;
    exchange->job.gone = on_job_asked;
    http->fd = server_http_descriptor(http->connection);
    /* suspend before the push: the workers may be done before the push returns */
    suspend(http);
    server_queue_push(queue, &exchange->job);
    return true;
}

/* Why a large request that has waited is not worth being read; SERVER_COMPUTED where it is. */
static enum server_fate fate_unread(struct server_http_exchange *http, enum server_turn turn)
{
    if (turn == SERVER_TURN_ENDING)
        return SERVER_STOPPED;
    if (turn == SERVER_TURN_LATE)
        return SERVER_EXPIRED;
    if (server_now() - http->handed > SERVER_PATIENCE_NS && on_job_asked(&http->exchange.job))
        return SERVER_ABANDONED;
    return SERVER_COMPUTED;
}

/* What dispatch does, for a large request and on a thread of the reader's. */
static void on_read(struct server_reading *reading, enum server_turn turn)
{
    struct server_http_exchange *http = reading_of(reading);
    struct server_exchange *exchange = &http->exchange;
    struct server_token_pool *pool = exchange->pool, own = {.count = 0};
    exchange->job.fate = fate_unread(http, turn);
    if (exchange->job.fate == SERVER_COMPUTED) {
        exchange->pool = &own; /* the other is its own thread's */
        exchange->route->handle(exchange);
        exchange->pool = pool;
        if (hand_on(http))
            return;
    } else {
        exchange->job.status = DISTIL_BUSY;
        server_job_succeeded(exchange, 500);
    }
    server_exchange_forget(exchange);
    MHD_resume_connection(http->connection);
}

/* Leaves a large request to the reader. */
static void read_elsewhere(struct server_http_exchange *http)
{
    struct server_exchange *exchange = &http->exchange;
    http->reading = (struct server_reading){
        .bytes = exchange->body_capacity, .deadline = exchange->job.deadline, .read = on_read};
    http->fd = server_http_descriptor(http->connection);
    http->handed = server_now();
    suspend(http); /* before the push, after which it may be read already */
    if (server_reader_push(exchange->server->reader, &http->reading))
        return;
    server_fail_handed(exchange, SERVER_OUTCOME_FULL, "large requests");
    MHD_resume_connection(http->connection);
}

/* What the queue would at best say to the texts of a request, which has a byte for each of their tokens, whichever model of the
 * route's task it names. */
static enum server_room foresee(const struct server_exchange *exchange, uint64_t bytes,
                                int64_t *wait)
{
    struct server_models *models = exchange->server->models;
    struct server_queue *queue = exchange->server->queue;
    const int64_t deadline = exchange->job.deadline;
    /* behind all that waits it would wait the longest */
    enum server_room room = server_queue_foresee(queue, NULL, 0, deadline, wait);
    int i, count = server_models_count(models);
    if (room == SERVER_ROOM || room == SERVER_ROOM_FULL)
        return room;
    room = SERVER_ROOM;
    for (i = 0; i < count; i++) {
        struct server_model *model = server_models_use_at(models, i);
        bool may_be = model->info->task == exchange->route->task;
        if (may_be)
            room = server_queue_foresee(queue, model, (int64_t)bytes, deadline, wait);
        server_models_leave(models, model);
        if (may_be && room == SERVER_ROOM)
            break;
    }
    return room;
}

bool server_http_shed(struct server_exchange *exchange, uint64_t bytes)
{
    const struct server_route *route = exchange->route;
    enum server_room room;
    int64_t wait;
    if (!route->needs_model || !route->json_body || route->may_skip_queue)
        return false;
    room = foresee(exchange, bytes, &wait);
    /* one whose deadline is over is answered as such */
    if (room == SERVER_ROOM || (room == SERVER_ROOM_LATE && server_now() >= exchange->job.deadline))
        return false;
    server_fail_overloaded(exchange, room, wait);
    return true;
}

enum MHD_Result server_http_dispatch(struct server_http_exchange *http)
{
    struct server_exchange *exchange = &http->exchange;
    if (server_http_shed(exchange, exchange->body_length)) /* it is not worth being read */
        return server_http_respond(http);
    if (exchange->route->json_body && exchange->body_length > SERVER_SMALL_BODY) {
        read_elsewhere(http);
        return MHD_YES;
    }
    exchange->route->handle(exchange);
    return hand_on(http) ? MHD_YES : server_http_respond(http);
}

/* drain.c: how a server takes its leave: what it has begun to receive is received and answered. */
#include "server/http.h"
#include "server/internal.h"
#include "server/listener.h"
#include "server/prediction_log.h"

/* A request that was on its way when the server began to drain is waited for this long. */
static const int64_t settle_ns = 100000000;
/* This long, where a connection was opened just before, or bytes wait to be read: on a busy machine a TLS handshake takes a
 * while, and what has come is read late. */
static const int64_t expect_ns = 1000000000;
static const int64_t sweep_ns = 250000000;

int server_in_flight(const struct server *server)
{
    return atomic_load_explicit(&server->in_flight, memory_order_acquire);
}

int server_arriving(const struct server *server)
{
    return atomic_load_explicit(&server->arriving, memory_order_acquire);
}

void server_retire(struct server *server)
{
    int ready = SERVER_READY;
    atomic_compare_exchange_strong(&server->state, &ready, SERVER_DRAINING);
}

void server_drain(struct server *server)
{
    server_retire(server);
    server->drain_began = server_now();
    server_listener_stop(server->listener);
}

/* What the listener does else, which has ended: slow clients are not to hold up the end. */
static void sweep(struct server *server, int64_t now)
{
    if (server->predictions)
        server_prediction_log_sweep(server->predictions);
    if (now - server->drain_swept < sweep_ns)
        return;
    server->drain_swept = now;
    server_http_sweep(server->http);
}

static bool is_busy(const struct server *server)
{
    /* in this order, as what has arrived is in flight */
    return server_arriving(server) > 0 || server_in_flight(server) > 0;
}

/* Whether a connection that was accepted may yet show a request. */
static bool expects(const struct server *server, int64_t drained_for)
{
    int64_t most = server->options.drain_timeout_seconds > 0 ? expect_ns : 0;
    return drained_for < most && server_http_expects(server->http, (uint64_t)(expect_ns / 1000000));
}

bool server_drained(struct server *server)
{
    int64_t now = server_now(), drained_for = now - server->drain_began;
    sweep(server, now);
    if (is_busy(server) || drained_for <= settle_ns || expects(server, drained_for))
        return false;
    return !is_busy(server); /* with what showed itself meanwhile */
}

/* drain.c: how a server takes its leave: what it has begun to receive is received and answered. */
#include "server/http.h"
#include "server/internal.h"
#include "server/listener.h"
#include "server/prediction_log.h"

/* A request that was on its way when the server began to drain is waited for this long. */
static const int64_t settle_ns = 100000000;
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

bool server_drained(struct server *server)
{
    int64_t now = server_now();
    int arriving;
    sweep(server, now);
    /* first, as what has arrived is in flight */
    arriving = server_arriving(server);
    return arriving == 0 && server_in_flight(server) == 0 && now - server->drain_began > settle_ns;
}

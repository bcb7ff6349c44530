/* internal.h: the server's own state, seen by its parts only. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <stdatomic.h>

#include "server/model.h"
#include "server/queue.h"
#include "server/server.h"
#include "server/worker.h"

struct server_http;
struct server_listener;

enum server_state { SERVER_LOADING, SERVER_READY, SERVER_DRAINING };

struct server {
    struct server_options options;
    struct server_model_options
        default_model;    /* what options.models points to when none is given */
    atomic_int state;     /* enum server_state; models, queue and workers are there from READY on */
    atomic_int in_flight; /* complete requests that are not yet fully answered */
    atomic_int connections; /* open */
    atomic_ullong requests; /* received since the start, which number the request ids */
    uint64_t id_seed;
    int64_t drain_began;
    bool loaded;

    struct server_model *models; /* (options.model_count) */
    struct server_queue *queue;
    struct server_workers *workers;
    struct server_http *http;
    struct server_listener *listener;
};

static inline enum server_state server_get_state(const struct server *server)
{
    return (enum server_state)atomic_load_explicit(&server->state, memory_order_acquire);
}

#endif

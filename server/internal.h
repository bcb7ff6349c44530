/* internal.h: the server's own state, seen by its parts only. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <stdatomic.h>

#include "server/lanes.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/queue.h"
#include "server/reload.h"
#include "server/server.h"
#include "server/worker.h"

struct server_access;
struct server_login;
struct server_tls;
struct server_http;
struct server_listener;
struct server_offers;
struct server_peers;
struct server_recommender;
struct server_prediction_log;
struct server_reader;
struct server_state_dir;
struct server_drift_monitor;

enum server_state { SERVER_LOADING, SERVER_READY, SERVER_DRAINING };

struct server {
    struct server_options options;
    atomic_int state;     /* enum server_state; models, queue and workers are there from READY on */
    atomic_int arriving;  /* requests whose headers have come and whose body is on its way */
    atomic_int in_flight; /* complete requests that are not yet fully answered */
    atomic_int suspended; /* requests with the workers or the reader, or waiting for one */
    atomic_int connections; /* open */
    atomic_size_t
        bodies; /* bytes that the bodies of large requests take, from arriving to answered */
    atomic_ullong draws; /* of random numbers */
    uint64_t id_seed;
    int64_t drain_began;
    int64_t drain_swept; /* when connections were last looked at while draining */
    int64_t seen_alive;  /* by the service manager, last */
    bool loaded;

    struct server_state_dir *state_lock;
    const char *state_dir; /* its path; NULL: nothing outlives the server */

    struct server_prediction_log *predictions; /* NULL: there is none */

    struct server_metrics *metrics; /* a meter for each HTTP thread, each worker, and the rest */
    struct server_lanes lanes;
    struct server_models *models;
    struct server_reloader *reloader;   /* from READY on */
    struct server_drift_monitor *drift; /* from READY on; NULL where there is no state directory */
    const char **watched;               /* the names of the models whose predictions it compares */
    struct server_reload_record reloads[SERVER_RELOADABLE];
    struct server_queue *queue;
    struct server_workers *workers;
    struct server_offers *offers; /* from READY on; NULL: there is no catalogue */
    struct server_access *access;
    struct server_login *login;             /* NULL: there is no session password */
    struct server_recommender *recommender; /* the same; NULL without a state directory too */
    struct server_tls *tls;                 /* NULL: plain HTTP */
    struct server_peers *peers; /* NULL where the connections of an address are not limited */
    struct server_reader *reader;
    struct server_http *http;
    struct server_listener *listener;
};

/* The meters of an HTTP thread, and of the threads of which there is one. Between them are those of the
 * workers, one for each lane. */
static inline struct server_meter *server_http_meter(const struct server *server, int thread)
{
    return server_metrics_meter(server->metrics, thread);
}

static inline struct server_meter *server_common_meter(const struct server *server)
{
    return server_metrics_meter(server->metrics,
                                server->options.http_threads + server->lanes.count);
}

static inline enum server_state server_get_state(const struct server *server)
{
    return (enum server_state)atomic_load_explicit(&server->state, memory_order_acquire);
}

/* A number that clients cannot foresee, for spreading them out. Not for secrets. */
uint32_t server_random(struct server *server);

#endif

/* server.c: its parts, from their start to their end; see server.h. */
#include "server/server.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "server/access.h"
#include "server/drift_monitor.h"
#include "server/http.h"
#include "server/internal.h"
#include "server/listener.h"
#include "server/log_writer.h"
#include "server/login.h"
#include "server/notify.h"
#include "server/offers.h"
#include "server/peers.h"
#include "server/prediction_log.h"
#include "server/reader.h"
#include "server/recommender.h"
#include "server/reload.h"
#include "server/state_dir.h"
#include "server/tls.h"

/* Bytes of large requests that wait to be read. */
enum { MAX_READING = 64 * 1024 * 1024 };

/* What resumed connections get for sending their last answers before they are closed. */
static const int64_t flush_ns = 1000000000;

static bool create_queue(struct server *server)
{
    const struct server_options *options = &server->options;
    const struct server_queue_options queue = {
        .max_texts = options->max_queue,
        .max_tokens = options->max_queue_tokens,
        .max_wait = (int64_t)options->max_queue_ms * 1000000,
        .max_batch_tokens = options->max_batch_tokens,
        .max_batch_time = (int64_t)options->max_batch_ms * 1000000,
    };
    if (!server_lanes_create(&server->lanes, options->threads, options->workers))
        return false;
    server->queue = server_queue_create(&queue, &server->lanes);
    return server->queue != NULL;
}

static bool create_metrics(struct server *server)
{
    server->metrics = server_metrics_create(server->options.http_threads + server->lanes.count + 1);
    return server->metrics != NULL;
}

/* Takes the state directory. One that nobody asked for is done without where that fails. */
static distil_status open_state(struct server *server, distil_error *error)
{
    const struct server_options *options = &server->options;
    distil_error problem;
    distil_status status;
    if (!options->state_dir)
        return DISTIL_OK;
    status = *options->state_dir
                 ? server_state_dir_open(options->state_dir, &server->state_lock, &problem)
                 : distil_fail(&problem, DISTIL_INVALID,
                               "neither --state-dir nor XDG_STATE_HOME nor HOME names a directory");
    if (!status)
        server->state_dir = server_state_dir_path(server->state_lock);
    else if (options->state_required)
        return distil_fail(error, status, "%s", problem.message);
    else
        server_log_printf(&options->log, SERVER_LOG_WARN, "nothing outlives this server: %s",
                          problem.message);
    return DISTIL_OK;
}

static distil_status start_predictions(struct server *server, distil_error *error)
{
    const struct server_options *options = &server->options;
    if (!server->state_dir || !options->predictions.enabled)
        return DISTIL_OK;
    return server_prediction_log_start(server->state_dir, &options->predictions, &options->log,
                                       server_common_meter(server), &server->predictions, error);
}

distil_status server_start(const struct server_options *options, struct server **server,
                           distil_error *error)
{
    struct server *made;
    distil_status status = server_options_check(options, error);
    if (status)
        return status;
    made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the server");
    made->options = *options;
    atomic_init(&made->state, SERVER_LOADING);
    server_options_complete(&made->options);
    if (getrandom(&made->id_seed, sizeof(made->id_seed), 0) != sizeof(made->id_seed))
        made->id_seed = (uint64_t)server_now();
    made->options.log.writer = server_log_writer_start(&options->log);
    if (!made->options.log.writer || !create_queue(made) || !create_metrics(made))
        status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the server");
    if (!status && made->options.max_connections_per_address > 0 &&
        !(made->peers = server_peers_create(made->options.max_connections)))
        status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the clients");
    if (!status)
        status = server_models_create(&made->options, &made->lanes, &made->models, error);
    if (!status)
        status =
            server_access_create(&made->options.access, &made->options.log, &made->access, error);
    if (!status)
        status =
            server_login_create(&made->options.access, &made->options.log, &made->login, error);
    if (!status)
        status = server_tls_create(made->options.tls_certificate, made->options.tls_key,
                                   &made->options.log, &made->tls, error);
    if (!status)
        status = open_state(made, error);
    if (!status)
        status = start_predictions(made, error);
    if (!status)
        status = server_reader_start(MAX_READING, &made->reader, error);
    if (!status)
        status = server_http_start(made, made->options.http_threads, made->options.max_connections,
                                   &made->http, error);
    if (!status && !options->listen_when_ready)
        status = server_listener_start(made, made->options.max_connections, &made->listener, error);
    if (status) {
        server_free(made);
        return status;
    }
    *server = made;
    return DISTIL_OK;
}

/* Watches what is predicted by each model that predicts labels. */
static distil_status watch_drift(struct server *server, distil_error *error)
{
    const struct server_options *options = &server->options;
    struct server_drift_settings settings = {
        .state_dir = server->state_dir,
        .window = options->drift_window,
        .interval_seconds = options->drift_interval_seconds,
        .min_rows = options->drift_min_rows,
        .log = &options->log,
    };
    int i, count = server_models_count(server->models);
    if (!server->state_dir)
        return DISTIL_OK;
    server->watched = calloc((size_t)count, sizeof(*server->watched));
    if (!server->watched)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the models");
    for (i = 0; i < count; i++) {
        struct server_model *model = server_models_use_at(server->models, i);
        if (model->info->task == DISTIL_TASK_CLASSIFY)
            server->watched[settings.model_count++] =
                options->models[i].name ? options->models[i].name : SERVER_DEFAULT_MODEL;
        server_models_leave(server->models, model);
    }
    settings.models = server->watched;
    return server_drift_monitor_start(&settings, &server->drift, error);
}

/* Nothing is recommended without a directory to keep scores in. */
static distil_status open_recommender(struct server *server, struct server_stock *stock,
                                      distil_error *error)
{
    const struct server_recommender_options options = {
        .state_dir = server->state_dir,
        .template_file = server->options.profile_template,
        .log = &server->options.log,
    };
    if (!options.state_dir)
        return DISTIL_OK;
    return server_recommender_create(&options, stock, &server->recommender, error);
}

static distil_status open_catalogue(struct server *server, distil_error *error)
{
    const struct server_options *options = &server->options;
    struct server_offer *offer = NULL;
    distil_status status;
    if (!options->catalogue)
        return DISTIL_OK;
    status =
        server_offer_open(options->catalogue, options->threads, options->verify, &offer, error);
    if (!status)
        server_catalogue_check_encoder(offer->catalogue, server->models, &options->log);
    if (!status)
        status = server_offers_create(offer, &server->offers, error);
    if (status)
        server_offer_free(offer);
    return status ? status : open_recommender(server, &offer->stock, error);
}

static distil_status start_reloader(struct server *server, distil_error *error)
{
    const struct server_reload_settings settings = {
        .models = server->models,
        .queue = server->queue,
        .catalogue = server->options.catalogue,
        .threads = server->options.threads,
        .offers = server->offers,
        .recommender = server->recommender,
        .log = &server->options.log,
        .records = server->reloads,
    };
    return server_reloader_start(&settings, &server->reloader, error);
}

distil_status server_load(struct server *server, distil_error *error)
{
    const struct server_options *options = &server->options;
    distil_status status = server_models_load(server->models, error);
    if (!status)
        status = open_catalogue(server, error);
    if (!status)
        status = server_workers_start(server->queue, &server->lanes, &options->log, server->metrics,
                                      options->http_threads, &server->workers, error);
    if (!status)
        status = start_reloader(server, error);
    if (!status)
        status = watch_drift(server, error);
    if (status)
        return status;
    atomic_store_explicit(&server->state, SERVER_READY, memory_order_release);
    if (!server->listener)
        status = server_listener_start(server, options->max_connections, &server->listener, error);
    return status;
}

uint32_t server_random(struct server *server)
{
    /* the finaliser of splitmix64, over a count from a random start */
    uint64_t x = server->id_seed +
                 0x9E3779B97F4A7C15U *
                     (1 + atomic_fetch_add_explicit(&server->draws, 1, memory_order_relaxed));
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return (uint32_t)(x >> 32);
}

/* Keeps, and says, what became of reading something again; `error` says why where it failed. */
static void note_reload(struct server *server, enum server_reloadable kind, const char *what,
                        distil_status status, const distil_error *error)
{
    const struct server_log *log = &server->options.log;
    server_reload_note(&server->reloads[kind], status == DISTIL_OK);
    if (status)
        server_log_printf(log, SERVER_LOG_ERROR, "the %s not reloaded: %s", what, error->message);
    else
        server_log_printf(log, SERVER_LOG_INFO, "the %s reloaded", what);
}

/* Reads the files that say who may ask, and the certificate, where there are any. */
static void reload_credentials(struct server *server)
{
    distil_error error;
    distil_status status;
    if (server->options.access.api_keys || server->options.access.jwt_keys) {
        status = server_access_reload(server->access, &error);
        note_reload(server, SERVER_RELOAD_KEYS, "keys were", status, &error);
    }
    if (server->tls) {
        status = server_tls_reload(server->tls, &error);
        note_reload(server, SERVER_RELOAD_CERTIFICATE, "certificate was", status, &error);
    }
}

static void on_reloaded(struct server_handed *handed)
{
    if (handed->outcome != SERVER_OUTCOME_STOPPED)
        server_notify_ready();
    free(handed);
}

void server_reload(struct server *server)
{
    struct server_reload_request *request;
    if (server_get_state(server) == SERVER_LOADING)
        return;
    server_notify_reloading();
    reload_credentials(server);
    request = calloc(1, sizeof(*request));
    if (!request) {
        server_log_printf(&server->options.log, SERVER_LOG_ERROR,
                          "the models were not reloaded: out of memory");
        server_notify_ready();
        return;
    }
    request->handed.done = on_reloaded;
    server_reloader_ask(server->reloader, request);
}

int server_port(const struct server *server)
{
    return server_listener_port(server->listener);
}

/* Waits until every answer is sent, or for a second: a client that does not read must not hold up
 * the end. */
static void flush(const struct server *server)
{
    const struct timespec pause = {0, 1000000};
    int64_t deadline = server_now() + flush_ns;
    while (server_in_flight(server) > 0 && server_now() < deadline)
        nanosleep(&pause, NULL);
}

void server_free(struct server *server)
{
    if (!server)
        return;
    server_drain(server);
    if (server->queue)
        server_queue_close(server->queue);
    server_workers_free(server->workers);
    server_recommender_stop(server->recommender);
    /* before what it replaces, so that nothing new comes when that has ended */
    server_reloader_stop(server->reloader);
    server_offers_stop(server->offers);
    server_login_stop(server->login);
    server_drift_monitor_stop(server->drift);
    server_prediction_log_end_feedback(server->predictions);
    /* last, as the others have it write the answers to large requests; after it no connection is suspended */
    server_reader_stop(server->reader);
    flush(server);
    server_http_free(server->http);
    server_listener_free(server->listener);
    if (!server_prediction_log_free(server->predictions)) {
        /* its thread hangs and may yet go on: what it has of the server's stays */
        server_log_writer_flush(server->options.log.writer);
        return;
    }
    server_tls_free(server->tls);
    server_access_free(server->access);
    server_login_free(server->login);
    server_recommender_free(server->recommender);
    server_offers_free(server->offers);
    server_reader_free(server->reader);
    server_drift_monitor_free(server->drift);
    free(server->watched);
    server_reloader_free(server->reloader);
    server_models_free(server->models);
    server_metrics_free(server->metrics);
    server_peers_free(server->peers);
    server_queue_free(server->queue);
    server_lanes_free(&server->lanes);
    server_state_dir_free(server->state_lock);
    server_log_writer_free(server->options.log.writer);
    free(server);
}

/* reload.c: see reload.h. */
#include "server/reload.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_WAITING = 64 };

struct server_reloader {
    struct server_reload_settings settings;
    pthread_t thread;
    bool started;
    struct server_handover requests; /* that wait for it */
};

void server_reload_note(struct server_reload_record *record, bool succeeded)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    atomic_fetch_add_explicit(succeeded ? &record->succeeded : &record->failed, 1,
                              memory_order_relaxed);
    atomic_store_explicit(&record->last_failed, !succeeded, memory_order_relaxed);
    atomic_store_explicit(&record->at, (long long)now.tv_sec * 1000000000 + now.tv_nsec,
                          memory_order_relaxed);
}

/* The first digits of a digest, as people name it. */
enum { SHOWN_DIGITS = 12 };

static void reload_one(const struct server_reloader *reloader, int i,
                       struct server_reload_outcome *outcome)
{
    const struct server_reload_settings *settings = &reloader->settings;
    const struct server_log *log = settings->log;
    int64_t began = server_now();
    enum server_swap swap = SERVER_UNCHANGED;
    distil_error error;
    distil_status status = server_models_swap(settings->models, i, settings->queue, &swap, &error);
    struct server_model *model = server_models_use_at(settings->models, i);
    if (status) {
        server_log_printf(log, SERVER_LOG_ERROR,
                          "model %s was not replaced and goes on as it was: %s", model->name,
                          error.message);
        if (outcome->failed++ == 0)
            outcome->error = error;
    } else if (swap == SERVER_UNCHANGED) {
        server_log_printf(log, SERVER_LOG_INFO, "model %s is unchanged", model->name);
        outcome->unchanged++;
    } else {
        const char *digest = model->info->digest;
        server_log_printf(log, SERVER_LOG_INFO, "model %s was replaced by %s%s%.*s in %.3f s",
                          model->name, model->info->path, *digest ? ", digest " : "", SHOWN_DIGITS,
                          digest, (double)(server_now() - began) / 1e9);
        outcome->swapped++;
    }
    server_models_leave(settings->models, model);
}

/* Whether both were opened from one file that was not written to since. */
static bool same_catalogue(const struct server_offer *a, const struct server_offer *b)
{
    return distil_catalogue_same_file(a->stock.items, b->stock.items) &&
           strcmp(distil_catalogue_info(a->stock.items)->digest,
                  distil_catalogue_info(b->stock.items)->digest) == 0;
}

/* Opens the catalogue anew, verifies it and has the recommender learn it. *offer is NULL where the file is the one that is
 * there. */
static distil_status open_offer(const struct server_reload_settings *settings,
                                struct server_offer **offer, distil_error *error)
{
    struct server_offer *now = server_offers_use(settings->offers);
    distil_status status =
        server_offer_open(settings->catalogue, settings->threads, true, offer, error);
    if (!status && same_catalogue(*offer, now)) {
        server_offer_free(*offer);
        *offer = NULL;
    }
    server_offers_leave(settings->offers, now);
    if (status || !*offer)
        return status;
    server_catalogue_check_encoder((*offer)->catalogue, settings->models, settings->log);
    if (settings->recommender)
        status = server_recommender_restock(settings->recommender, &(*offer)->stock, error);
    if (status)
        server_offer_free(*offer);
    return status;
}

static void reload_catalogue(const struct server_reloader *reloader,
                             struct server_reload_outcome *outcome)
{
    const struct server_reload_settings *settings = &reloader->settings;
    const struct server_log *log = settings->log;
    int64_t began = server_now();
    struct server_offer *offer;
    distil_error error;
    distil_status status = open_offer(settings, &offer, &error);
    if (status) {
        server_log_printf(log, SERVER_LOG_ERROR,
                          "the catalogue was not replaced and goes on as it was: %s",
                          error.message);
        if (outcome->failed == 0)
            outcome->error = error;
        outcome->catalogue = SERVER_CATALOGUE_FAILED;
    } else if (!offer) {
        server_log_printf(log, SERVER_LOG_INFO, "the catalogue is unchanged");
        outcome->catalogue = SERVER_CATALOGUE_UNCHANGED;
    } else {
        const distil_catalogue_facts *facts = distil_catalogue_info(offer->stock.items);
        server_offers_put(settings->offers, offer);
        server_log_printf(log, SERVER_LOG_INFO,
                          "the catalogue was replaced by %s, %ld items, digest %.*s in %.3f s",
                          facts->path, facts->items, SHOWN_DIGITS, facts->digest,
                          (double)(server_now() - began) / 1e9);
        outcome->catalogue = SERVER_CATALOGUE_SWAPPED;
    }
    server_reload_note(&settings->records[SERVER_RELOAD_CATALOGUE], status == DISTIL_OK);
}

static void *run(void *argument)
{
    struct server_reloader *reloader = argument;
    struct server_handed *first, *each;
    while (
        (first = server_handover_take(&reloader->requests, MAX_WAITING, SERVER_HANDOVER_NEVER))) {
        struct server_reload_outcome outcome = {0};
        int i;
        for (i = 0; i < server_models_count(reloader->settings.models); i++)
            reload_one(reloader, i, &outcome);
        server_reload_note(&reloader->settings.records[SERVER_RELOAD_MODELS], outcome.failed == 0);
        if (reloader->settings.offers)
            reload_catalogue(reloader, &outcome);
        for (each = first; each; each = each->next)
            ((struct server_reload_request *)(void *)each)->outcome = outcome;
        server_handed_end(first, SERVER_OUTCOME_DONE);
    }
    return NULL;
}

distil_status server_reloader_start(const struct server_reload_settings *settings,
                                    struct server_reloader **reloader, distil_error *error)
{
    struct server_reloader *made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for reloading models");
    made->settings = *settings;
    server_handover_init(&made->requests, MAX_WAITING);
    made->started = pthread_create(&made->thread, NULL, run, made) == 0;
    if (!made->started) {
        server_reloader_free(made);
        return distil_fail(error, DISTIL_SYSTEM, "the thread that reloads could not be started");
    }
    *reloader = made;
    return DISTIL_OK;
}

void server_reloader_ask(struct server_reloader *reloader, struct server_reload_request *request)
{
    if (!server_handover_push(&reloader->requests, &request->handed))
        request->handed.done(&request->handed);
}

void server_reloader_stop(struct server_reloader *reloader)
{
    if (!reloader || !reloader->started)
        return;
    reloader->started = false;
    server_handover_stop(&reloader->requests);
    pthread_join(reloader->thread, NULL);
    server_handover_finish(&reloader->requests);
}

void server_reloader_free(struct server_reloader *reloader)
{
    if (!reloader)
        return;
    server_reloader_stop(reloader);
    server_handover_destroy(&reloader->requests);
    free(reloader);
}

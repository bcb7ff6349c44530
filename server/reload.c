/* reload.c: see reload.h. */
#include "server/reload.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct asker {
    server_reload_done *done;
    void *context;
    struct asker *next;
};

struct server_reloader {
    struct server_reload_settings settings;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t asked;
    bool wanted, stop;
    struct asker *askers;
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

/* Opens the catalogue anew and has the recommender learn it. *offer is NULL where the file is the one that is there. */
static distil_status open_offer(const struct server_reload_settings *settings,
                                struct server_offer **offer, distil_error *error)
{
    struct server_offer *now = server_offers_use(settings->offers);
    distil_status status = server_offer_open(settings->catalogue, settings->threads, offer, error);
    if (!status && strcmp(distil_catalogue_info((*offer)->stock.items)->digest,
                          distil_catalogue_info(now->stock.items)->digest) == 0) {
        server_offer_free(*offer);
        *offer = NULL;
    }
    server_offers_leave(settings->offers, now);
    if (status || !*offer)
        return status;
    status = distil_catalogue_verify((*offer)->stock.items, error);
    if (!status)
        server_catalogue_check_encoder((*offer)->catalogue, settings->models, settings->log);
    if (!status && settings->recommender)
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
    for (;;) {
        struct asker *askers;
        struct server_reload_outcome outcome = {0};
        int i;
        pthread_mutex_lock(&reloader->lock);
        while (!reloader->wanted && !reloader->stop)
            pthread_cond_wait(&reloader->asked, &reloader->lock);
        if (!reloader->wanted) {
            pthread_mutex_unlock(&reloader->lock);
            return NULL;
        }
        reloader->wanted = false;
        askers = reloader->askers;
        reloader->askers = NULL;
        pthread_mutex_unlock(&reloader->lock);
        for (i = 0; i < server_models_count(reloader->settings.models); i++)
            reload_one(reloader, i, &outcome);
        server_reload_note(&reloader->settings.records[SERVER_RELOAD_MODELS], outcome.failed == 0);
        if (reloader->settings.offers)
            reload_catalogue(reloader, &outcome);
        while (askers) {
            struct asker *asker = askers;
            askers = asker->next;
            asker->done(asker->context, &outcome);
            free(asker);
        }
    }
}

distil_status server_reloader_start(const struct server_reload_settings *settings,
                                    struct server_reloader **reloader, distil_error *error)
{
    struct server_reloader *made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for reloading models");
    made->settings = *settings;
    pthread_mutex_init(&made->lock, NULL); /* neither can fail on Linux */
    pthread_cond_init(&made->asked, NULL);
    if (pthread_create(&made->thread, NULL, run, made)) {
        pthread_cond_destroy(&made->asked);
        pthread_mutex_destroy(&made->lock);
        free(made);
        return distil_fail(error, DISTIL_SYSTEM, "the thread that reloads could not be started");
    }
    *reloader = made;
    return DISTIL_OK;
}

distil_status server_reloader_ask(struct server_reloader *reloader, server_reload_done *done,
                                  void *context, distil_error *error)
{
    struct asker *asker = NULL;
    if (done && !(asker = malloc(sizeof(*asker))))
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a reload");
    pthread_mutex_lock(&reloader->lock);
    if (asker) {
        *asker = (struct asker){.done = done, .context = context, .next = reloader->askers};
        reloader->askers = asker;
    }
    reloader->wanted = true;
    pthread_cond_signal(&reloader->asked);
    pthread_mutex_unlock(&reloader->lock);
    return DISTIL_OK;
}

void server_reloader_free(struct server_reloader *reloader)
{
    if (!reloader)
        return;
    pthread_mutex_lock(&reloader->lock);
    reloader->stop = true;
    pthread_cond_signal(&reloader->asked);
    pthread_mutex_unlock(&reloader->lock);
    pthread_join(reloader->thread, NULL);
    pthread_cond_destroy(&reloader->asked);
    pthread_mutex_destroy(&reloader->lock);
    free(reloader);
}

/* reload.c: see reload.h. */
#include "server/reload.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct asker {
    server_reload_done *done;
    void *context;
    struct asker *next;
};

struct server_reloader {
    struct server_models *models;
    struct server_queue *queue;
    const struct server_log *log;
    struct server_reload_record *record;
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
    const struct server_log *log = reloader->log;
    int64_t began = server_now();
    enum server_swap swap = SERVER_UNCHANGED;
    distil_error error;
    distil_status status = server_models_swap(reloader->models, i, reloader->queue, &swap, &error);
    struct server_model *model = server_models_use_at(reloader->models, i);
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
    server_models_leave(reloader->models, model);
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
        for (i = 0; i < server_models_count(reloader->models); i++)
            reload_one(reloader, i, &outcome);
        server_reload_note(reloader->record, outcome.failed == 0);
        while (askers) {
            struct asker *asker = askers;
            askers = asker->next;
            asker->done(asker->context, &outcome);
            free(asker);
        }
    }
}

distil_status server_reloader_start(struct server_models *models, struct server_queue *queue,
                                    const struct server_log *log,
                                    struct server_reload_record *record,
                                    struct server_reloader **reloader, distil_error *error)
{
    struct server_reloader *made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for reloading models");
    made->models = models;
    made->queue = queue;
    made->log = log;
    made->record = record;
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

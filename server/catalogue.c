/* catalogue.c: see catalogue.h. */
#include "server/catalogue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/queue.h"

enum {
    LARGE = 1 << 20, /* values, from which on a search takes longer than waking a thread does */
    MAX_WAITING = 256
};

struct server_catalogue {
    distil_catalogue *items;
    bool large;
    distil_searcher *searcher; /* of the thread */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool stopping;
    struct server_search *first, *last; /* that wait */
    int waiting;
};

const distil_catalogue *server_catalogue_items(const struct server_catalogue *catalogue)
{
    return catalogue->items;
}

bool server_catalogue_is_large(const struct server_catalogue *catalogue)
{
    return catalogue->large;
}

void server_catalogue_search(const struct server_catalogue *catalogue, struct server_search *search)
{
    search->outcome = SERVER_SEARCH_DONE;
    search->status = distil_catalogue_search(catalogue->items, search->vector, search->limit,
                                             search->matches, &search->count, &search->error);
}

static void answer(const struct server_catalogue *catalogue, struct server_search *search,
                   bool stopping)
{
    search->outcome = SERVER_SEARCH_DONE;
    if (stopping)
        search->outcome = SERVER_SEARCH_STOPPED;
    else if (search->deadline > 0 && server_now() >= search->deadline)
        search->outcome = SERVER_SEARCH_LATE;
    else
        search->status = distil_searcher_search(catalogue->searcher, search->vector, search->limit,
                                                search->matches, &search->count, &search->error);
    search->done(search);
}

static void *run(void *argument)
{
    struct server_catalogue *catalogue = argument;
    pthread_mutex_lock(&catalogue->lock);
    for (;;) {
        struct server_search *search = catalogue->first;
        bool stopping = catalogue->stopping;
        if (!search && stopping)
            break;
        if (!search) {
            pthread_cond_wait(&catalogue->changed, &catalogue->lock);
            continue;
        }
        catalogue->first = search->next;
        catalogue->waiting--;
        pthread_mutex_unlock(&catalogue->lock);
        answer(catalogue, search, stopping);
        pthread_mutex_lock(&catalogue->lock);
    }
    pthread_mutex_unlock(&catalogue->lock);
    return NULL;
}

void server_catalogue_push(struct server_catalogue *catalogue, struct server_search *search)
{
    bool stopping, taken;
    search->next = NULL;
    pthread_mutex_lock(&catalogue->lock);
    stopping = catalogue->stopping;
    taken = !stopping && catalogue->waiting < MAX_WAITING;
    if (taken) {
        if (catalogue->first)
            catalogue->last->next = search;
        else
            catalogue->first = search;
        catalogue->last = search;
        catalogue->waiting++;
        pthread_cond_signal(&catalogue->changed);
    }
    pthread_mutex_unlock(&catalogue->lock);
    if (taken)
        return;
    search->outcome = stopping ? SERVER_SEARCH_STOPPED : SERVER_SEARCH_FULL;
    search->done(search);
}

distil_status server_catalogue_open(const char *path, int threads, struct server_catalogue **out,
                                    distil_error *error)
{
    struct server_catalogue *catalogue = calloc(1, sizeof(*catalogue));
    const distil_catalogue_facts *facts;
    distil_status status;
    *out = NULL;
    if (!catalogue)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the catalogue");
    pthread_mutex_init(&catalogue->lock, NULL); /* neither can fail on Linux */
    pthread_cond_init(&catalogue->changed, NULL);
    status = distil_catalogue_open(path, &catalogue->items, error);
    if (!status) {
        facts = distil_catalogue_info(catalogue->items);
        catalogue->large = facts->items >= LARGE / facts->width;
    }
    if (!status && catalogue->large)
        status = distil_searcher_create(catalogue->items, threads, &catalogue->searcher, error);
    if (!status && catalogue->large && pthread_create(&catalogue->thread, NULL, run, catalogue))
        status = distil_fail(error, DISTIL_SYSTEM, "the thread that searches could not be started");
    else
        catalogue->started = !status && catalogue->large;
    if (status)
        server_catalogue_free(catalogue);
    else
        *out = catalogue;
    return status;
}

void server_catalogue_check_encoder(const struct server_catalogue *catalogue,
                                    struct server_models *models, const struct server_log *log)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue->items);
    bool found = false;
    int i;
    for (i = 0; i < server_models_count(models) && !found; i++) {
        struct server_model *model = server_models_use_at(models, i);
        const distil_info *info = model->info;
        found = info->task == DISTIL_TASK_NONE;
        if (found && *facts->encoder && *info->digest && strcmp(facts->encoder, info->digest) != 0)
            server_log_printf(log, SERVER_LOG_WARN,
                              "%s was made by another encoder than %s, which embeds texts here: "
                              "what is found by text may be far off",
                              facts->path, info->path);
        server_models_leave(models, model);
    }
}

void server_catalogue_stop(struct server_catalogue *catalogue)
{
    if (!catalogue || !catalogue->started)
        return;
    catalogue->started = false;
    pthread_mutex_lock(&catalogue->lock);
    catalogue->stopping = true;
    pthread_cond_signal(&catalogue->changed);
    pthread_mutex_unlock(&catalogue->lock);
    pthread_join(catalogue->thread, NULL);
}

void server_catalogue_free(struct server_catalogue *catalogue)
{
    if (!catalogue)
        return;
    server_catalogue_stop(catalogue);
    distil_searcher_free(catalogue->searcher);
    distil_catalogue_free(catalogue->items);
    pthread_cond_destroy(&catalogue->changed);
    pthread_mutex_destroy(&catalogue->lock);
    free(catalogue);
}

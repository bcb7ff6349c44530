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
    struct server_handover searches; /* that wait for it */
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
    search->handed.outcome = SERVER_OUTCOME_DONE;
    search->status = distil_catalogue_search(catalogue->items, search->vector, search->limit,
                                             search->matches, &search->count, &search->error);
}

static enum server_outcome answer(const struct server_catalogue *catalogue,
                                  struct server_search *search)
{
    if (search->deadline > 0 && server_now() >= search->deadline)
        return SERVER_OUTCOME_LATE;
    search->status = distil_searcher_search(catalogue->searcher, search->vector, search->limit,
                                            search->matches, &search->count, &search->error);
    return SERVER_OUTCOME_DONE;
}

static void *run(void *argument)
{
    struct server_catalogue *catalogue = argument;
    struct server_handed *handed;
    while ((handed = server_handover_take(&catalogue->searches, 1, SERVER_HANDOVER_NEVER)))
        server_handed_end(handed, answer(catalogue, (struct server_search *)(void *)handed));
    return NULL;
}

void server_catalogue_push(struct server_catalogue *catalogue, struct server_search *search)
{
    if (!server_handover_push(&catalogue->searches, &search->handed))
        search->handed.done(&search->handed);
}

distil_status server_catalogue_open(const char *path, int threads, bool verify,
                                    struct server_catalogue **out, distil_error *error)
{
    struct server_catalogue *catalogue = calloc(1, sizeof(*catalogue));
    const distil_catalogue_facts *facts;
    distil_status status;
    *out = NULL;
    if (!catalogue)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the catalogue");
    server_handover_init(&catalogue->searches, MAX_WAITING);
    status = distil_catalogue_open(path, &catalogue->items, error);
    if (!status && verify)
        status = distil_catalogue_verify(catalogue->items, error);
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
    server_handover_stop(&catalogue->searches);
    pthread_join(catalogue->thread, NULL);
    server_handover_finish(&catalogue->searches);
}

void server_catalogue_free(struct server_catalogue *catalogue)
{
    if (!catalogue)
        return;
    server_catalogue_stop(catalogue);
    distil_searcher_free(catalogue->searcher);
    distil_catalogue_free(catalogue->items);
    server_handover_destroy(&catalogue->searches);
    free(catalogue);
}

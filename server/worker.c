/* worker.c: see worker.h. */
#include "server/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The shortest text, [CLS] and [SEP] alone, has two tokens: no batch has more texts than half its
 * budget. */
enum { MIN_TEXT_TOKENS = 2 };

struct worker {
    struct server_workers *all;
    pthread_t thread;
    bool started;
    struct server_meter *meter;
    struct server_batch batch;
    float *logits;             /* (batch capacity, most labels of a model) */
    distil_session **sessions; /* (model_count) */
};

struct server_workers {
    struct server_worker_options options;
    int count;
    struct worker *each;
};

/* Computes a batch and hands every text's logits to its job. */
static distil_status compute(struct worker *worker)
{
    const struct server_workers *all = worker->all;
    struct server_batch *batch = &worker->batch;
    distil_session *session = worker->sessions[batch->model - all->options.models];
    size_t labels = (size_t)batch->model->info->label_count;
    distil_error error;
    int i;
    distil_status status =
        distil_logits(session, batch->texts, batch->count, worker->logits, &error);
    if (status) {
        server_log_printf(all->options.log, SERVER_LOG_ERROR,
                          "a batch of %d texts, %d tokens, was not computed: %s", batch->count,
                          batch->tokens, error.message);
        return status;
    }
    server_observe(worker->meter, SERVER_BATCH_TEXTS, batch->count);
    server_observe(worker->meter, SERVER_BATCH_TOKENS, batch->tokens);
    server_count(worker->meter, SERVER_COUNT_TEXTS, (uint64_t)batch->count);
    server_count(worker->meter, SERVER_COUNT_TOKENS, (uint64_t)batch->tokens);
    for (i = 0; i < batch->count; i++)
        memcpy(batch->logits[i], worker->logits + (size_t)i * labels, labels * sizeof(float));
    return DISTIL_OK;
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    const struct server_worker_options *options = &worker->all->options;
    while (server_queue_take(options->queue, &worker->batch, options->max_batch_tokens))
        server_queue_finish(options->queue, &worker->batch, compute(worker));
    return NULL;
}

static distil_status start_worker(struct worker *worker, distil_error *error)
{
    const struct server_worker_options *options = &worker->all->options;
    int capacity = options->max_batch_tokens / MIN_TEXT_TOKENS + 1, labels = 1, i;
    distil_status status;
    worker->sessions = calloc((size_t)options->model_count, sizeof(distil_session *));
    if (!worker->sessions)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a worker");
    for (i = 0; i < options->model_count; i++) {
        const struct server_model *model = &options->models[i];
        if (model->info->label_count > labels)
            labels = model->info->label_count;
        status = distil_session_create(model->model, options->threads, &worker->sessions[i], error);
        if (status)
            return status;
    }
    worker->logits = calloc((size_t)capacity, (size_t)labels * sizeof(float));
    if (!worker->logits || !server_batch_create(&worker->batch, capacity))
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a worker");
    if (pthread_create(&worker->thread, NULL, run, worker))
        return distil_fail(error, DISTIL_SYSTEM, "a worker's thread could not be started");
    worker->started = true;
    return DISTIL_OK;
}

distil_status server_workers_start(const struct server_worker_options *options,
                                   struct server_workers **workers, distil_error *error)
{
    struct server_workers *all = calloc(1, sizeof(*all));
    distil_status status = DISTIL_OK;
    int i;
    if (!all || !(all->each = calloc((size_t)options->workers, sizeof(*all->each)))) {
        free(all);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the workers");
    }
    all->options = *options;
    for (i = 0; i < options->workers && !status; i++) {
        all->each[i].all = all;
        all->each[i].meter = options->metrics
                                 ? server_metrics_meter(options->metrics, options->first_meter + i)
                                 : NULL;
        all->count++;
        status = start_worker(&all->each[i], error);
    }
    if (status) {
        server_queue_close(options->queue);
        server_workers_free(all);
        return status;
    }
    *workers = all;
    return DISTIL_OK;
}

int server_workers_threads(const struct server_workers *workers)
{
    return distil_session_threads(workers->each[0].sessions[0]);
}

void server_workers_free(struct server_workers *workers)
{
    int i, k;
    if (!workers)
        return;
    for (i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->each[i];
        if (worker->started)
            pthread_join(worker->thread, NULL);
        for (k = 0; worker->sessions && k < workers->options.model_count; k++)
            distil_session_free(worker->sessions[k]);
        free((void *)worker->sessions);
        free(worker->logits);
        server_batch_free(&worker->batch);
    }
    free(workers->each);
    free(workers);
}

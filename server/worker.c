/* worker.c: see worker.h. */
#include "server/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/model.h"

struct worker {
    const struct server_workers *all;
    int lane;
    pthread_t thread;
    struct server_meter *meter;
};

struct server_workers {
    struct server_queue *queue;
    const struct server_log *log;
    int count; /* started */
    struct worker *each;
    bool watching;
    pthread_t watch; /* of deadlines */
};

/* Hands to each text's job what the model made of it. */
static void hand_out(const struct server_batch *batch, const float *output)
{
    const struct server_model *model = batch->model;
    bool normalize = model->info->task == DISTIL_TASK_NONE && model->info->normalize;
    int i;
    for (i = 0; i < batch->count; i++) {
        size_t width = server_model_width(model, batch->texts[i]);
        memcpy(batch->outputs[i], output, width * sizeof(float));
        if (normalize && !batch->jobs[i]->raw)
            distil_normalize(batch->outputs[i], (int)width);
        output += width;
    }
}

/* Computes a batch and hands out what comes of it. */
static distil_status compute(const struct worker *worker, const struct server_batch *batch)
{
    const struct server_seat *seat = &batch->model->seats[worker->lane];
    distil_error error;
    distil_status status =
        server_model_compute(batch->model, seat, batch->texts, batch->count, &error);
    if (status) {
        server_log_printf(worker->all->log, SERVER_LOG_ERROR,
                          "a batch of %d texts, %d tokens, was not computed: %s", batch->count,
                          batch->tokens, error.message);
        return status;
    }
    server_observe(worker->meter, SERVER_BATCH_TEXTS, batch->count);
    server_observe(worker->meter, SERVER_BATCH_TOKENS, batch->tokens);
    server_count(worker->meter, SERVER_COUNT_TEXTS, (uint64_t)batch->count);
    server_count(worker->meter, SERVER_COUNT_TOKENS, (uint64_t)batch->tokens);
    hand_out(batch, seat->output);
    return DISTIL_OK;
}

static void *run(void *argument)
{
    const struct worker *worker = argument;
    struct server_queue *queue = worker->all->queue;
    const struct server_batch *batch;
    while ((batch = server_queue_take(queue, worker->lane)))
        server_queue_finish(queue, worker->lane, compute(worker, batch));
    return NULL;
}

static void *watch(void *argument)
{
    while (server_queue_expire(argument))
        continue;
    return NULL;
}

distil_status server_workers_start(struct server_queue *queue, const struct server_lanes *lanes,
                                   const struct server_log *log, struct server_metrics *metrics,
                                   int first_meter, struct server_workers **workers,
                                   distil_error *error)
{
    struct server_workers *all = calloc(1, sizeof(*all));
    distil_status status = DISTIL_OK;
    int i;
    if (!all || !(all->each = calloc((size_t)lanes->count, sizeof(*all->each)))) {
        free(all);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the workers");
    }
    all->queue = queue;
    all->log = log;
    for (i = 0; i < lanes->count && !status; i++) {
        struct server_meter *meter =
            metrics ? server_metrics_meter(metrics, first_meter + i) : NULL;
        all->each[i] = (struct worker){.all = all, .lane = i, .meter = meter};
        if (pthread_create(&all->each[i].thread, NULL, run, &all->each[i]))
            status = distil_fail(error, DISTIL_SYSTEM, "a worker's thread could not be started");
        else
            all->count++;
    }
    all->watching = !status && pthread_create(&all->watch, NULL, watch, queue) == 0;
    if (!status && !all->watching)
        status = distil_fail(error, DISTIL_SYSTEM,
                             "the thread that watches deadlines could not be started");
    if (status) {
        server_queue_close(queue);
        server_workers_free(all);
        return status;
    }
    *workers = all;
    return DISTIL_OK;
}

void server_workers_free(struct server_workers *workers)
{
    int i;
    if (!workers)
        return;
    for (i = 0; i < workers->count; i++)
        pthread_join(workers->each[i].thread, NULL);
    if (workers->watching)
        pthread_join(workers->watch, NULL);
    free(workers->each);
    free(workers);
}

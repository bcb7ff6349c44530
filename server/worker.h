/* worker.h: threads that compute batches from the queue, each with a session of its own for every
 * model. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "server/log.h"
#include "server/metrics.h"
#include "server/model.h"
#include "server/queue.h"

struct server_workers;

struct server_worker_options {
    int workers;
    int threads; /* of each worker; 0: all CPUs */
    int max_batch_tokens;
    const struct server_model *models;
    int model_count;
    struct server_queue *queue;
    const struct server_log *log;
    struct server_metrics *metrics; /* NULL: nothing is counted */
    int first_meter;                /* of the first worker */
};

distil_status server_workers_start(const struct server_worker_options *options,
                                   struct server_workers **workers, distil_error *error);
/* Threads of one worker. */
int server_workers_threads(const struct server_workers *workers);
/* Waits for the threads, which end when the queue is closed, and frees. */
void server_workers_free(struct server_workers *workers);

#endif

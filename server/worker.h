/* worker.h: threads that compute batches from the queue, one for each lane, and one that watches the
 * deadlines of what waits. */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "server/lanes.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/queue.h"

struct server_workers;

/* Lane i counts in meter first_meter + i; metrics NULL: nothing is counted. All of them must outlive
 * the workers. The queue is closed on failure. */
distil_status server_workers_start(struct server_queue *queue, const struct server_lanes *lanes,
                                   const struct server_log *log, struct server_metrics *metrics,
                                   int first_meter, struct server_workers **workers,
                                   distil_error *error);
/* Waits for the threads, which end when the queue is closed, and frees. */
void server_workers_free(struct server_workers *workers);

#endif

/* queue.h: texts waiting to be computed, in order of arrival, and the batches cut from them.
 *
 * A request is a job of one or more encoded texts for one model. A worker that is free takes what
 * waits at once, up to a budget of tokens: texts of several jobs are computed together, and a job
 * larger than the budget is split across batches and answered whole. Nobody waits for a batch to
 * fill. */
#ifndef SERVER_QUEUE_H
#define SERVER_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/distil.h"

struct server_model;
struct server_queue;

struct server_job {
    const struct server_model *model;
    int count;
    distil_tokens **texts;                /* (count) */
    float *logits;                        /* (count, label_count), written by the workers */
    int tokens;                           /* of all texts */
    void (*done)(struct server_job *job); /* called by the worker that finished the last text */
    /* Whether nobody waits for the answer any more; called while the job waits, with the queue
       locked. NULL: somebody always does. */
    bool (*gone)(struct server_job *job);

    /* Set when done. */
    distil_status status; /* DISTIL_BUSY: the server stopped before the job was computed */
    bool abandoned;       /* it was gone, and not all of its texts were computed */
    int64_t queued, taken,
        ended;       /* monotonic nanoseconds: pushed, first text taken, last computed */
    int batch_texts; /* texts in the batch that finished the job */

    /* The queue's own. */
    int next;      /* the first text not yet taken */
    int completed; /* texts computed or given up */
    struct server_job *link;
};

struct server_batch {
    const struct server_model *model;
    int count, capacity;
    int tokens;
    const distil_tokens **texts; /* (count) */
    float **logits;              /* (count): where each text's logits go */
    struct server_job **jobs;    /* (count) */
};

/* Monotonic nanoseconds. */
int64_t server_now(void);

/* max_texts, of max_tokens together, may wait. NULL when memory runs out. */
struct server_queue *server_queue_create(int max_texts, int max_tokens);
void server_queue_free(struct server_queue *queue);

/* Takes room for count texts: false when they do not fit beside those waiting. Room is given back
 * as texts are taken. A request of more than the queue holds fits an empty queue. */
bool server_queue_reserve(struct server_queue *queue, int count, int tokens);
/* Adds a job for which room was reserved. After server_queue_close it is done at once with
 * DISTIL_BUSY. */
void server_queue_push(struct server_queue *queue, struct server_job *job);
/* Texts waiting, and their tokens. */
int server_queue_waiting(struct server_queue *queue, int *tokens);

/* Waits for texts and takes those of one model, up to max_tokens (the first is taken whatever its
 * length) and the batch's capacity. Jobs whose turn it is and that nobody waits for are done
 * uncomputed. False when the queue is closed and empty. */
bool server_queue_take(struct server_queue *queue, struct server_batch *batch, int max_tokens);
/* Tells the jobs of a batch how it went, and calls those that are done. Empties the batch. */
void server_queue_finish(struct server_queue *queue, struct server_batch *batch,
                         distil_status status);
/* Gives up what waits, with DISTIL_BUSY, and lets the workers end. */
void server_queue_close(struct server_queue *queue);

/* False when memory runs out. */
bool server_batch_create(struct server_batch *batch, int capacity);
void server_batch_free(struct server_batch *batch);

#endif

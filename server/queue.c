/* queue.c: see queue.h. */
#include "server/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "server/model.h"

/* A job taken at once is not asked whether it is gone: that would cost a system call for each. */
static const int64_t patience_ns = 50000000;

struct server_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct server_job *head, *tail;
    int waiting, waiting_tokens; /* of texts reserved and not yet taken */
    int max_texts, max_tokens;
    int sleeping; /* workers waiting for texts */
    bool closed;
};

int64_t server_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct server_queue *server_queue_create(int max_texts, int max_tokens)
{
    struct server_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return NULL;
    if (pthread_mutex_init(&queue->lock, NULL)) {
        free(queue);
        return NULL;
    }
    if (pthread_cond_init(&queue->filled, NULL)) {
        pthread_mutex_destroy(&queue->lock);
        free(queue);
        return NULL;
    }
    queue->max_texts = max_texts;
    queue->max_tokens = max_tokens;
    return queue;
}

void server_queue_free(struct server_queue *queue)
{
    if (!queue)
        return;
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

bool server_queue_reserve(struct server_queue *queue, int count, int tokens)
{
    bool fits;
    pthread_mutex_lock(&queue->lock);
    fits = queue->waiting == 0 || (count <= queue->max_texts - queue->waiting &&
                                   tokens <= queue->max_tokens - queue->waiting_tokens);
    if (fits) {
        queue->waiting += count;
        queue->waiting_tokens += tokens;
    }
    pthread_mutex_unlock(&queue->lock);
    return fits;
}

int server_queue_waiting(struct server_queue *queue, int *tokens)
{
    int waiting;
    pthread_mutex_lock(&queue->lock);
    waiting = queue->waiting;
    *tokens = queue->waiting_tokens;
    pthread_mutex_unlock(&queue->lock);
    return waiting;
}

/* Gives back room, with the lock held. */
static void release(struct server_queue *queue, int count, int tokens)
{
    queue->waiting -= count;
    queue->waiting_tokens -= tokens;
}

void server_queue_push(struct server_queue *queue, struct server_job *job)
{
    bool wake, closed;
    job->queued = server_now();
    job->status = DISTIL_OK;
    job->next = job->completed = 0;
    job->link = NULL;
    job->abandoned = false;
    pthread_mutex_lock(&queue->lock);
    closed = queue->closed;
    if (closed) {
        release(queue, job->count, job->tokens);
    } else {
        if (queue->tail)
            queue->tail->link = job;
        else
            queue->head = job;
        queue->tail = job;
    }
    wake = queue->sleeping > 0;
    pthread_mutex_unlock(&queue->lock);
    if (closed) {
        job->status = DISTIL_BUSY;
        job->taken = job->ended = job->queued;
        job->done(job);
    } else if (wake) {
        pthread_cond_signal(&queue->filled);
    }
}

/* Counts texts of a job as completed; with the lock held. True when it was the last of them. */
static bool complete(struct server_job *job, int count, distil_status status, int64_t now)
{
    if (status)
        job->status = status;
    job->completed += count;
    if (job->completed < job->count)
        return false;
    job->ended = now;
    return true;
}

/* Gives up the texts of a job that are not taken yet; with the lock held. A job that is completed by
 * that joins the list. */
static void give_up(struct server_queue *queue, struct server_job *job, int64_t now,
                    struct server_job **list)
{
    int rest = job->count - job->next;
    if (job->next == 0)
        job->taken = now;
    for (; job->next < job->count; job->next++)
        release(queue, 1, distil_tokens_count(job->texts[job->next]));
    if (complete(job, rest, DISTIL_BUSY, now)) {
        job->link = *list;
        *list = job;
    }
}

/* Tells the jobs of a list that they are done. */
static void tell(struct server_job *list)
{
    while (list) {
        struct server_job *job = list;
        list = job->link; /* before it belongs to its owner again */
        job->done(job);
    }
}

/* Takes texts of one job while they fit. True when all of its texts are taken. */
static bool take_job(struct server_job *job, struct server_batch *batch, int max_tokens)
{
    size_t labels = (size_t)job->model->info->label_count;
    while (job->next < job->count && batch->count < batch->capacity) {
        int i = job->next, tokens = distil_tokens_count(job->texts[i]);
        if (batch->count > 0 && tokens > max_tokens - batch->tokens)
            return false;
        batch->texts[batch->count] = job->texts[i];
        batch->logits[batch->count] = job->logits + (size_t)i * labels;
        batch->jobs[batch->count] = job;
        batch->count++;
        batch->tokens += tokens;
        job->next++;
    }
    return job->next == job->count;
}

/* Cuts a batch of the first job's model. Jobs of other models keep their places, and the first to
 * be left over leads the next batch. A text that no longer fits ends the batch: later ones do not
 * overtake it. Jobs that are gone leave the queue on the way. */
static void cut(struct server_queue *queue, struct server_batch *batch, int max_tokens,
                struct server_job **given_up)
{
    struct server_job *job = queue->head, *previous = NULL;
    int64_t now = server_now();
    batch->model = job->model;
    while (job && batch->count < batch->capacity) {
        struct server_job *after = job->link;
        if (job->model != batch->model) {
            previous = job;
        } else {
            if (job->gone && now - job->queued > patience_ns && job->gone(job)) {
                job->abandoned = true;
                give_up(queue, job, now, given_up);
            } else {
                if (job->next == 0)
                    job->taken = now;
                if (!take_job(job, batch, max_tokens))
                    break;
            }
            if (previous)
                previous->link = after;
            else
                queue->head = after;
            if (!after)
                queue->tail = previous;
        }
        job = after;
    }
    release(queue, batch->count, batch->tokens);
}

bool server_queue_take(struct server_queue *queue, struct server_batch *batch, int max_tokens)
{
    bool more, ended;
    batch->count = batch->tokens = 0;
    do {
        struct server_job *given_up = NULL;
        pthread_mutex_lock(&queue->lock);
        while (!queue->head && !queue->closed) {
            queue->sleeping++;
            pthread_cond_wait(&queue->filled, &queue->lock);
            queue->sleeping--;
        }
        ended = !queue->head;
        if (!ended)
            cut(queue, batch, max_tokens, &given_up);
        more = queue->head && queue->sleeping > 0;
        pthread_mutex_unlock(&queue->lock);
        tell(given_up);
    } while (batch->count == 0 && !ended);
    if (more)
        pthread_cond_signal(&queue->filled);
    return batch->count > 0;
}

void server_queue_finish(struct server_queue *queue, struct server_batch *batch,
                         distil_status status)
{
    int64_t now = server_now();
    int i, finished = 0;
    pthread_mutex_lock(&queue->lock);
    for (i = 0; i < batch->count; i++) {
        struct server_job *job = batch->jobs[i];
        if (complete(job, 1, status, now)) {
            job->batch_texts = batch->count;
            batch->jobs[finished++] = job;
        }
    }
    pthread_mutex_unlock(&queue->lock);
    /* outside the lock: a job belongs to its owner again as soon as it is told */
    for (i = 0; i < finished; i++)
        batch->jobs[i]->done(batch->jobs[i]);
    batch->count = batch->tokens = 0;
}

void server_queue_close(struct server_queue *queue)
{
    struct server_job *job, *given_up = NULL;
    int64_t now = server_now();
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    for (job = queue->head; job;) {
        struct server_job *after = job->link;
        give_up(queue, job, now, &given_up);
        job = after;
    }
    queue->head = queue->tail = NULL;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
    tell(given_up);
}

bool server_batch_create(struct server_batch *batch, int capacity)
{
    size_t count = (size_t)capacity;
    batch->capacity = capacity;
    batch->texts = malloc(count * sizeof(void *));
    batch->logits = malloc(count * sizeof(void *));
    batch->jobs = malloc(count * sizeof(void *));
    if (batch->texts && batch->logits && batch->jobs)
        return true;
    server_batch_free(batch);
    return false;
}

void server_batch_free(struct server_batch *batch)
{
    struct server_batch empty = {0};
    if (!batch)
        return;
    free((void *)batch->texts);
    free((void *)batch->logits);
    free((void *)batch->jobs);
    *batch = empty;
}

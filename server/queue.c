/* queue.c: see queue.h. */
#include "server/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/backlog.h"
#include "server/model.h"
#include "server/prospect.h"
#include "server/schedule.h"

/* A job is short where this many of it fit the largest batch. */
enum { SHORT_SHARE = 16 };
/* Between looks at the deadlines of all that waits, so that looking costs little however many have
 * one. */
static const int64_t rest_ns = 5000000;

/* A lane as the queue sees it. */
struct lane {
    pthread_cond_t wake;
    struct server_batch batch;
    bool full;     /* the batch waits for its worker */
    int64_t began; /* computing; 0: not yet */
    int64_t end;   /* when it is expected to be computed */
};

struct server_queue {
    pthread_mutex_t lock;
    struct server_queue_options options;
    struct server_limits limits;
    const struct server_lanes *lanes;
    struct lane *each; /* (lanes->count) */
    bool *busy;        /* (lanes->cores) */
    struct server_backlog backlog;
    pthread_cond_t alarm;
    int64_t alarm_at; /* when deadlines are to be looked at; 0: not before a job with one comes */
    int64_t looked;   /* when they were, last */
    bool closed;
};

int64_t server_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- life ---- */

static bool create_lane(struct lane *lane, int texts)
{
    struct server_batch *batch = &lane->batch;
    batch->texts = calloc((size_t)texts, sizeof(void *));
    batch->outputs = calloc((size_t)texts, sizeof(void *));
    batch->jobs = calloc((size_t)texts, sizeof(void *));
    return batch->texts && batch->outputs && batch->jobs;
}

/* Deadlines are in monotonic time. */
static void init_alarm(pthread_cond_t *alarm)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes); /* none of these can fail on Linux */
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(alarm, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct server_queue *server_queue_create(const struct server_queue_options *options,
                                         const struct server_lanes *lanes)
{
    struct server_queue *queue = calloc(1, sizeof(*queue));
    int i;
    if (!queue || pthread_mutex_init(&queue->lock, NULL)) {
        free(queue);
        return NULL;
    }
    init_alarm(&queue->alarm);
    queue->options = *options;
    queue->limits = (struct server_limits){.max_batch_tokens = options->max_batch_tokens,
                                           .max_batch_time = options->max_batch_time};
    queue->backlog =
        (struct server_backlog){.short_tokens = options->max_batch_tokens / SHORT_SHARE,
                                .batch_texts = server_batch_texts(options->max_batch_tokens)};
    queue->lanes = lanes;
    queue->busy = calloc((size_t)lanes->cores, sizeof(*queue->busy));
    queue->each = calloc((size_t)lanes->count, sizeof(*queue->each));
    if (!queue->busy || !queue->each) {
        server_queue_free(queue);
        return NULL;
    }
    for (i = 0; i < lanes->count; i++)
        pthread_cond_init(&queue->each[i].wake, NULL); /* cannot fail on Linux */
    for (i = 0; i < lanes->count; i++) {
        if (!create_lane(&queue->each[i], queue->backlog.batch_texts)) {
            server_queue_free(queue);
            return NULL;
        }
    }
    return queue;
}

void server_queue_free(struct server_queue *queue)
{
    int i;
    if (!queue)
        return;
    for (i = 0; queue->each && i < queue->lanes->count; i++) {
        struct server_batch *batch = &queue->each[i].batch;
        pthread_cond_destroy(&queue->each[i].wake);
        free((void *)batch->texts);
        free((void *)batch->outputs);
        free((void *)batch->jobs);
    }
    free(queue->each);
    free(queue->busy);
    pthread_cond_destroy(&queue->alarm);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* ---- room ---- */

/* Nanoseconds until what is being computed now ends, averaged over the cores. */
static double running_time(const struct server_queue *queue, int64_t now)
{
    double sum = 0;
    int i;
    for (i = 0; i < queue->lanes->count; i++) {
        const struct lane *lane = &queue->each[i];
        if (lane->batch.count > 0 && lane->end > now)
            sum += (double)(lane->end - now) * queue->lanes->each[i].cores;
    }
    return sum / queue->lanes->cores;
}

/* With the lock held, like all that asks it. */
static struct server_prospect prospect_of(const struct server_queue *queue)
{
    const int64_t now = server_now();
    return (struct server_prospect){.backlog = &queue->backlog,
                                    .lanes = queue->lanes,
                                    .limits = &queue->limits,
                                    .max_wait = queue->options.max_wait,
                                    .now = now,
                                    .running = running_time(queue, now)};
}

static bool is_full(const struct server_queue *queue)
{
    return queue->backlog.waiting >= queue->options.max_texts ||
           queue->backlog.waiting_tokens >= queue->options.max_tokens;
}

enum server_room server_queue_foresee(struct server_queue *queue, const struct server_model *model,
                                      int64_t most_tokens, int64_t deadline, int64_t *wait)
{
    struct server_prospect prospect;
    enum server_room room;
    pthread_mutex_lock(&queue->lock);
    prospect = prospect_of(queue);
    room = model ? server_prospect_foresee(&prospect, model, most_tokens, deadline, wait)
                 : server_prospect_judge(&prospect, NULL, deadline, wait);
    if (is_full(queue))
        room = SERVER_ROOM_FULL;
    pthread_mutex_unlock(&queue->lock);
    return room;
}

enum server_room server_queue_reserve(struct server_queue *queue, const struct server_job *job,
                                      int64_t *wait)
{
    const struct server_queue_options *options = &queue->options;
    struct server_backlog *backlog = &queue->backlog;
    struct server_prospect prospect;
    enum server_room room;
    pthread_mutex_lock(&queue->lock);
    prospect = prospect_of(queue);
    room = server_prospect_judge(&prospect, server_backlog_flow(backlog, job), job->deadline, wait);
    if (backlog->waiting > 0 && (job->count > options->max_texts - backlog->waiting ||
                                 job->tokens > options->max_tokens - backlog->waiting_tokens))
        room = SERVER_ROOM_FULL;
    if (room == SERVER_ROOM) {
        backlog->waiting += job->count;
        backlog->waiting_tokens += job->tokens;
    }
    pthread_mutex_unlock(&queue->lock);
    return room;
}

int server_queue_waiting(struct server_queue *queue, int *tokens)
{
    int waiting;
    pthread_mutex_lock(&queue->lock);
    waiting = queue->backlog.waiting;
    *tokens = queue->backlog.waiting_tokens;
    pthread_mutex_unlock(&queue->lock);
    return waiting;
}

int64_t server_queue_drain_time(struct server_queue *queue)
{
    struct server_prospect prospect;
    double time;
    pthread_mutex_lock(&queue->lock);
    prospect = prospect_of(queue);
    time = server_prospect_wait(&prospect, NULL);
    pthread_mutex_unlock(&queue->lock);
    return (int64_t)time;
}

void server_queue_inherit(struct server_queue *queue, struct server_model *model,
                          const struct server_model *before)
{
    const distil_info *a = model->info, *b = before->info;
    if (a->hidden != b->hidden || a->layers != b->layers || a->ffn != b->ffn ||
        strcmp(a->precision, b->precision) != 0)
        return;
    pthread_mutex_lock(&queue->lock);
    memcpy(model->costs, before->costs, (size_t)queue->lanes->kinds * sizeof(*model->costs));
    pthread_mutex_unlock(&queue->lock);
}

/* ---- jobs and workers ---- */

static void set_busy(struct server_queue *queue, int lane, bool busy)
{
    const struct server_lane *span = &queue->lanes->each[lane];
    int i;
    for (i = span->first; i < span->first + span->cores; i++)
        queue->busy[i] = busy;
}

static struct server_load load_of(const struct server_batch *batch)
{
    return (struct server_load){.batches = 1, .tokens = batch->tokens, .squares = batch->squares};
}

/* Whether texts wait, or are computed on other lanes than this one. */
static bool is_crowded(const struct server_queue *queue, int lane)
{
    int i;
    for (i = 0; i < queue->lanes->count; i++)
        if (i != lane && queue->each[i].batch.count > 0)
            return true;
    return queue->backlog.head != NULL;
}

/* Gives what waits to idle lanes, and wakes their workers; with the lock held. */
static void schedule(struct server_queue *queue, int64_t now, struct server_job **done)
{
    struct server_backlog *backlog = &queue->backlog;
    while (backlog->head) {
        struct server_waiting waiting = server_backlog_sum(backlog);
        const struct server_cost *costs = backlog->head->model->costs;
        struct server_plan plan =
            server_plan_batch(queue->lanes, queue->busy, costs, &waiting, &queue->limits);
        struct server_load load;
        struct lane *lane;
        if (plan.lane < 0)
            return;
        lane = &queue->each[plan.lane];
        server_backlog_cut(backlog, &lane->batch, plan.tokens, now, done);
        if (lane->batch.count == 0)
            continue;
        load = load_of(&lane->batch);
        lane->end =
            now + (int64_t)server_cost_estimate(&costs[queue->lanes->each[plan.lane].kind], &load);
        lane->full = true;
        set_busy(queue, plan.lane, true);
        pthread_cond_signal(&lane->wake);
    }
}

/* Tells the jobs of a list that they are done: without the lock, as each belongs to its owner again
 * as soon as it is told. */
static void tell(struct server_job *list)
{
    while (list) {
        struct server_job *job = list;
        list = job->link;
        job->done(job);
    }
}

/* deadline: the earliest of those that wait; 0: none has one. */
static void set_alarm(struct server_queue *queue, int64_t deadline)
{
    int64_t rested = queue->looked + rest_ns;
    queue->alarm_at = deadline > 0 && deadline < rested ? rested : deadline;
}

void server_queue_push(struct server_queue *queue, struct server_job *job)
{
    struct server_job *done = NULL;
    int64_t now = server_now();
    job->queued = now;
    job->status = DISTIL_OK;
    job->fate = SERVER_COMPUTED;
    job->next = job->completed = 0;
    pthread_mutex_lock(&queue->lock);
    server_backlog_add(&queue->backlog, job);
    if (queue->closed)
        server_backlog_clear(&queue->backlog, now, &done);
    else
        schedule(queue, now, &done);
    /* it is not done, as nobody has been told */
    if (job->next < job->count && job->deadline > 0 &&
        (queue->alarm_at == 0 || job->deadline < queue->alarm_at)) {
        set_alarm(queue, job->deadline);
        pthread_cond_signal(&queue->alarm);
    }
    pthread_mutex_unlock(&queue->lock);
    tell(done);
}

struct server_batch *server_queue_take(struct server_queue *queue, int lane)
{
    struct lane *own = &queue->each[lane];
    bool ended, emptied;
    do {
        struct server_job *done = NULL;
        pthread_mutex_lock(&queue->lock);
        while (!own->full && !queue->closed)
            pthread_cond_wait(&own->wake, &queue->lock);
        ended = !own->full;
        own->full = false;
        own->began = server_now();
        if (!ended)
            server_batch_expire(&own->batch, own->began, &done);
        emptied = !ended && own->batch.count == 0;
        if (emptied) { /* what this may give the lane in its place is taken like any other */
            set_busy(queue, lane, false);
            schedule(queue, own->began, &done);
        }
        pthread_mutex_unlock(&queue->lock);
        tell(done);
    } while (emptied);
    return ended ? NULL : &own->batch;
}

void server_queue_finish(struct server_queue *queue, int lane, distil_status status)
{
    struct lane *own = &queue->each[lane];
    struct server_batch *batch = &own->batch;
    struct server_load load = load_of(batch);
    struct server_job *done = NULL;
    int64_t now = server_now();
    int i;
    pthread_mutex_lock(&queue->lock);
    if (status == DISTIL_OK)
        server_costs_observe(batch->model->costs, queue->lanes->kinds,
                             queue->lanes->each[lane].kind, &load, (double)(now - own->began),
                             is_crowded(queue, lane));
    for (i = 0; i < batch->count; i++) {
        struct server_job *job = batch->jobs[i];
        if (status && job->fate == SERVER_COMPUTED)
            job->status = status;
        job->batch_texts = batch->count;
        server_job_complete(job, 1, now, &done);
    }
    batch->count = 0;
    set_busy(queue, lane, false);
    schedule(queue, now, &done);
    pthread_mutex_unlock(&queue->lock);
    tell(done);
}

bool server_queue_expire(struct server_queue *queue)
{
    struct server_job *done = NULL;
    int64_t now;
    bool closed;
    pthread_mutex_lock(&queue->lock);
    while (now = server_now(), !queue->closed && (queue->alarm_at == 0 || now < queue->alarm_at)) {
        const struct timespec at = {.tv_sec = queue->alarm_at / 1000000000,
                                    .tv_nsec = queue->alarm_at % 1000000000};
        if (queue->alarm_at == 0)
            pthread_cond_wait(&queue->alarm, &queue->lock);
        else
            pthread_cond_timedwait(&queue->alarm, &queue->lock, &at);
    }
    closed = queue->closed;
    queue->looked = now;
    set_alarm(queue, server_backlog_expire(&queue->backlog, now, &done));
    pthread_mutex_unlock(&queue->lock);
    tell(done);
    return !closed;
}

void server_queue_close(struct server_queue *queue)
{
    struct server_job *done = NULL;
    int i;
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    server_backlog_clear(&queue->backlog, server_now(), &done);
    for (i = 0; i < queue->lanes->count; i++)
        pthread_cond_signal(&queue->each[i].wake);
    pthread_cond_signal(&queue->alarm);
    pthread_mutex_unlock(&queue->lock);
    tell(done);
}

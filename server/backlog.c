/* backlog.c: see backlog.h. */
#include "server/backlog.h"

#include <stddef.h>

#include "server/model.h"

struct server_flow *server_backlog_flow(const struct server_backlog *backlog,
                                        const struct server_job *job)
{
    bool is_short = job->tokens <= backlog->short_tokens;
    return &job->model->flows[is_short ? SERVER_SHORT : SERVER_LONG];
}

static void join_ring(struct server_backlog *backlog, struct server_flow *flow)
{
    flow->waits = true;
    flow->next = NULL;
    if (backlog->tail)
        backlog->tail->next = flow;
    else
        backlog->head = flow;
    backlog->tail = flow;
}

static struct server_flow *leave_ring(struct server_backlog *backlog)
{
    struct server_flow *flow = backlog->head;
    backlog->head = flow->next;
    if (!backlog->head)
        backlog->tail = NULL;
    flow->waits = false;
    return flow;
}

static void append(struct server_flow *flow, struct server_job *job)
{
    job->link = NULL;
    if (flow->tail)
        flow->tail->link = job;
    else
        flow->head = job;
    flow->tail = job;
}

static struct server_job *remove_first(struct server_flow *flow)
{
    struct server_job *job = flow->head;
    flow->head = job->link;
    if (!flow->head)
        flow->tail = NULL;
    return job;
}

void server_backlog_add(struct server_backlog *backlog, struct server_job *job)
{
    struct server_flow *flow = server_backlog_flow(backlog, job);
    int i;
    flow->model = job->model;
    for (i = 0; i < job->count; i++) {
        double tokens = distil_tokens_count(job->texts[i]);
        flow->squares += tokens * tokens;
    }
    flow->texts += job->count;
    flow->tokens += job->tokens;
    append(flow, job);
    if (!flow->waits)
        join_ring(backlog, flow);
}

struct server_waiting server_backlog_sum(const struct server_backlog *backlog)
{
    const struct server_job *job = backlog->head->head;
    struct server_waiting waiting = {.first = distil_tokens_count(job->texts[job->next])};
    const struct server_flow *flow;
    for (flow = backlog->head; flow; flow = flow->next) {
        waiting.texts += flow->texts;
        waiting.tokens += flow->tokens;
        waiting.squares += flow->squares;
    }
    return waiting;
}

/* Takes a job's next text out of what waits. Returns its tokens. */
static int pass_text(struct server_backlog *backlog, struct server_flow *flow,
                     struct server_job *job)
{
    int tokens = distil_tokens_count(job->texts[job->next++]);
    flow->texts--;
    flow->tokens -= tokens;
    flow->squares -= (double)tokens * tokens;
    backlog->waiting--;
    backlog->waiting_tokens -= tokens;
    return tokens;
}

void server_job_complete(struct server_job *job, int count, int64_t now, struct server_job **done)
{
    job->completed += count;
    if (job->completed < job->count)
        return;
    job->ended = now;
    job->link = *done;
    *done = job;
}

static void set_fate(struct server_job *job, enum server_fate fate, bool begun)
{
    if (job->fate != SERVER_COMPUTED)
        return; /* it met another before */
    job->fate = fate;
    job->status = DISTIL_BUSY;
    job->begun = begun;
}

/* Gives up the texts of a job, which has left its flow, that are not taken yet. */
static void give_up(struct server_backlog *backlog, struct server_flow *flow,
                    struct server_job *job, enum server_fate fate, int64_t now,
                    struct server_job **done)
{
    int rest = job->count - job->next;
    set_fate(job, fate, job->next > 0);
    if (job->next == 0)
        job->taken = now;
    while (job->next < job->count)
        pass_text(backlog, flow, job);
    server_job_complete(job, rest, now, done);
}

static bool is_late(const struct server_job *job, int64_t now)
{
    return job->deadline > 0 && now >= job->deadline;
}

/* Gives up the jobs at the front of a flow that are not worth computing. */
static void drop_vain(struct server_backlog *backlog, struct server_flow *flow, int64_t now,
                      struct server_job **done)
{
    while (flow->head) {
        struct server_job *job = flow->head;
        if (is_late(job, now))
            give_up(backlog, flow, remove_first(flow), SERVER_EXPIRED, now, done);
        else if (job->gone && now - job->queued > SERVER_PATIENCE_NS && job->gone(job))
            give_up(backlog, flow, remove_first(flow), SERVER_ABANDONED, now, done);
        else
            return;
    }
}

/* Takes texts of the flow's first job while they fit. Returns how many. */
static int take_texts(struct server_backlog *backlog, struct server_flow *flow,
                      struct server_batch *batch, int max_tokens, int64_t now)
{
    struct server_job *job = flow->head;
    int first = job->next;
    if (first == 0)
        job->taken = now;
    while (job->next < job->count && batch->count < backlog->batch_texts) {
        int i = job->next, tokens = distil_tokens_count(job->texts[i]);
        if (batch->count > 0 && tokens > max_tokens - batch->tokens)
            break;
        batch->texts[batch->count] = job->texts[i];
        batch->outputs[batch->count] = job->outputs[i];
        batch->jobs[batch->count] = job;
        batch->count++;
        batch->tokens += pass_text(backlog, flow, job);
        batch->squares += (double)tokens * tokens;
    }
    return job->next - first;
}

/* A text that does not fit ends the batch: later ones do not overtake it. A job that had its share
 * of the batch and has texts left lets the others of its flow go first then. */
void server_backlog_cut(struct server_backlog *backlog, struct server_batch *batch, int max_tokens,
                        int64_t now, struct server_job **done)
{
    struct server_flow *flow = leave_ring(backlog);
    bool fits = true;
    batch->model = flow->model;
    batch->count = batch->tokens = 0;
    batch->squares = 0;
    drop_vain(backlog, flow, now, done);
    while (flow->head && fits) {
        struct server_job *job = flow->head;
        int taken = take_texts(backlog, flow, batch, max_tokens, now);
        fits = job->next == job->count;
        if (fits || taken > 0)
            remove_first(flow);
        if (!fits && taken > 0)
            append(flow, job);
        if (fits)
            drop_vain(backlog, flow, now, done);
    }
    if (flow->head)
        join_ring(backlog, flow);
}

/* The earlier of two deadlines, of which 0 is none. */
static int64_t earlier(int64_t a, int64_t b)
{
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* Gives up the jobs of a flow whose deadline has passed, and leaves the others in their order. */
static int64_t expire_flow(struct server_backlog *backlog, struct server_flow *flow, int64_t now,
                           struct server_job **done)
{
    struct server_job *job = flow->head, *next;
    int64_t first = 0;
    flow->head = flow->tail = NULL;
    for (; job; job = next) {
        next = job->link;
        if (is_late(job, now)) {
            give_up(backlog, flow, job, SERVER_EXPIRED, now, done);
        } else {
            append(flow, job);
            first = earlier(first, job->deadline);
        }
    }
    return first;
}

int64_t server_backlog_expire(struct server_backlog *backlog, int64_t now, struct server_job **done)
{
    struct server_flow *flow = backlog->head, *next;
    int64_t first = 0;
    backlog->head = backlog->tail = NULL;
    for (; flow; flow = next) {
        next = flow->next;
        flow->waits = false;
        first = earlier(first, expire_flow(backlog, flow, now, done));
        if (flow->head)
            join_ring(backlog, flow);
    }
    return first;
}

void server_batch_expire(struct server_batch *batch, int64_t now, struct server_job **done)
{
    int i, kept = 0;
    for (i = 0; i < batch->count; i++) {
        struct server_job *job = batch->jobs[i];
        double tokens = distil_tokens_count(batch->texts[i]);
        if (is_late(job, now)) {
            batch->tokens -= (int)tokens;
            batch->squares -= tokens * tokens;
            set_fate(job, SERVER_EXPIRED, true);
            server_job_complete(job, 1, now, done);
            continue;
        }
        batch->texts[kept] = batch->texts[i];
        batch->outputs[kept] = batch->outputs[i];
        batch->jobs[kept++] = job;
    }
    batch->count = kept;
}

void server_backlog_clear(struct server_backlog *backlog, int64_t now, struct server_job **done)
{
    while (backlog->head) {
        struct server_flow *flow = leave_ring(backlog);
        while (flow->head)
            give_up(backlog, flow, remove_first(flow), SERVER_STOPPED, now, done);
    }
}

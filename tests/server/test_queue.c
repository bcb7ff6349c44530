/* test_queue.c: order, budget, splitting, deadlines, bounds and closing of the queue; the texts are
 * those of fake_engine.c. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/model.h"
#include "server/queue.h"
#include "tests/suite.h"

enum { MOST = 64, LONG_TEXT = 12, SECOND = 1000000000 };

/* A job that notes when it is done. */
struct noted {
    struct server_job job; /* first: the two share their address */
    int done;
    distil_tokens *texts[MOST];
    float logits[MOST * 2];
    float *outputs[MOST];
};

/* A queue with one lane, which is kept busy by a job of its own until the first take. */
struct fixture {
    struct server_model model, other;
    struct server_lanes lanes;
    struct server_queue *queue;
    struct server_queue_options options;
    struct noted plug;
    bool computing;
};

static void on_done(struct server_job *job)
{
    ((struct noted *)(void *)job)->done++;
}

/* A job of count texts of so many tokens each. */
static void make(struct noted *noted, struct server_model *model, int count, int tokens)
{
    int i;
    memset(noted, 0, sizeof(*noted));
    noted->job.model = model;
    noted->job.count = count;
    noted->job.texts = noted->texts;
    noted->job.outputs = noted->outputs;
    noted->job.done = on_done;
    noted->job.tokens = tokens * count;
    for (i = 0; i < count; i++) {
        noted->outputs[i] = noted->logits + 2 * (ptrdiff_t)i;
        ck_assert_int_eq(distil_encode(model->model, "a b c d e f g h i j k l m n",
                                       (size_t)(2 * (tokens - 2)), NULL, 0, DISTIL_TRUNCATE_NONE,
                                       &noted->texts[i], NULL),
                         DISTIL_OK);
        ck_assert_int_eq(distil_tokens_count(noted->texts[i]), tokens);
    }
}

static void unmake(struct noted *noted)
{
    int i;
    for (i = 0; i < noted->job.count; i++)
        distil_tokens_free(noted->texts[i]);
}

static void push(struct fixture *f, struct noted *noted)
{
    int64_t wait;
    ck_assert_int_eq(server_queue_reserve(f->queue, &noted->job, &wait), SERVER_ROOM);
    server_queue_push(f->queue, &noted->job);
}

static void set_up_bounded(struct fixture *f, int max_batch_tokens, int max_texts, int max_tokens)
{
    struct server_model_options options = {.name = "a", .path = "fake"};
    int texts = server_batch_texts(max_batch_tokens);
    distil_error error;
    memset(f, 0, sizeof(*f));
    f->options.max_texts = max_texts;
    f->options.max_tokens = max_tokens;
    f->options.max_batch_tokens = max_batch_tokens;
    f->options.max_batch_time = SECOND;
    ck_assert(server_lanes_create(&f->lanes, 1, 1));
    ck_assert_int_eq(server_model_open(&f->model, &options, &f->lanes, texts, &error), DISTIL_OK);
    ck_assert_int_eq(server_model_open(&f->other, &options, &f->lanes, texts, &error), DISTIL_OK);
    f->queue = server_queue_create(&f->options, &f->lanes);
    ck_assert_ptr_nonnull(f->queue);
    make(&f->plug, &f->model, 1, 3);
    push(f, &f->plug);
    ck_assert_ptr_nonnull(server_queue_take(f->queue, 0));
    f->computing = true;
}

static void set_up(struct fixture *f, int max_batch_tokens)
{
    set_up_bounded(f, max_batch_tokens, 1000, 1000000);
}

static void tear_down(struct fixture *f)
{
    unmake(&f->plug);
    server_queue_free(f->queue);
    server_model_close(&f->model);
    server_model_close(&f->other);
    server_lanes_free(&f->lanes);
}

/* Ends the batch that is being computed. */
static void finish(struct fixture *f, distil_status status)
{
    if (f->computing)
        server_queue_finish(f->queue, 0, status);
    f->computing = false;
}

/* The batch after the one that is being computed. */
static const struct server_batch *next_batch(struct fixture *f)
{
    const struct server_batch *batch;
    finish(f, DISTIL_OK);
    batch = server_queue_take(f->queue, 0);
    f->computing = batch != NULL;
    return batch;
}

static int waiting_texts(struct fixture *f)
{
    int tokens;
    return server_queue_waiting(f->queue, &tokens);
}

/* ---- batches ---- */

START_TEST(takes_all_that_waits_in_order)
{
    struct fixture f;
    struct noted a, b;
    const struct server_batch *batch;
    int tokens;
    set_up(&f, 1000);
    make(&a, &f.model, 1, 4);
    make(&b, &f.model, 3, 4);
    push(&f, &a);
    push(&f, &b);
    ck_assert_int_eq(server_queue_waiting(f.queue, &tokens), 4);
    ck_assert_int_eq(tokens, 16);
    batch = next_batch(&f);
    ck_assert_int_eq(f.plug.done, 1);
    ck_assert_int_eq(batch->count, 4);
    ck_assert_int_eq(batch->tokens, 16);
    ck_assert_double_eq(batch->squares, 64);
    ck_assert_ptr_eq(batch->texts[0], a.texts[0]);
    ck_assert_ptr_eq(batch->texts[3], b.texts[2]);
    ck_assert_ptr_eq(batch->outputs[3], b.logits + 4);
    ck_assert_int_eq(server_queue_waiting(f.queue, &tokens), 0);
    ck_assert_int_eq(tokens, 0);
    ck_assert_int_eq(a.done + b.done, 0);
    finish(&f, DISTIL_OK);
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(b.done, 1);
    ck_assert_int_eq(b.job.status, DISTIL_OK);
    ck_assert_int_eq(b.job.fate, SERVER_COMPUTED);
    ck_assert_int_eq(b.job.batch_texts, 4);
    ck_assert_int_ge(b.job.taken, b.job.queued);
    ck_assert_int_ge(b.job.ended, b.job.taken);
    unmake(&a);
    unmake(&b);
    tear_down(&f);
}
END_TEST

START_TEST(a_large_job_is_split_and_answered_whole)
{
    struct fixture f;
    struct noted large, small;
    int batches = 0, texts = 0;
    set_up(&f, 17);
    make(&large, &f.model, 10, 4);
    make(&small, &f.model, 1, 4);
    push(&f, &large);
    push(&f, &small);
    while (waiting_texts(&f) > 0) {
        const struct server_batch *batch = next_batch(&f);
        ck_assert_int_le(batch->tokens, 17);
        ck_assert_int_eq(large.done, 0);
        texts += batch->count;
        batches++;
    }
    finish(&f, DISTIL_OK);
    ck_assert_int_eq(texts, 11);
    ck_assert_int_eq(batches, 3);
    ck_assert_int_eq(large.done, 1);
    ck_assert_int_eq(small.done, 1);
    unmake(&large);
    unmake(&small);
    tear_down(&f);
}
END_TEST

START_TEST(a_text_over_the_budget_goes_alone)
{
    struct fixture f;
    struct noted a;
    set_up(&f, 1);
    make(&a, &f.model, 2, 4);
    push(&f, &a);
    ck_assert_int_eq(next_batch(&f)->count, 1);
    ck_assert_int_eq(next_batch(&f)->count, 1);
    finish(&f, DISTIL_OK);
    ck_assert_int_eq(a.done, 1);
    unmake(&a);
    tear_down(&f);
}
END_TEST

START_TEST(a_batch_takes_no_more_time_than_it_may)
{
    struct fixture f;
    struct noted a, b;
    set_up(&f, 1000);
    f.options.max_batch_time = 10000; /* a batch costs 800 ns and a token 100, by the seed */
    server_queue_free(f.queue);
    f.queue = server_queue_create(&f.options, &f.lanes);
    f.computing = false;
    make(&a, &f.model, 1, 4);
    make(&b, &f.model, 40, 4);
    push(&f, &a);
    push(&f, &b);
    ck_assert_int_eq(server_queue_take(f.queue, 0)->count, 1);
    /* not observed, as that would change the estimates */
    server_queue_finish(f.queue, 0, DISTIL_NO_MEMORY);
    ck_assert_int_eq(server_queue_take(f.queue, 0)->count, 23);
    unmake(&a);
    unmake(&b);
    tear_down(&f);
}
END_TEST

/* ---- turns ---- */

/* Each of the two models has its turn, and within it all of its jobs. */
START_TEST(a_batch_is_of_one_model)
{
    struct fixture f;
    struct noted jobs[5];
    struct server_model *expected[2];
    int i;
    set_up(&f, 1000);
    expected[0] = &f.model;
    expected[1] = &f.other;
    for (i = 0; i < 5; i++) {
        make(&jobs[i], i % 2 ? &f.other : &f.model, 1, 4);
        push(&f, &jobs[i]);
    }
    for (i = 0; i < 2; i++) {
        const struct server_batch *batch = next_batch(&f);
        ck_assert_ptr_eq(batch->model, expected[i]);
        ck_assert_int_eq(batch->count, 3 - i);
    }
    finish(&f, DISTIL_OK);
    /* the lists are whole again */
    for (i = 0; i < 5; i++) {
        ck_assert_int_eq(jobs[i].done, 1);
        unmake(&jobs[i]);
    }
    make(&jobs[0], &f.other, 1, 4);
    push(&f, &jobs[0]);
    ck_assert_int_eq(next_batch(&f)->count, 1);
    finish(&f, DISTIL_OK);
    unmake(&jobs[0]);
    tear_down(&f);
}
END_TEST

/* Jobs of over 64 / 16 tokens are long. */
START_TEST(a_short_text_waits_for_one_long_batch_at_most)
{
    enum { LONG_JOBS = 12 };
    struct fixture f;
    struct noted longs[LONG_JOBS], first, second;
    int i, k, done = 0;
    set_up(&f, 64);
    for (i = 0; i < LONG_JOBS; i++) {
        make(&longs[i], &f.model, 5, LONG_TEXT);
        push(&f, &longs[i]);
    }
    make(&first, &f.model, 1, 3);
    make(&second, &f.model, 1, 4);
    ck_assert_int_eq(next_batch(&f)->count, 5);
    push(&f, &first);
    push(&f, &second);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &longs[1].job);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &first.job);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &longs[2].job);
    ck_assert(first.done && second.done);
    /* nor do short ones that keep coming hold up the long ones */
    for (k = 0; k < 4; k++) {
        unmake(&first);
        make(&first, &f.model, 1, 3);
        push(&f, &first);
        ck_assert_ptr_eq(next_batch(&f)->jobs[0], &longs[3 + k].job);
        ck_assert_ptr_eq(next_batch(&f)->jobs[0], &first.job);
    }
    while (waiting_texts(&f) > 0)
        ck_assert_ptr_nonnull(next_batch(&f));
    finish(&f, DISTIL_OK);
    for (i = 0; i < LONG_JOBS; i++) {
        done += longs[i].done;
        unmake(&longs[i]);
    }
    ck_assert_int_eq(done, LONG_JOBS);
    unmake(&first);
    unmake(&second);
    tear_down(&f);
}
END_TEST

START_TEST(a_large_job_lets_others_go_between_its_batches)
{
    struct fixture f;
    struct noted large, other;
    set_up(&f, 48);
    make(&large, &f.model, 40, LONG_TEXT);
    make(&other, &f.model, 1, LONG_TEXT);
    push(&f, &large);
    push(&f, &other);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &large.job);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &other.job);
    while (waiting_texts(&f) > 0)
        ck_assert_ptr_nonnull(next_batch(&f));
    finish(&f, DISTIL_OK);
    ck_assert(large.done == 1 && other.done == 1);
    unmake(&large);
    unmake(&other);
    tear_down(&f);
}
END_TEST

/* ---- room ---- */

static enum server_room reserve(struct fixture *f, int count, int tokens)
{
    struct server_job job = {.model = &f->model, .count = count, .tokens = tokens};
    int64_t wait;
    return server_queue_reserve(f->queue, &job, &wait);
}

START_TEST(room_is_bounded)
{
    struct fixture f;
    int64_t wait;
    set_up_bounded(&f, 1000, 4, 1000);
    ck_assert_int_eq(reserve(&f, 3, 12), SERVER_ROOM);
    ck_assert_int_eq(reserve(&f, 2, 8), SERVER_ROOM_FULL);
    ck_assert(!server_queue_full(f.queue, &wait));
    ck_assert_int_eq(reserve(&f, 1, 4), SERVER_ROOM);
    ck_assert(server_queue_full(f.queue, &wait));
    ck_assert_int_eq(reserve(&f, 1, 4), SERVER_ROOM_FULL);
    ck_assert_int_eq(waiting_texts(&f), 4);
    tear_down(&f);
    /* a request larger than the queue is not refused for ever */
    set_up_bounded(&f, 1000, 4, 1000);
    ck_assert_int_eq(reserve(&f, 9, 36), SERVER_ROOM);
    ck_assert_int_eq(reserve(&f, 1, 4), SERVER_ROOM_FULL);
    tear_down(&f);
    set_up_bounded(&f, 1000, 4000, 1000);
    ck_assert_int_eq(reserve(&f, 1, 996), SERVER_ROOM);
    ck_assert_int_eq(reserve(&f, 2, 8), SERVER_ROOM_FULL);
    ck_assert_int_eq(reserve(&f, 1, 4), SERVER_ROOM);
    ck_assert_int_eq(reserve(&f, 1, 4), SERVER_ROOM_FULL);
    tear_down(&f);
}
END_TEST

/* Makes the queue believe that a batch takes a second, whatever its tokens. */
static void guess_a_second(struct fixture *f)
{
    struct server_cost *cost = &f->model.costs[0];
    cost->observed = 1;
    cost->factor[0] = (double)SECOND / cost->seed[0];
}

/* The same, without a doubt. */
static void believe_a_second(struct fixture *f)
{
    guess_a_second(f);
    memset(f->model.costs[0].spread, 0, sizeof(f->model.costs[0].spread));
}

START_TEST(what_would_wait_too_long_is_refused)
{
    struct fixture f;
    struct noted a, b, c;
    int64_t wait;
    set_up(&f, 1000);
    f.options.max_wait = 3 * (int64_t)SECOND / 2;
    f.options.max_batch_time = 10 * (int64_t)SECOND;
    server_queue_free(f.queue);
    f.queue = server_queue_create(&f.options, &f.lanes);
    believe_a_second(&f);
    make(&a, &f.model, 1, 4);
    make(&b, &f.model, 1, 4);
    make(&c, &f.model, 1, 4);
    ck_assert_int_eq(server_queue_reserve(f.queue, &a.job, &wait), SERVER_ROOM);
    ck_assert_int_eq(wait, 0);
    server_queue_push(f.queue, &a.job); /* it is computed at once */
    ck_assert_int_eq(server_queue_reserve(f.queue, &b.job, &wait), SERVER_ROOM);
    ck_assert_int_gt(wait, SECOND / 2);
    ck_assert_int_le(wait, SECOND + SECOND / 10);
    server_queue_push(f.queue, &b.job);
    ck_assert_int_eq(server_queue_reserve(f.queue, &c.job, &wait), SERVER_ROOM_SLOW);
    ck_assert_int_gt(wait, 3 * (int64_t)SECOND / 2);
    c.job.deadline = server_now() + SECOND;
    ck_assert_int_eq(server_queue_reserve(f.queue, &c.job, &wait), SERVER_ROOM_SLOW);
    ck_assert_int_gt(server_queue_drain_time(f.queue), SECOND);
    server_queue_close(f.queue);
    unmake(&a);
    unmake(&b);
    unmake(&c);
    tear_down(&f);
}
END_TEST

START_TEST(what_may_turn_out_to_be_short_is_not_refused)
{
    struct fixture f;
    struct noted jobs[3];
    int64_t wait;
    int i;
    set_up(&f, 1000);
    f.options.max_wait = 3 * (int64_t)SECOND / 2;
    f.options.max_batch_time = 10 * (int64_t)SECOND;
    server_queue_free(f.queue);
    f.queue = server_queue_create(&f.options, &f.lanes);
    guess_a_second(&f); /* as after a single batch that something else held up */
    for (i = 0; i < 3; i++) {
        make(&jobs[i], &f.model, 1, 4);
        ck_assert_int_eq(server_queue_reserve(f.queue, &jobs[i].job, &wait), SERVER_ROOM);
        server_queue_push(f.queue, &jobs[i].job);
    }
    ck_assert_int_gt(wait, 3 * (int64_t)SECOND / 2);
    server_queue_close(f.queue);
    for (i = 0; i < 3; i++)
        unmake(&jobs[i]);
    tear_down(&f);
}
END_TEST

/* ---- deadlines ---- */

START_TEST(what_cannot_make_its_deadline_is_refused)
{
    struct fixture f;
    struct noted a;
    int64_t wait;
    set_up(&f, 1000);
    believe_a_second(&f);
    finish(&f, DISTIL_NO_MEMORY);
    make(&a, &f.model, 1, 4);
    push(&f, &a);
    ck_assert_ptr_nonnull(server_queue_take(f.queue, 0));
    a.job.deadline = server_now() + SECOND / 2;
    ck_assert_int_eq(server_queue_reserve(f.queue, &a.job, &wait), SERVER_ROOM_LATE);
    a.job.deadline = server_now() + 3 * (int64_t)SECOND;
    ck_assert_int_eq(server_queue_reserve(f.queue, &a.job, &wait), SERVER_ROOM);
    unmake(&a);
    tear_down(&f);
}
END_TEST

static void sleep_ms(long ms)
{
    const struct timespec pause = {0, ms * 1000000};
    nanosleep(&pause, NULL);
}

START_TEST(what_is_past_its_deadline_is_not_computed)
{
    struct fixture f;
    struct noted late, split, in_time;
    const struct server_batch *batch;
    set_up(&f, 8); /* two texts a batch; all are long */
    make(&split, &f.model, 4, 4);
    make(&late, &f.model, 1, 4);
    make(&in_time, &f.model, 1, 4);
    late.job.deadline = server_now() + 30 * 1000000;
    split.job.deadline = server_now() + 30 * 1000000;
    in_time.job.deadline = server_now() + 100 * (int64_t)SECOND;
    push(&f, &split);
    push(&f, &late);
    push(&f, &in_time);
    ck_assert_ptr_eq(next_batch(&f)->jobs[1], &split.job);
    sleep_ms(40);
    batch = next_batch(&f);
    ck_assert_int_eq(batch->count, 1);
    ck_assert_ptr_eq(batch->jobs[0], &in_time.job);
    ck_assert(late.done == 1 && late.job.fate == SERVER_EXPIRED);
    ck_assert_int_eq(late.job.status, DISTIL_BUSY);
    ck_assert_int_eq(waiting_texts(&f), 0);
    finish(&f, DISTIL_OK);
    ck_assert(split.done == 1 && split.job.fate == SERVER_EXPIRED);
    ck_assert(in_time.done == 1 && in_time.job.fate == SERVER_COMPUTED);
    unmake(&split);
    unmake(&late);
    unmake(&in_time);
    tear_down(&f);
}
END_TEST

/* The deadline passes after a batch was cut and before its worker takes it. */
START_TEST(deadlines_are_looked_at_before_computing)
{
    struct fixture f;
    struct noted late, in_time, behind;
    const struct server_batch *batch;
    set_up(&f, 1000);
    make(&late, &f.model, 1, 4);
    make(&in_time, &f.model, 1, 3);
    make(&behind, &f.model, 1, 4);
    late.job.deadline = server_now() + 30 * 1000000;
    push(&f, &late);
    push(&f, &in_time);
    finish(&f, DISTIL_OK);
    sleep_ms(40);
    batch = server_queue_take(f.queue, 0);
    ck_assert_int_eq(batch->count, 1);
    ck_assert_int_eq(batch->tokens, 3);
    ck_assert_double_eq(batch->squares, 9);
    ck_assert_ptr_eq(batch->jobs[0], &in_time.job);
    ck_assert(late.done == 1 && late.job.fate == SERVER_EXPIRED);
    server_queue_finish(f.queue, 0, DISTIL_OK);
    /* and when nothing is left of the batch, the next one is taken */
    unmake(&late);
    make(&late, &f.model, 1, 4);
    late.job.deadline = server_now() + 30 * 1000000;
    push(&f, &late);
    push(&f, &behind);
    sleep_ms(40);
    batch = server_queue_take(f.queue, 0);
    ck_assert_ptr_eq(batch->jobs[0], &behind.job);
    ck_assert(late.done == 1 && late.job.fate == SERVER_EXPIRED);
    server_queue_finish(f.queue, 0, DISTIL_OK);
    ck_assert_int_eq(behind.done, 1);
    unmake(&late);
    unmake(&in_time);
    unmake(&behind);
    tear_down(&f);
}
END_TEST

static void *watch(void *queue)
{
    while (server_queue_expire(queue))
        continue;
    return NULL;
}

/* Jobs anywhere in the queue, whose batch may be far off, in an order that is not that of their
 * deadlines. What is left keeps its order. */
START_TEST(late_jobs_learn_of_it_while_they_wait)
{
    struct fixture f;
    struct noted split, alone, patient, behind;
    struct noted *late[] = {&behind, &split, &alone};
    const struct server_batch *batch;
    pthread_t thread;
    int64_t now;
    int i;
    set_up(&f, 8);
    ck_assert_int_eq(pthread_create(&thread, NULL, watch, f.queue), 0);
    make(&split, &f.model, 3, 4);
    make(&alone, &f.other, 1, 4);
    make(&patient, &f.model, 2, 4);
    make(&behind, &f.model, 1, 4);
    now = server_now();
    for (i = 0; i < 3; i++)
        late[i]->job.deadline = now + (i + 1) * (int64_t)SECOND / 5;
    push(&f, &split);
    push(&f, &alone);
    push(&f, &patient);
    push(&f, &behind);
    ck_assert_ptr_eq(next_batch(&f)->jobs[1], &split.job);
    ck_assert_int_eq(waiting_texts(&f), 5);
    for (i = 0; i < 3; i++) {
        const int left[] = {4, 3, 2};
        while (waiting_texts(&f) > left[i] && server_now() - now < 10 * (int64_t)SECOND)
            sleep_ms(1);
        ck_assert_int_ge(server_now(), late[i]->job.deadline);
        ck_assert_int_eq(waiting_texts(&f), left[i]);
        ck_assert_int_eq(late[i]->job.fate, SERVER_EXPIRED);
    }
    ck_assert_int_eq(split.done, 0); /* a part of it is being computed */
    batch = next_batch(&f);
    ck_assert(batch->count == 2 && batch->jobs[1] == &patient.job);
    finish(&f, DISTIL_OK);
    server_queue_close(f.queue);
    pthread_join(thread, NULL);
    ck_assert_int_eq(patient.job.fate, SERVER_COMPUTED);
    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(late[i]->done, 1);
        unmake(late[i]);
    }
    unmake(&patient);
    tear_down(&f);
}
END_TEST

static bool is_gone(struct server_job *job)
{
    (void)job;
    return true;
}

static bool is_there(struct server_job *job)
{
    (void)job;
    return false;
}

/* Also one of which some texts are being computed already. */
START_TEST(jobs_nobody_waits_for_are_dropped)
{
    struct fixture f;
    struct noted gone, split, there;
    const struct server_batch *batch;
    set_up(&f, 8);
    make(&split, &f.model, 5, 4);
    make(&gone, &f.model, 3, 4);
    make(&there, &f.model, 1, 4);
    split.job.gone = is_gone;
    gone.job.gone = is_gone;
    there.job.gone = is_there;
    push(&f, &split);
    push(&f, &gone);
    push(&f, &there);
    ck_assert_ptr_eq(next_batch(&f)->jobs[1], &split.job); /* at once: nobody is asked */
    sleep_ms(80);
    batch = next_batch(&f);
    ck_assert_int_eq(batch->count, 1);
    ck_assert_ptr_eq(batch->jobs[0], &there.job);
    ck_assert_int_eq(waiting_texts(&f), 0);
    ck_assert(gone.done == 1 && gone.job.fate == SERVER_ABANDONED);
    ck_assert_int_eq(gone.job.status, DISTIL_BUSY);
    finish(&f, DISTIL_OK);
    ck_assert(split.done == 1 && split.job.fate == SERVER_ABANDONED);
    ck_assert(there.done == 1 && there.job.fate == SERVER_COMPUTED);
    unmake(&split);
    unmake(&gone);
    unmake(&there);
    tear_down(&f);
}
END_TEST

/* ---- ends ---- */

START_TEST(a_failed_batch_fails_its_jobs)
{
    struct fixture f;
    struct noted a, b;
    set_up(&f, 4);
    make(&a, &f.model, 2, 4);
    make(&b, &f.model, 1, 4);
    push(&f, &a);
    push(&f, &b);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &a.job);
    finish(&f, DISTIL_NO_MEMORY);
    ck_assert_int_eq(a.done, 0);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &b.job);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &a.job);
    finish(&f, DISTIL_OK);
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(a.job.status, DISTIL_NO_MEMORY);
    ck_assert_int_eq(b.job.status, DISTIL_OK);
    unmake(&a);
    unmake(&b);
    tear_down(&f);
}
END_TEST

START_TEST(closing_gives_up_what_waits)
{
    struct fixture f;
    struct noted split, waiting, late;
    int64_t wait;
    set_up(&f, 8);
    make(&split, &f.model, 5, 4);
    make(&waiting, &f.model, 1, 4);
    make(&late, &f.model, 1, 4);
    push(&f, &split);
    push(&f, &waiting);
    ck_assert_ptr_eq(next_batch(&f)->jobs[0], &split.job);
    server_queue_close(f.queue);
    ck_assert_int_eq(waiting_texts(&f), 0);
    ck_assert_int_eq(waiting.done, 1);
    ck_assert_int_eq(waiting.job.fate, SERVER_STOPPED);
    ck_assert_int_eq(split.done, 0); /* a part of it is being computed */
    ck_assert_ptr_null(next_batch(&f));
    ck_assert_int_eq(split.done, 1);
    ck_assert_int_eq(split.job.fate, SERVER_STOPPED);
    ck_assert_int_eq(split.job.status, DISTIL_BUSY);
    ck_assert_int_eq(server_queue_reserve(f.queue, &late.job, &wait), SERVER_ROOM);
    server_queue_push(f.queue, &late.job);
    ck_assert_int_eq(late.done, 1);
    ck_assert_int_eq(late.job.fate, SERVER_STOPPED);
    unmake(&split);
    unmake(&waiting);
    unmake(&late);
    tear_down(&f);
}
END_TEST

struct crowd {
    struct server_queue *queue;
    atomic_int texts, done, cores, overlaps;
};

struct counted {
    struct server_job job;
    struct crowd *crowd;
    distil_tokens *texts[3];
    float logits[6];
    float *outputs[3];
};

struct seat {
    struct crowd *crowd;
    const struct server_lane *span;
    int lane;
    pthread_t thread;
};

static void on_counted(struct server_job *job)
{
    struct counted *counted = (struct counted *)(void *)job;
    atomic_fetch_add(&counted->crowd->done, 1);
}

static void *work(void *argument)
{
    struct seat *seat = argument;
    struct crowd *crowd = seat->crowd;
    const struct server_batch *batch;
    int mask = ((1 << seat->span->cores) - 1) << seat->span->first;
    while ((batch = server_queue_take(crowd->queue, seat->lane))) {
        if (atomic_fetch_or(&crowd->cores, mask) & mask)
            atomic_fetch_add(&crowd->overlaps, 1);
        atomic_fetch_add(&crowd->texts, batch->count);
        atomic_fetch_and(&crowd->cores, ~mask);
        server_queue_finish(crowd->queue, seat->lane, DISTIL_OK);
    }
    return NULL;
}

START_TEST(many_threads_lose_nothing_and_share_no_core)
{
    enum { CORES = 3, LANES = 5, JOBS = 2000 };
    struct fixture f;
    struct crowd crowd;
    struct counted *jobs = calloc(JOBS, sizeof(*jobs));
    struct server_model_options options = {.path = "fake"};
    struct server_model models[2];
    struct server_lanes lanes;
    struct seat seats[LANES];
    int i, k;
    ck_assert_ptr_nonnull(jobs);
    set_up_bounded(&f, 30, 1000000, 1000000);
    ck_assert(server_lanes_create(&lanes, CORES, CORES));
    ck_assert_int_eq(lanes.count, LANES);
    for (i = 0; i < 2; i++)
        ck_assert_int_eq(server_model_open(&models[i], &options, &lanes, 16, NULL), DISTIL_OK);
    crowd.queue = server_queue_create(&f.options, &lanes);
    atomic_init(&crowd.texts, 0);
    atomic_init(&crowd.done, 0);
    atomic_init(&crowd.cores, 0);
    atomic_init(&crowd.overlaps, 0);
    for (i = 0; i < LANES; i++) {
        seats[i] = (struct seat){.crowd = &crowd, .span = &lanes.each[i], .lane = i};
        ck_assert_int_eq(pthread_create(&seats[i].thread, NULL, work, &seats[i]), 0);
    }
    for (i = 0; i < JOBS; i++) {
        int64_t wait;
        jobs[i].crowd = &crowd;
        jobs[i].job.model = &models[i % 3 == 0];
        jobs[i].job.count = 3;
        jobs[i].job.tokens = 15;
        jobs[i].job.texts = jobs[i].texts;
        jobs[i].job.outputs = jobs[i].outputs;
        jobs[i].job.done = on_counted;
        for (k = 0; k < 3; k++) {
            jobs[i].outputs[k] = jobs[i].logits + 2 * (ptrdiff_t)k;
            distil_encode(models[0].model, "a b c", 5, NULL, 0, DISTIL_TRUNCATE_NONE,
                          &jobs[i].texts[k], NULL);
        }
        ck_assert_int_eq(server_queue_reserve(crowd.queue, &jobs[i].job, &wait), SERVER_ROOM);
        server_queue_push(crowd.queue, &jobs[i].job);
    }
    while (atomic_load(&crowd.done) < JOBS)
        sleep_ms(1);
    server_queue_close(crowd.queue);
    for (i = 0; i < LANES; i++)
        pthread_join(seats[i].thread, NULL);
    ck_assert_int_eq(atomic_load(&crowd.texts), 3 * JOBS);
    ck_assert_int_eq(atomic_load(&crowd.overlaps), 0);
    for (i = 0; i < JOBS; i++)
        for (k = 0; k < 3; k++)
            distil_tokens_free(jobs[i].texts[k]);
    free(jobs);
    server_queue_free(crowd.queue);
    for (i = 0; i < 2; i++)
        server_model_close(&models[i]);
    server_lanes_free(&lanes);
    tear_down(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        takes_all_that_waits_in_order,
        a_large_job_is_split_and_answered_whole,
        a_text_over_the_budget_goes_alone,
        a_batch_takes_no_more_time_than_it_may,
        a_batch_is_of_one_model,
        a_short_text_waits_for_one_long_batch_at_most,
        a_large_job_lets_others_go_between_its_batches,
        room_is_bounded,
        what_would_wait_too_long_is_refused,
        what_may_turn_out_to_be_short_is_not_refused,
        what_cannot_make_its_deadline_is_refused,
        what_is_past_its_deadline_is_not_computed,
        deadlines_are_looked_at_before_computing,
        late_jobs_learn_of_it_while_they_wait,
        jobs_nobody_waits_for_are_dropped,
        a_failed_batch_fails_its_jobs,
        closing_gives_up_what_waits,
        many_threads_lose_nothing_and_share_no_core,
    };
    return run_tests("queue", 30, tests, sizeof(tests) / sizeof(*tests));
}

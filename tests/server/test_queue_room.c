/* test_queue_room.c: who is refused by the queue, and who is given up while it waits: bounds, deadlines, and clients that
 * have gone. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/queue_fixture.h"
#include "tests/suite.h"

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
    ck_assert_int_eq(server_queue_foresee(f.queue, NULL, 0, 0, &wait), SERVER_ROOM);
    ck_assert_int_eq(reserve(&f, 1, 4), SERVER_ROOM);
    ck_assert_int_eq(server_queue_foresee(f.queue, NULL, 0, 0, &wait), SERVER_ROOM_FULL);
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
    set_times(&f, 3 * (int64_t)SECOND / 2, 10 * (int64_t)SECOND);
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

/* A job of which no text is known is refused where any would be: as long as no long one waits, one that may be long is not. */
START_TEST(what_would_wait_too_long_is_foreseen)
{
    enum { SHORT = 4, LONG = 12, BOUND = 4 };
    struct fixture f;
    struct noted jobs[3];
    const int tokens[] = {SHORT, SHORT, LONG};
    const int64_t soon = server_now() + SECOND / 2;
    int64_t wait;
    int i;
    set_up(&f, 16 * BOUND); /* of more than 4 tokens is long */
    set_times(&f, 3 * (int64_t)SECOND / 2, 10 * (int64_t)SECOND);
    believe_a_second(&f);
    for (i = 0; i < 3; i++) {
        make(&jobs[i], &f.model, 1, tokens[i]);
        ck_assert_int_eq(server_queue_reserve(f.queue, &jobs[i].job, &wait), SERVER_ROOM);
        server_queue_push(f.queue, &jobs[i].job);
        if (i == 0)
            ck_assert_int_eq(server_queue_foresee(f.queue, NULL, 0, 0, &wait), SERVER_ROOM);
        if (i != 1)
            continue;
        /* one is computed, a short one waits: two seconds for those behind it, one for a long one */
        ck_assert_int_eq(server_queue_foresee(f.queue, NULL, 0, 0, &wait), SERVER_ROOM_SLOW);
        ck_assert_int_gt(wait, 3 * (int64_t)SECOND / 2);
        ck_assert_int_eq(server_queue_foresee(f.queue, &f.model, BOUND, 0, &wait),
                         SERVER_ROOM_SLOW);
        ck_assert_int_eq(server_queue_foresee(f.queue, &f.model, BOUND + 1, 0, &wait), SERVER_ROOM);
        ck_assert_int_eq(server_queue_foresee(f.queue, &f.model, BOUND + 1, soon, &wait),
                         SERVER_ROOM_LATE);
        ck_assert_int_eq(server_queue_foresee(f.queue, &f.other, BOUND, 0, &wait), SERVER_ROOM);
    }
    ck_assert_int_eq(server_queue_foresee(f.queue, &f.model, BOUND + 1, 0, &wait),
                     SERVER_ROOM_SLOW);
    ck_assert_int_eq(server_queue_foresee(f.queue, &f.other, BOUND, 0, &wait), SERVER_ROOM);
    server_queue_close(f.queue);
    for (i = 0; i < 3; i++)
        unmake(&jobs[i]);
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
    set_times(&f, 3 * (int64_t)SECOND / 2, 10 * (int64_t)SECOND);
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

static void pause_until(int64_t when)
{
    while (server_now() <= when)
        pause_ms(1);
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
    split.job.deadline = late.job.deadline = server_now() + SECOND / 2;
    in_time.job.deadline = server_now() + 100 * (int64_t)SECOND;
    push(&f, &split);
    push(&f, &late);
    push(&f, &in_time);
    ck_assert_ptr_eq(next_batch(&f)->jobs[1], &split.job);
    pause_until(late.job.deadline);
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
    late.job.deadline = server_now() + SECOND / 2;
    push(&f, &late);
    push(&f, &in_time);
    finish(&f, DISTIL_OK);
    pause_until(late.job.deadline);
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
    late.job.deadline = server_now() + SECOND / 2;
    push(&f, &late);
    push(&f, &behind);
    pause_until(late.job.deadline);
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

/* Two cores: one lane of both, and one of each. */
struct pair {
    struct server_lanes lanes;
    struct server_model model;
    struct server_queue *queue;
    atomic_bool taking;
    bool ended;
};

static void set_up_pair(struct pair *p)
{
    struct server_queue_options options = {
        .max_texts = 100, .max_tokens = 1000, .max_batch_tokens = 100, .max_batch_time = SECOND};
    const struct server_model_options model = {.path = "fake"};
    memset(p, 0, sizeof(*p));
    ck_assert(server_lanes_create(&p->lanes, 2, 2));
    ck_assert_int_eq(p->lanes.count, 3);
    ck_assert_int_eq(server_model_open(&p->model, &model, &p->lanes, 50, NULL), DISTIL_OK);
    p->queue = server_queue_create(&options, &p->lanes);
    ck_assert_ptr_nonnull(p->queue);
}

static void tear_down_pair(struct pair *p)
{
    server_queue_free(p->queue);
    server_model_close(&p->model);
    server_lanes_free(&p->lanes);
}

/* Makes the queue believe that batches on both cores take so many times what they take on one. */
static void believe_wide_takes(struct pair *p, double times)
{
    struct server_cost *costs = p->model.costs;
    int i;
    for (i = 0; i < SERVER_COST_TERMS; i++)
        costs[0].factor[i] = costs[0].seed[i] > 0 ? times * costs[1].seed[i] / costs[0].seed[i] : 0;
}

static void *take_wide(void *argument)
{
    struct pair *p = argument;
    atomic_store(&p->taking, true);
    p->ended = server_queue_take(p->queue, 0) == NULL;
    return NULL;
}

/* The wide lane's batch is emptied by its deadline, and another is put in its place while it is taken. That one must not
 * count as waiting still: taken once more, it would set free the cores on which the next two are to be computed, and the
 * one behind them would overwrite the first. */
START_TEST(a_batch_in_place_of_a_late_one_is_taken_once)
{
    enum { LATE, IN_ITS_PLACE, FIRST, PAST_FIRST, NEXT, PAST_NEXT, BEHIND, JOBS };
    struct pair p;
    struct noted jobs[JOBS];
    const struct server_batch *batch;
    pthread_t thread;
    int64_t wait;
    int i;
    set_up_pair(&p);
    for (i = 0; i < JOBS; i++) {
        make(&jobs[i], &p.model, 1, 4);
        ck_assert_int_eq(server_queue_reserve(p.queue, &jobs[i].job, &wait), SERVER_ROOM);
    }
    believe_wide_takes(&p, 0.1);
    jobs[LATE].job.deadline = server_now() + SECOND / 20;
    server_queue_push(p.queue, &jobs[LATE].job);
    server_queue_push(p.queue, &jobs[IN_ITS_PLACE].job);
    pause_until(jobs[LATE].job.deadline);
    batch = server_queue_take(p.queue, 0);
    ck_assert(batch->count == 1 && batch->jobs[0] == &jobs[IN_ITS_PLACE].job);
    ck_assert_int_eq(jobs[LATE].job.fate, SERVER_EXPIRED);
    for (i = FIRST; i < BEHIND; i++)
        server_queue_push(p.queue, &jobs[i].job);
    believe_wide_takes(&p, 10);
    server_queue_finish(p.queue, 0, DISTIL_NO_MEMORY); /* which teaches the queue nothing */
    ck_assert_int_eq(pthread_create(&thread, NULL, take_wide, &p), 0);
    wait_until(atomic_load(&p.taking));
    pause_ms(20); /* in which it would take what is not there */
    server_queue_push(p.queue, &jobs[BEHIND].job);
    for (i = 1; i <= 2; i++) {
        batch = server_queue_take(p.queue, i);
        ck_assert_int_eq(batch->count, 2);
        ck_assert_ptr_eq(batch->jobs[0], &jobs[i == 1 ? FIRST : NEXT].job);
    }
    server_queue_close(p.queue);
    pthread_join(thread, NULL);
    ck_assert(p.ended);
    for (i = 1; i <= 2; i++)
        server_queue_finish(p.queue, i, DISTIL_OK);
    for (i = 0; i < JOBS; i++) {
        ck_assert_int_eq(jobs[i].done, 1);
        unmake(&jobs[i]);
    }
    tear_down_pair(&p);
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
    int i, waiting, in_time;
    set_up(&f, 8);
    ck_assert_int_eq(pthread_create(&thread, NULL, watch, f.queue), 0);
    make(&split, &f.model, 3, 4);
    make(&alone, &f.other, 1, 4);
    make(&patient, &f.model, 2, 4);
    make(&behind, &f.model, 1, 4);
    now = server_now();
    for (i = 0; i < 3; i++)
        late[i]->job.deadline = now + SECOND + i * (int64_t)SECOND / 5;
    push(&f, &split);
    push(&f, &alone);
    push(&f, &patient);
    push(&f, &behind);
    ck_assert_ptr_eq(next_batch(&f)->jobs[1], &split.job);
    ck_assert_int_eq(waiting_texts(&f), 5);
    do { /* each has a text that waits, until its deadline and not for long after it */
        waiting = waiting_texts(&f);
        now = server_now();
        for (i = 0, in_time = 2; i < 3; i++)
            in_time += now < late[i]->job.deadline;
        ck_assert_int_ge(waiting, in_time);
        pause_ms(1);
    } while (waiting > 2);
    for (i = 0; i < 3; i++)
        ck_assert_int_eq(late[i]->job.fate, SERVER_EXPIRED);
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
    pause_ms(80);
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

int main(void)
{
    const TTest *const tests[] = {
        room_is_bounded,
        what_would_wait_too_long_is_refused,
        what_would_wait_too_long_is_foreseen,
        what_may_turn_out_to_be_short_is_not_refused,
        what_cannot_make_its_deadline_is_refused,
        what_is_past_its_deadline_is_not_computed,
        deadlines_are_looked_at_before_computing,
        a_batch_in_place_of_a_late_one_is_taken_once,
        late_jobs_learn_of_it_while_they_wait,
        jobs_nobody_waits_for_are_dropped,
    };
    return run_tests("queue_room", 30, tests, sizeof(tests) / sizeof(*tests));
}

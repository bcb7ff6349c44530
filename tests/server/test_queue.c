/* test_queue.c: order, budget, splitting and closing of the queue. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/queue_fixture.h"
#include "tests/suite.h"

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
    set_times(&f, 0, 10000); /* a batch costs 800 ns and a token 100, by the seed */
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
        pause_ms(1);
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
        a_failed_batch_fails_its_jobs,
        closing_gives_up_what_waits,
        many_threads_lose_nothing_and_share_no_core,
    };
    return run_tests("queue", 30, tests, sizeof(tests) / sizeof(*tests));
}

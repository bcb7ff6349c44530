/* test_queue.c: order, budget, splitting, bounds and closing of the queue; the texts are those of
 * fake_engine.c. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/model.h"
#include "server/queue.h"

enum { MOST = 64, MOST_TOKENS = 1000000 };

struct fixture {
    struct server_model model, other;
    struct server_queue *queue;
    struct server_batch batch;
};

/* A job that notes when it is done. */
struct noted {
    struct server_job job; /* first: the two share their address */
    int done;
    distil_tokens *texts[MOST];
    float logits[MOST * 2];
};

static void on_done(struct server_job *job)
{
    ((struct noted *)(void *)job)->done++;
}

static void set_up(struct fixture *f, int max_texts, int capacity)
{
    struct server_model_options options = {.name = "a", .path = "fake"};
    distil_error error;
    memset(f, 0, sizeof(*f));
    ck_assert_int_eq(server_model_open(&f->model, &options, &error), DISTIL_OK);
    ck_assert_int_eq(server_model_open(&f->other, &options, &error), DISTIL_OK);
    f->queue = server_queue_create(max_texts, MOST_TOKENS);
    ck_assert_ptr_nonnull(f->queue);
    ck_assert(server_batch_create(&f->batch, capacity));
}

static void tear_down(struct fixture *f)
{
    server_batch_free(&f->batch);
    server_queue_free(f->queue);
    server_model_close(&f->model);
    server_model_close(&f->other);
}

/* A job of count texts of four tokens each. */
static void make(struct noted *noted, const struct server_model *model, int count)
{
    int i;
    memset(noted, 0, sizeof(*noted));
    noted->job.model = model;
    noted->job.count = count;
    noted->job.texts = noted->texts;
    noted->job.logits = noted->logits;
    noted->job.done = on_done;
    noted->job.tokens = 4 * count;
    for (i = 0; i < count; i++)
        ck_assert_int_eq(distil_encode(model->model, "two words", 9, NULL, 0, DISTIL_TRUNCATE_NONE,
                                       &noted->texts[i], NULL),
                         DISTIL_OK);
}

static void unmake(struct noted *noted)
{
    int i;
    for (i = 0; i < noted->job.count; i++)
        distil_tokens_free(noted->texts[i]);
}

static int waiting_texts(struct fixture *f)
{
    int tokens, texts = server_queue_waiting(f->queue, &tokens);
    ck_assert_int_eq(tokens, 4 * texts);
    return texts;
}

static void push(struct fixture *f, struct noted *noted)
{
    ck_assert(server_queue_reserve(f->queue, noted->job.count, noted->job.tokens));
    server_queue_push(f->queue, &noted->job);
}

START_TEST(takes_all_that_waits_in_order)
{
    struct fixture f;
    struct noted a, b;
    set_up(&f, 100, 100);
    make(&a, &f.model, 1);
    make(&b, &f.model, 3);
    push(&f, &a);
    push(&f, &b);
    ck_assert_int_eq(waiting_texts(&f), 4);
    ck_assert(server_queue_take(f.queue, &f.batch, 1000));
    ck_assert_int_eq(f.batch.count, 4);
    ck_assert_int_eq(f.batch.tokens, 16);
    ck_assert_ptr_eq(f.batch.texts[0], a.texts[0]);
    ck_assert_ptr_eq(f.batch.texts[3], b.texts[2]);
    ck_assert_ptr_eq(f.batch.logits[3], b.logits + 4);
    ck_assert_int_eq(waiting_texts(&f), 0);
    ck_assert_int_eq(a.done + b.done, 0);
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(b.done, 1);
    ck_assert_int_eq(b.job.status, DISTIL_OK);
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
    int batches = 0;
    set_up(&f, 100, 100);
    make(&large, &f.model, 10);
    make(&small, &f.model, 1);
    push(&f, &large);
    push(&f, &small);
    while (waiting_texts(&f) > 0) {
        ck_assert(server_queue_take(f.queue, &f.batch, 17));
        ck_assert_int_le(f.batch.tokens, 17);
        ck_assert_int_eq(large.done, 0);
        batches++;
        server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    }
    ck_assert_int_eq(batches, 3); /* 4, 4, 2 + 1 texts */
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
    set_up(&f, 100, 100);
    make(&a, &f.model, 2);
    push(&f, &a);
    ck_assert(server_queue_take(f.queue, &f.batch, 1));
    ck_assert_int_eq(f.batch.count, 1);
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert(server_queue_take(f.queue, &f.batch, 1));
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert_int_eq(a.done, 1);
    unmake(&a);
    tear_down(&f);
}
END_TEST

START_TEST(capacity_bounds_a_batch)
{
    struct fixture f;
    struct noted a;
    set_up(&f, 100, 3);
    make(&a, &f.model, 5);
    push(&f, &a);
    ck_assert(server_queue_take(f.queue, &f.batch, 1000));
    ck_assert_int_eq(f.batch.count, 3);
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert(server_queue_take(f.queue, &f.batch, 1000));
    ck_assert_int_eq(f.batch.count, 2);
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert_int_eq(a.done, 1);
    unmake(&a);
    tear_down(&f);
}
END_TEST

START_TEST(a_batch_is_of_one_model)
{
    struct fixture f;
    struct noted jobs[5];
    const struct server_model *expected[2];
    int i;
    set_up(&f, 100, 100);
    expected[0] = &f.model;
    expected[1] = &f.other;
    for (i = 0; i < 5; i++) {
        make(&jobs[i], i % 2 ? &f.other : &f.model, 1);
        push(&f, &jobs[i]);
    }
    for (i = 0; i < 2; i++) {
        ck_assert(server_queue_take(f.queue, &f.batch, 1000));
        ck_assert_ptr_eq(f.batch.model, expected[i]);
        ck_assert_int_eq(f.batch.count, 3 - i);
        server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    }
    /* the list is whole again */
    for (i = 0; i < 5; i++) {
        ck_assert_int_eq(jobs[i].done, 1);
        unmake(&jobs[i]);
    }
    make(&jobs[0], &f.other, 1);
    push(&f, &jobs[0]);
    ck_assert(server_queue_take(f.queue, &f.batch, 1000));
    ck_assert_int_eq(f.batch.count, 1);
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    unmake(&jobs[0]);
    tear_down(&f);
}
END_TEST

START_TEST(room_is_bounded)
{
    struct fixture f;
    set_up(&f, 4, 10);
    ck_assert(server_queue_reserve(f.queue, 3, 12));
    ck_assert(!server_queue_reserve(f.queue, 2, 8));
    ck_assert(server_queue_reserve(f.queue, 1, 4));
    ck_assert(!server_queue_reserve(f.queue, 1, 4));
    ck_assert_int_eq(waiting_texts(&f), 4);
    tear_down(&f);
    /* a request larger than the queue is not refused for ever */
    set_up(&f, 4, 10);
    ck_assert(server_queue_reserve(f.queue, 9, 36));
    ck_assert(!server_queue_reserve(f.queue, 1, 4));
    tear_down(&f);
}
END_TEST

START_TEST(tokens_are_bounded)
{
    struct fixture f;
    set_up(&f, 4000, 10);
    ck_assert(server_queue_reserve(f.queue, 1, MOST_TOKENS - 4));
    ck_assert(!server_queue_reserve(f.queue, 2, 8));
    ck_assert(server_queue_reserve(f.queue, 1, 4));
    ck_assert(!server_queue_reserve(f.queue, 1, 4));
    tear_down(&f);
    set_up(&f, 4000, 10);
    ck_assert(server_queue_reserve(f.queue, 9, 2 * MOST_TOKENS));
    ck_assert(!server_queue_reserve(f.queue, 1, 4));
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
    const struct timespec pause = {0, 80000000};
    struct fixture f;
    struct noted gone, split, there;
    set_up(&f, 100, 2);
    make(&split, &f.model, 5);
    make(&gone, &f.model, 3);
    make(&there, &f.model, 1);
    split.job.gone = is_gone;
    gone.job.gone = is_gone;
    there.job.gone = is_there;
    push(&f, &split);
    push(&f, &gone);
    push(&f, &there);
    ck_assert(server_queue_take(f.queue, &f.batch, 1000)); /* at once: nobody is asked */
    ck_assert_ptr_eq(f.batch.jobs[1], &split.job);
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert_int_eq(split.done, 0);
    nanosleep(&pause, NULL);
    ck_assert(server_queue_take(f.queue, &f.batch, 1000));
    ck_assert_int_eq(f.batch.count, 1);
    ck_assert_ptr_eq(f.batch.jobs[0], &there.job);
    ck_assert_int_eq(waiting_texts(&f), 0);
    ck_assert(split.done == 1 && split.job.abandoned);
    ck_assert(gone.done == 1 && gone.job.abandoned);
    ck_assert_int_eq(gone.job.status, DISTIL_BUSY);
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert(there.done == 1 && !there.job.abandoned);
    unmake(&split);
    unmake(&gone);
    unmake(&there);
    tear_down(&f);
}
END_TEST

START_TEST(a_failed_batch_fails_its_jobs)
{
    struct fixture f;
    struct noted a, b;
    set_up(&f, 100, 100);
    make(&a, &f.model, 2);
    make(&b, &f.model, 1);
    push(&f, &a);
    push(&f, &b);
    ck_assert(server_queue_take(f.queue, &f.batch, 4));
    server_queue_finish(f.queue, &f.batch, DISTIL_NO_MEMORY);
    ck_assert_int_eq(a.done, 0);
    ck_assert(server_queue_take(f.queue, &f.batch, 100));
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
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
    struct noted computing, split, waiting, late;
    set_up(&f, 100, 3);
    make(&computing, &f.model, 1);
    make(&split, &f.model, 5);
    make(&waiting, &f.model, 1);
    make(&late, &f.model, 1);
    push(&f, &computing);
    push(&f, &split);
    push(&f, &waiting);
    ck_assert(server_queue_take(f.queue, &f.batch, 1000));
    server_queue_close(f.queue);
    ck_assert_int_eq(waiting_texts(&f), 0);
    ck_assert_int_eq(waiting.done, 1);
    ck_assert_int_eq(waiting.job.status, DISTIL_BUSY);
    ck_assert_int_eq(split.done, 0); /* a part of it is being computed */
    server_queue_finish(f.queue, &f.batch, DISTIL_OK);
    ck_assert_int_eq(computing.done, 1);
    ck_assert_int_eq(computing.job.status, DISTIL_OK);
    ck_assert_int_eq(split.done, 1);
    ck_assert_int_eq(split.job.status, DISTIL_BUSY);
    ck_assert(!server_queue_take(f.queue, &f.batch, 1000));
    push(&f, &late);
    ck_assert_int_eq(late.done, 1);
    ck_assert_int_eq(late.job.status, DISTIL_BUSY);
    unmake(&computing);
    unmake(&split);
    unmake(&waiting);
    unmake(&late);
    tear_down(&f);
}
END_TEST

struct crowd {
    struct server_queue *queue;
    atomic_int texts, done;
};

struct counted {
    struct server_job job;
    struct crowd *crowd;
    distil_tokens *texts[3];
    float logits[6];
};

static void on_counted(struct server_job *job)
{
    struct counted *counted = (struct counted *)(void *)job;
    atomic_fetch_add(&counted->crowd->done, 1);
}

static void *work(void *argument)
{
    struct crowd *crowd = argument;
    struct server_batch batch = {0};
    if (!server_batch_create(&batch, 16))
        return NULL;
    while (server_queue_take(crowd->queue, &batch, 30)) {
        atomic_fetch_add(&crowd->texts, batch.count);
        server_queue_finish(crowd->queue, &batch, DISTIL_OK);
    }
    server_batch_free(&batch);
    return NULL;
}

START_TEST(many_threads_lose_nothing)
{
    enum { WORKERS = 3, JOBS = 2000 };
    struct fixture f;
    struct crowd crowd;
    struct counted *jobs = calloc(JOBS, sizeof(*jobs));
    pthread_t workers[WORKERS];
    int i, k;
    ck_assert_ptr_nonnull(jobs);
    set_up(&f, 1000000, 1);
    crowd.queue = f.queue;
    atomic_init(&crowd.texts, 0);
    atomic_init(&crowd.done, 0);
    for (i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&workers[i], NULL, work, &crowd), 0);
    for (i = 0; i < JOBS; i++) {
        jobs[i].crowd = &crowd;
        jobs[i].job.model = i % 3 ? &f.model : &f.other;
        jobs[i].job.count = 3;
        jobs[i].job.tokens = 15;
        jobs[i].job.texts = jobs[i].texts;
        jobs[i].job.logits = jobs[i].logits;
        jobs[i].job.done = on_counted;
        for (k = 0; k < 3; k++)
            distil_encode(f.model.model, "a b c", 5, NULL, 0, DISTIL_TRUNCATE_NONE,
                          &jobs[i].texts[k], NULL);
        ck_assert(server_queue_reserve(f.queue, 3, 15));
        server_queue_push(f.queue, &jobs[i].job);
    }
    while (atomic_load(&crowd.done) < JOBS)
        sched_yield();
    server_queue_close(f.queue);
    for (i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    ck_assert_int_eq(atomic_load(&crowd.texts), 3 * JOBS);
    ck_assert_int_eq(waiting_texts(&f), 0);
    for (i = 0; i < JOBS; i++)
        for (k = 0; k < 3; k++)
            distil_tokens_free(jobs[i].texts[k]);
    free(jobs);
    tear_down(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue");
    TCase *tests = tcase_create("queue");
    SRunner *runner;
    int failed;
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, takes_all_that_waits_in_order);
    tcase_add_test(tests, a_large_job_is_split_and_answered_whole);
    tcase_add_test(tests, a_text_over_the_budget_goes_alone);
    tcase_add_test(tests, capacity_bounds_a_batch);
    tcase_add_test(tests, a_batch_is_of_one_model);
    tcase_add_test(tests, room_is_bounded);
    tcase_add_test(tests, tokens_are_bounded);
    tcase_add_test(tests, jobs_nobody_waits_for_are_dropped);
    tcase_add_test(tests, a_failed_batch_fails_its_jobs);
    tcase_add_test(tests, closing_gives_up_what_waits);
    tcase_add_test(tests, many_threads_lose_nothing);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* queue_fixture.c: see queue_fixture.h. */
#include "tests/server/queue_fixture.h"

#include <check.h>
#include <string.h>

static void on_done(struct server_job *job)
{
    ((struct noted *)(void *)job)->done++;
}

void make(struct noted *noted, struct server_model *model, int count, int tokens)
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

void unmake(struct noted *noted)
{
    int i;
    for (i = 0; i < noted->job.count; i++)
        distil_tokens_free(noted->texts[i]);
}

void push(struct fixture *f, struct noted *noted)
{
    int64_t wait;
    ck_assert_int_eq(server_queue_reserve(f->queue, &noted->job, &wait), SERVER_ROOM);
    server_queue_push(f->queue, &noted->job);
}

void set_up_bounded(struct fixture *f, int max_batch_tokens, int max_texts, int max_tokens)
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

void set_up(struct fixture *f, int max_batch_tokens)
{
    set_up_bounded(f, max_batch_tokens, 1000, 1000000);
}

void set_times(struct fixture *f, int64_t max_wait, int64_t max_batch_time)
{
    f->options.max_wait = max_wait;
    f->options.max_batch_time = max_batch_time;
    server_queue_free(f->queue);
    f->queue = server_queue_create(&f->options, &f->lanes);
    ck_assert_ptr_nonnull(f->queue);
    f->computing = false;
}

void tear_down(struct fixture *f)
{
    unmake(&f->plug);
    server_queue_free(f->queue);
    server_model_close(&f->model);
    server_model_close(&f->other);
    server_lanes_free(&f->lanes);
}

void finish(struct fixture *f, distil_status status)
{
    if (f->computing)
        server_queue_finish(f->queue, 0, status);
    f->computing = false;
}

const struct server_batch *next_batch(struct fixture *f)
{
    const struct server_batch *batch;
    finish(f, DISTIL_OK);
    batch = server_queue_take(f->queue, 0);
    f->computing = batch != NULL;
    return batch;
}

int waiting_texts(struct fixture *f)
{
    int tokens;
    return server_queue_waiting(f->queue, &tokens);
}

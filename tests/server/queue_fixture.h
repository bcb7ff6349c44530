/* queue_fixture.h: a queue and jobs for it, whose texts are those of fake_engine.c. */
#ifndef TESTS_SERVER_QUEUE_FIXTURE_H
#define TESTS_SERVER_QUEUE_FIXTURE_H

#include "server/model.h"
#include "server/queue.h"

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

/* A job of count texts of so many tokens each. */
void make(struct noted *noted, struct server_model *model, int count, int tokens);
void unmake(struct noted *noted);
void push(struct fixture *f, struct noted *noted);

void set_up_bounded(struct fixture *f, int max_batch_tokens, int max_texts, int max_tokens);
/* With room for whatever is pushed. */
void set_up(struct fixture *f, int max_batch_tokens);
/* Puts in its place one with other bounds, of nanoseconds, in which nothing waits or is computed. */
void set_times(struct fixture *f, int64_t max_wait, int64_t max_batch_time);
void tear_down(struct fixture *f);

/* Ends the batch that is being computed. */
void finish(struct fixture *f, distil_status status);
/* The batch after the one that is being computed. */
const struct server_batch *next_batch(struct fixture *f);
int waiting_texts(struct fixture *f);

#endif

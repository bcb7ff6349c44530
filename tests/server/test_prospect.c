/* test_prospect.c: how long what comes has to wait, and when it is refused for that, over what waits as a test says it. */
#include <check.h>
#include <string.h>

#include "server/model.h"
#include "server/prospect.h"
#include "tests/suite.h"

enum { BOUND = 60 /* tokens of the longest short job */, BATCH = 1000 };

static const double second = 1e9;

/* A model whose batches take a second each, whatever their tokens, on the one lane that there is. */
struct fixture {
    struct server_lanes lanes;
    struct server_limits limits;
    struct server_cost cost;
    struct server_model model;
    struct server_backlog backlog;
    struct server_prospect prospect;
};

static void set_up(struct fixture *f)
{
    static const distil_info tiny = {.hidden = 8, .layers = 1, .ffn = 8};
    memset(f, 0, sizeof(*f));
    ck_assert(server_lanes_create(&f->lanes, 1, 1));
    f->limits = (struct server_limits){.max_batch_tokens = BATCH, .max_batch_time = 10000000000};
    server_cost_init(&f->cost, &tiny, 1);
    f->cost.observed = 1;
    f->cost.factor[0] = second / f->cost.seed[0];
    memset(f->cost.spread, 0, sizeof(f->cost.spread));
    f->model.costs = &f->cost;
    f->backlog.short_tokens = BOUND;
    f->prospect = (struct server_prospect){
        .backlog = &f->backlog, .lanes = &f->lanes, .limits = &f->limits, .now = 1};
}

static void tear_down(struct fixture *f)
{
    server_lanes_free(&f->lanes);
}

/* Lets so many batches wait in a flow. */
static struct server_flow *fill(struct fixture *f, int kind, int batches)
{
    struct server_flow *flow = &f->model.flows[kind];
    const int texts = batches * 10, length = BATCH / 10;
    *flow = (struct server_flow){.model = &f->model,
                                 .texts = texts,
                                 .tokens = texts * length,
                                 .squares = (double)texts * length * length};
    flow->next = f->backlog.head;
    f->backlog.head = flow;
    f->backlog.waiting += texts;
    return flow;
}

static void expect_seconds(double nanoseconds, double seconds)
{
    ck_assert_double_eq_tol(nanoseconds / second, seconds, 0.05);
}

START_TEST(an_empty_queue_waits_for_what_is_computed)
{
    struct fixture f;
    int64_t wait;
    set_up(&f);
    expect_seconds(server_prospect_wait(&f.prospect, NULL), 0);
    f.prospect.running = 3 * second;
    f.prospect.max_wait = 1;
    expect_seconds(server_prospect_wait(&f.prospect, &f.model.flows[SERVER_SHORT]), 3);
    /* it is first in the queue, and where it goes is not for that bound to say */
    ck_assert_int_eq(server_prospect_judge(&f.prospect, NULL, 0, &wait), SERVER_ROOM);
    expect_seconds((double)wait, 3);
    tear_down(&f);
}
END_TEST

/* Of another flow no more comes between than what waits in its own. */
START_TEST(flows_take_turns)
{
    struct fixture f;
    struct server_flow *brief, *lengthy;
    set_up(&f);
    lengthy = fill(&f, SERVER_LONG, 5);
    expect_seconds(server_prospect_wait(&f.prospect, &f.model.flows[SERVER_SHORT]), 0);
    brief = fill(&f, SERVER_SHORT, 2);
    expect_seconds(server_prospect_wait(&f.prospect, brief), 2 + 2);
    expect_seconds(server_prospect_wait(&f.prospect, lengthy), 5 + 2);
    expect_seconds(server_prospect_wait(&f.prospect, NULL), 5 + 2);
    tear_down(&f);
}
END_TEST

START_TEST(what_waits_too_long_is_refused)
{
    struct fixture f;
    struct server_flow *own;
    int64_t wait;
    set_up(&f);
    own = fill(&f, SERVER_SHORT, 3);
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 0, &wait), SERVER_ROOM);
    expect_seconds((double)wait, 3);
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 2000000000, &wait), SERVER_ROOM_LATE);
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 4000000000, &wait), SERVER_ROOM);
    f.prospect.now += 2000000000;
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 4000000000, &wait), SERVER_ROOM_LATE);
    f.prospect.max_wait = 4000000000;
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 0, &wait), SERVER_ROOM);
    f.prospect.max_wait = 2000000000;
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 0, &wait), SERVER_ROOM_SLOW);
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 1, &wait), SERVER_ROOM_SLOW);
    expect_seconds((double)wait, 3);
    tear_down(&f);
}
END_TEST

/* A wait that is but guessed refuses nobody. */
START_TEST(doubt_is_in_its_favour)
{
    struct fixture f;
    struct server_flow *own;
    int64_t wait;
    set_up(&f);
    own = fill(&f, SERVER_SHORT, 3);
    f.prospect.max_wait = 2000000000;
    f.cost.spread[0][0] = f.cost.factor[0] * f.cost.factor[0];
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 0, &wait), SERVER_ROOM);
    ck_assert_int_eq(server_prospect_judge(&f.prospect, own, 1000000000, &wait), SERVER_ROOM);
    expect_seconds((double)wait, 3);
    tear_down(&f);
}
END_TEST

/* What may be a long job is refused where both kinds are. */
START_TEST(a_job_of_unknown_length_is_foreseen)
{
    struct fixture f;
    int64_t wait;
    set_up(&f);
    f.prospect.max_wait = 1500000000;
    fill(&f, SERVER_SHORT, 2);
    ck_assert_int_eq(server_prospect_foresee(&f.prospect, &f.model, BOUND, 0, &wait),
                     SERVER_ROOM_SLOW);
    expect_seconds((double)wait, 2);
    ck_assert_int_eq(server_prospect_foresee(&f.prospect, &f.model, BOUND + 1, 0, &wait),
                     SERVER_ROOM);
    expect_seconds((double)wait, 0);
    fill(&f, SERVER_LONG, 2);
    ck_assert_int_eq(server_prospect_foresee(&f.prospect, &f.model, BOUND + 1, 0, &wait),
                     SERVER_ROOM_SLOW);
    expect_seconds((double)wait, 4);
    tear_down(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_empty_queue_waits_for_what_is_computed,
        flows_take_turns,
        what_waits_too_long_is_refused,
        doubt_is_in_its_favour,
        a_job_of_unknown_length_is_foreseen,
    };
    return run_tests("prospect", 10, tests, sizeof(tests) / sizeof(*tests));
}

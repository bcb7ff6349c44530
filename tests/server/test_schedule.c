/* test_schedule.c: lanes, what the cost model learns, and which lane a batch is given. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "server/schedule.h"
#include "tests/suite.h"

static const distil_info minilm = {.hidden = 384, .layers = 6, .ffn = 1536};

/* ---- lanes ---- */

START_TEST(lanes_halve_the_cores_down_to_the_shares)
{
    int cores, shares, i, k;
    for (cores = 1; cores <= 13; cores++) {
        for (shares = 1; shares <= cores; shares++) {
            struct server_lanes lanes;
            int smallest = 0, least = cores / shares;
            ck_assert(server_lanes_create(&lanes, cores, shares));
            ck_assert_int_eq(lanes.count, 2 * shares - 1);
            ck_assert(lanes.each[0].first == 0 && lanes.each[0].cores == cores);
            ck_assert_int_eq(lanes.each[0].kind, 0);
            for (i = 0; i < lanes.count; i++) {
                const struct server_lane *lane = &lanes.each[i];
                ck_assert(lane->first >= 0 && lane->first + lane->cores <= cores);
                ck_assert_int_ge(lane->cores, least);
                for (k = 0; k < i; k++) {
                    const struct server_lane *other = &lanes.each[k];
                    bool within = lane->first >= other->first &&
                                  lane->first + lane->cores <= other->first + other->cores;
                    ck_assert(within || !server_lanes_overlap(lane, other));
                    ck_assert((lane->cores == other->cores) == (lane->kind == other->kind));
                    ck_assert(lane->cores >= other->cores || lane->kind > other->kind);
                    ck_assert(lane->kind != other->kind || !server_lanes_overlap(lane, other));
                }
                smallest += lane->cores <= least + 1;
            }
            ck_assert_int_ge(smallest, shares);
            server_lanes_free(&lanes);
        }
    }
}
END_TEST

/* ---- cost ---- */

/* What a machine takes, in ns. */
static double truth(const struct server_load *load)
{
    return 300000 * load->batches + 50000 * load->tokens + 40 * load->squares;
}

static struct server_load load_of(int texts, int length)
{
    return (struct server_load){
        .batches = 1, .tokens = texts * length, .squares = (double)texts * length * length};
}

static double error_of(const struct server_cost *cost, int texts, int length)
{
    struct server_load load = load_of(texts, length);
    return fabs(server_cost_estimate(cost, &load) / truth(&load) - 1);
}

START_TEST(one_batch_gives_the_scale)
{
    struct server_cost cost;
    struct server_load load = load_of(1, 20);
    server_cost_init(&cost, &minilm, 1);
    server_cost_observe(&cost, &load, 30 * server_cost_estimate(&cost, &load));
    ck_assert_double_le(fabs(cost.factor[0] - 30), 1e-9);
    server_cost_init(&cost, &minilm, 1);
    server_cost_observe(&cost, &load, truth(&load));
    ck_assert_double_lt(error_of(&cost, 1, 20), 1e-9);
    ck_assert_double_lt(error_of(&cost, 8, 20), 0.5);
}
END_TEST

START_TEST(a_first_batch_that_was_held_up_is_forgotten)
{
    struct server_cost cost;
    struct server_load little = load_of(1, 4), much = load_of(200, 40);
    int i;
    server_cost_init(&cost, &minilm, 1);
    server_cost_observe(&cost, &little, 100 * truth(&little));
    ck_assert_double_lt(server_cost_at_least(&cost, &much), server_cost_estimate(&cost, &much) / 4);
    server_cost_observe(&cost, &little, 2 * truth(&little));
    ck_assert_double_lt(error_of(&cost, 1, 4), 1 + 1e-9);
    server_cost_observe(&cost, &little, truth(&little) * 0.99);
    ck_assert_double_lt(error_of(&cost, 1, 4), 0.02);
    for (i = 0; i < 100; i++)
        server_cost_observe(&cost, &little, truth(&little));
    server_cost_observe(&cost, &little, truth(&little) / 100); /* it is settled now */
    ck_assert_double_lt(error_of(&cost, 1, 4), 0.2);
}
END_TEST

START_TEST(many_batches_leave_little_doubt)
{
    struct server_cost cost;
    struct server_load load = load_of(4, 32);
    double estimate, least;
    int i;
    server_cost_init(&cost, &minilm, 1);
    for (i = 0; i < 1000; i++)
        server_cost_observe(&cost, &load, truth(&load));
    estimate = server_cost_estimate(&cost, &load);
    least = server_cost_at_least(&cost, &load);
    ck_assert_double_lt(least, estimate);
    ck_assert_double_gt(least, 0.75 * estimate);
}
END_TEST

START_TEST(the_first_batch_scales_what_is_unknown)
{
    struct server_cost costs[3];
    struct server_load load = load_of(1, 20);
    double first;
    int kind;
    for (kind = 0; kind < 3; kind++)
        server_cost_init(&costs[kind], &minilm, 4 >> kind);
    first = server_cost_estimate(&costs[0], &load) / 30; /* a machine faster than any seed */
    server_costs_observe(costs, 3, 0, &load, first, false);
    /* a lone text is still faster on more cores, but fewer are worth a try where there are several */
    for (kind = 1; kind < 3; kind++) {
        double time = server_cost_estimate(&costs[kind], &load);
        ck_assert_double_gt(time, first);
        ck_assert_double_lt(time, first * (1 << kind));
        ck_assert(!costs[kind].observed);
    }
    server_costs_observe(costs, 3, 2, &load, 3 * first, true);
    ck_assert_double_lt(fabs(server_cost_estimate(&costs[2], &load) / (3 * first) - 1), 1e-9);
    ck_assert_double_lt(fabs(server_cost_estimate(&costs[0], &load) / first - 1), 0.01);
}
END_TEST

START_TEST(a_lane_that_was_slow_once_is_tried_again)
{
    struct server_cost costs[2];
    struct server_load load = load_of(1, 20);
    double ms = 1e6;
    int lone = 0, crowded = 0;
    server_cost_init(&costs[0], &minilm, 2);
    server_cost_init(&costs[1], &minilm, 1);
    server_costs_observe(costs, 2, 0, &load, 4 * ms, false); /* 1 ms when nothing is in the way */
    server_costs_observe(costs, 2, 1, &load, 2 * ms, false);
    while (server_cost_estimate(&costs[0], &load) > server_cost_estimate(&costs[1], &load)) {
        server_costs_observe(costs, 2, 1, &load, 2 * ms, false);
        lone++;
    }
    ck_assert_int_lt(lone, 50);
    /* smaller lanes are not tried with lone texts, but where several wait */
    costs[1].factor[0] = costs[1].factor[1] = 100;
    while (server_cost_estimate(&costs[1], &load) > 2 * ms && crowded < 10000) {
        server_costs_observe(costs, 2, 0, &load, 1 * ms, false);
        ck_assert_double_lt(fabs(costs[1].factor[0] / (100 * pow(0.998, crowded)) - 1), 1e-6);
        server_costs_observe(costs, 2, 0, &load, 1 * ms, true);
        crowded++;
    }
    ck_assert_int_lt(crowded, 10000);
}
END_TEST

/* However long a lane was not used: what is then to be unlearned of it takes few batches. */
START_TEST(a_lane_that_is_not_used_is_not_taken_for_a_wonder)
{
    struct server_cost costs[2];
    struct server_load load = load_of(4, 20);
    double ms = 1e6;
    int i;
    server_cost_init(&costs[0], &minilm, 2);
    server_cost_init(&costs[1], &minilm, 1);
    for (i = 0; i < 50; i++) {
        server_costs_observe(costs, 2, 0, &load, 5.5 * ms, true);
        server_costs_observe(costs, 2, 1, &load, 10 * ms, true);
    }
    for (i = 0; i < 500000; i++)
        server_costs_observe(costs, 2, 1, &load, 10 * ms, true);
    ck_assert_double_gt(server_cost_estimate(&costs[0], &load), 3.9 * ms);
    ck_assert_double_lt(server_cost_estimate(&costs[0], &load), 5 * ms); /* it would be tried */
    for (i = 0; i < 10; i++)
        server_costs_observe(costs, 2, 0, &load, 5.5 * ms, true);
    ck_assert_double_gt(server_cost_estimate(&costs[0], &load), 5 * ms);
    ck_assert_double_gt(server_cost_estimate(&costs[1], &load), 9.5 * ms);
}
END_TEST

START_TEST(batches_teach_what_others_cost)
{
    static const int lengths[] = {8, 24, 60, 130, 512, 16, 300};
    struct server_cost cost;
    int i, k;
    unsigned random = 1;
    server_cost_init(&cost, &minilm, 2);
    for (i = 0; i < 400; i++) {
        int length = lengths[i % 7], texts = 1 + i % 5;
        struct server_load load = load_of(texts, length);
        double jitter;
        random = random * 1103515245U + 12345U;
        jitter = 0.95 + 0.1 * (double)(random >> 16 & 0xFF) / 256;
        if (i % 50 == 49)
            jitter = 20; /* something else had the core */
        server_cost_observe(&cost, &load, truth(&load) * jitter);
    }
    for (i = 1; i <= 16; i *= 2)
        for (k = 0; k < 7; k++)
            ck_assert_msg(error_of(&cost, i, lengths[k]) < 0.3, "%d texts of %d: %g", i, lengths[k],
                          error_of(&cost, i, lengths[k]));
}
END_TEST

START_TEST(estimates_follow_a_machine_that_slows_down)
{
    struct server_cost cost;
    struct server_load load = load_of(4, 32);
    int i;
    server_cost_init(&cost, &minilm, 1);
    for (i = 0; i < 5000; i++)
        server_cost_observe(&cost, &load, truth(&load));
    ck_assert_double_lt(error_of(&cost, 4, 32), 0.01);
    for (i = 0; i < 50; i++)
        server_cost_observe(&cost, &load, 3 * truth(&load));
    ck_assert_double_lt(fabs(server_cost_estimate(&cost, &load) / truth(&load) - 3), 0.1);
    for (i = 0; i < 50; i++)
        server_cost_observe(&cost, &load, truth(&load));
    ck_assert_double_lt(error_of(&cost, 4, 32), 0.1);
}
END_TEST

START_TEST(budgets_stop_where_more_saves_nothing)
{
    struct server_cost cost;
    int cheap, dear;
    server_cost_init(&cost, &minilm, 1);
    cheap = server_cost_budget(&cost, 20, 1e12, 100000);
    cost.factor[0] =
        10; /* a batch costs more beside its tokens: it must be larger to be worth it */
    dear = server_cost_budget(&cost, 20, 1e12, 100000);
    ck_assert_int_gt(dear, 5 * cheap);
    ck_assert_int_eq(server_cost_budget(&cost, 20, 1e12, 100), 100);
    ck_assert_int_gt(server_cost_budget(&cost, 20, 1, 100000), 300);
    ck_assert_int_lt(server_cost_budget(&cost, 20, 1, 100000), 321);
    cost.factor[0] = 0.001;
    ck_assert_int_eq(server_cost_budget(&cost, 20, 1e12, 100000), 64);
}
END_TEST

/* ---- plans ---- */

/* Four cores, of which each doubling of a lane's cores leaves `efficiency`. */
struct machine {
    struct server_lanes lanes;
    struct server_cost costs[3];
    bool busy[4];
};

static void make_machine(struct machine *machine, double efficiency)
{
    int kind;
    ck_assert(server_lanes_create(&machine->lanes, 4, 4));
    ck_assert_int_eq(machine->lanes.kinds, 3);
    for (kind = 0; kind < 3; kind++) {
        struct server_cost *cost = &machine->costs[kind];
        int k;
        server_cost_init(cost, &minilm, 4 >> kind);
        for (k = 0; k < SERVER_COST_TERMS; k++)
            cost->factor[k] /= pow(efficiency, 2 - kind);
    }
    for (kind = 0; kind < 4; kind++)
        machine->busy[kind] = false;
}

static struct server_plan plan(struct machine *machine, int texts, int tokens)
{
    const struct server_limits limits = {.max_batch_tokens = 2048, .max_batch_time = 50000000};
    const struct server_waiting waiting = {.texts = texts,
                                           .tokens = texts * tokens,
                                           .squares = (double)texts * tokens * tokens,
                                           .first = tokens};
    struct server_plan plan =
        server_plan_batch(&machine->lanes, machine->busy, machine->costs, &waiting, &limits);
    if (plan.lane >= 0)
        ck_assert(server_lane_is_idle(&machine->lanes.each[plan.lane], machine->busy));
    return plan;
}

static int cores_of(struct machine *machine, struct server_plan plan)
{
    return plan.lane < 0 ? 0 : machine->lanes.each[plan.lane].cores;
}

START_TEST(a_lone_text_has_every_core_and_many_have_one_each)
{
    struct machine machine;
    make_machine(&machine, 0.8);
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 1, 20)), 4);
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 2, 20)), 2);
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 4, 20)), 1);
    ck_assert_int_eq(plan(&machine, 4, 20).tokens, 20);
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 1000, 20)), 1);
    server_lanes_free(&machine.lanes);
}
END_TEST

START_TEST(texts_share_all_cores_where_that_is_faster)
{
    struct machine machine;
    make_machine(&machine, 1.2); /* as where the caches of several cores hold the weights */
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 4, 100)), 4);
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 1000, 100)), 4);
    server_lanes_free(&machine.lanes);
}
END_TEST

START_TEST(only_idle_cores_are_given)
{
    struct machine machine;
    make_machine(&machine, 0.8);
    machine.busy[1] = true;
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 1, 20)), 2);
    machine.busy[2] = true;
    ck_assert_int_eq(cores_of(&machine, plan(&machine, 1, 20)), 1);
    machine.busy[0] = machine.busy[3] = true;
    ck_assert_int_eq(plan(&machine, 1, 20).lane, -1);
    server_lanes_free(&machine.lanes);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        lanes_halve_the_cores_down_to_the_shares,
        one_batch_gives_the_scale,
        a_first_batch_that_was_held_up_is_forgotten,
        many_batches_leave_little_doubt,
        the_first_batch_scales_what_is_unknown,
        a_lane_that_was_slow_once_is_tried_again,
        a_lane_that_is_not_used_is_not_taken_for_a_wonder,
        batches_teach_what_others_cost,
        estimates_follow_a_machine_that_slows_down,
        budgets_stop_where_more_saves_nothing,
        a_lone_text_has_every_core_and_many_have_one_each,
        texts_share_all_cores_where_that_is_faster,
        only_idle_cores_are_given,
    };
    return run_tests("schedule", 30, tests, sizeof(tests) / sizeof(*tests));
}

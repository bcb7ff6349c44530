/* schedule.c: see schedule.h. */
#include "server/schedule.h"

#include <math.h>

bool server_lane_is_idle(const struct server_lane *lane, const bool *busy)
{
    int i;
    for (i = lane->first; i < lane->first + lane->cores; i++)
        if (busy[i])
            return false;
    return true;
}

/* What one of the lanes computes of what waits. */
static struct server_load share_of(const struct server_cost *cost, int parallel,
                                   const struct server_waiting *waiting,
                                   const struct server_limits *limits, int *budget)
{
    double length = waiting->squares / waiting->tokens; /* of the text that a mean token is in */
    double tokens =
        (double)waiting->tokens / (parallel < waiting->texts ? parallel : waiting->texts);
    int most =
        server_cost_budget(cost, length, (double)limits->max_batch_time, limits->max_batch_tokens);
    if (tokens < waiting->first)
        tokens = waiting->first;
    if (budget)
        *budget = tokens < most ? (int)ceil(tokens) : most;
    return (struct server_load){
        .batches = ceil(tokens / most), .tokens = tokens, .squares = tokens * length};
}

double server_plan_time(const struct server_cost *cost, int parallel,
                        const struct server_waiting *waiting, const struct server_limits *limits,
                        int *budget)
{
    struct server_load load = share_of(cost, parallel, waiting, limits, budget);
    return server_cost_estimate(cost, &load);
}

double server_plan_least_time(const struct server_cost *cost, int parallel,
                              const struct server_waiting *waiting,
                              const struct server_limits *limits)
{
    struct server_load load = share_of(cost, parallel, waiting, limits, NULL);
    return server_cost_at_least(cost, &load);
}

struct server_plan server_plan_batch(const struct server_lanes *lanes, const bool *busy,
                                     const struct server_cost *costs,
                                     const struct server_waiting *waiting,
                                     const struct server_limits *limits)
{
    struct server_plan plan = {.lane = -1};
    double soonest = 0;
    int kind, i;
    for (kind = 0; kind < lanes->kinds; kind++) {
        int first = -1, idle = 0, budget;
        double time;
        for (i = 0; i < lanes->count; i++) {
            if (lanes->each[i].kind != kind || !server_lane_is_idle(&lanes->each[i], busy))
                continue;
            if (first < 0)
                first = i;
            idle++;
        }
        if (idle == 0)
            continue;
        time = server_plan_time(&costs[kind], idle, waiting, limits, &budget);
        if (plan.lane < 0 || time < soonest) {
            plan = (struct server_plan){.lane = first, .tokens = budget};
            soonest = time;
        }
    }
    return plan;
}

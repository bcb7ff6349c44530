/* schedule.h: which lane computes what waits, and how much of it: the policy, without the queue. */
#ifndef SERVER_SCHEDULE_H
#define SERVER_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/cost.h"
#include "server/lanes.h"

struct server_waiting {
    int texts, tokens;
    double squares;
    int first; /* tokens of the text whose turn it is */
};

struct server_limits {
    int max_batch_tokens;
    int64_t max_batch_time; /* nanoseconds */
};

struct server_plan {
    int lane;   /* -1: none is idle */
    int tokens; /* that the batch may have, unless it is of one text */
};

/* Whether none of a lane's cores is busy. */
bool server_lane_is_idle(const struct server_lane *lane, const bool *busy);

/* Of the ways to spread what waits over the idle cores, lanes of one kind each, the one by which all
 * of it is expected to be computed soonest; of equals, the one on the most cores. busy: (cores);
 * costs: (kinds). */
struct server_plan server_plan_batch(const struct server_lanes *lanes, const bool *busy,
                                     const struct server_cost *costs,
                                     const struct server_waiting *waiting,
                                     const struct server_limits *limits);

/* Nanoseconds that lanes of one kind, `parallel` of them at once, are expected to take for what
 * waits, in batches within the limits. *budget, where not NULL, is set to the tokens of a batch. */
double server_plan_time(const struct server_cost *cost, int parallel,
                        const struct server_waiting *waiting, const struct server_limits *limits,
                        int *budget);
/* The same, as short as it may turn out to be: server_cost_at_least. */
double server_plan_least_time(const struct server_cost *cost, int parallel,
                              const struct server_waiting *waiting,
                              const struct server_limits *limits);

#endif

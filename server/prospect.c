/* prospect.c: see prospect.h. */
#include "server/prospect.h"

#include "server/model.h"

enum sureness { EXPECTED, AT_LEAST };

/* Nanoseconds that the jobs of a flow take on all cores, a batch on each share. */
static double flow_time(const struct server_prospect *prospect, const struct server_flow *flow,
                        enum sureness sureness)
{
    const struct server_lanes *lanes = prospect->lanes;
    const struct server_waiting waiting = {
        .texts = flow->texts, .tokens = flow->tokens, .squares = flow->squares};
    const struct server_cost *cost;
    if (flow->texts == 0) /* and no model, where nothing ever waited in it */
        return 0;
    cost = &flow->model->costs[lanes->kinds - 1];
    if (sureness == AT_LEAST)
        return server_plan_least_time(cost, lanes->shares, &waiting, prospect->limits);
    return server_plan_time(cost, lanes->shares, &waiting, prospect->limits, NULL);
}

/* Nanoseconds that a job which comes now to a flow has to wait: for all that waits, but as flows
 * take turns, no longer than its own flow takes with as much of each other in between. */
static double wait_time(const struct server_prospect *prospect, const struct server_flow *own,
                        enum sureness sureness)
{
    const struct server_flow *flow;
    double all = 0, turns = 0, mine = own ? flow_time(prospect, own, sureness) : 0;
    for (flow = prospect->backlog->head; flow; flow = flow->next) {
        double time = flow_time(prospect, flow, sureness);
        all += time;
        turns += time < mine ? time : mine;
    }
    return prospect->running + (own && turns < all ? turns : all);
}

double server_prospect_wait(const struct server_prospect *prospect, const struct server_flow *own)
{
    return wait_time(prospect, own, EXPECTED);
}

/* Whether a job has to wait for longer than most, as is expected and hardly in doubt: a client that is
 * sent away for nothing stays away for as long as it was told to. */
static bool is_too_long(const struct server_prospect *prospect, const struct server_flow *own,
                        int64_t expected, int64_t most)
{
    return expected > most && wait_time(prospect, own, AT_LEAST) > (double)most;
}

enum server_room server_prospect_judge(const struct server_prospect *prospect,
                                       const struct server_flow *own, int64_t deadline,
                                       int64_t *wait)
{
    const int64_t most = prospect->max_wait;
    *wait = (int64_t)wait_time(prospect, own, EXPECTED);
    if (prospect->backlog->waiting > 0 && most > 0 && is_too_long(prospect, own, *wait, most))
        return SERVER_ROOM_SLOW;
    if (deadline > 0 && is_too_long(prospect, own, *wait, deadline - prospect->now))
        return SERVER_ROOM_LATE;
    return SERVER_ROOM;
}

enum server_room server_prospect_foresee(const struct server_prospect *prospect,
                                         const struct server_model *model, int64_t most_tokens,
                                         int64_t deadline, int64_t *wait)
{
    const enum server_room room =
        server_prospect_judge(prospect, &model->flows[SERVER_SHORT], deadline, wait);
    if (room == SERVER_ROOM || most_tokens <= prospect->backlog->short_tokens)
        return room;
    return server_prospect_judge(prospect, &model->flows[SERVER_LONG], deadline, wait);
}

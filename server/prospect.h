/* prospect.h: how long a job that comes now to a queue has to wait, and whether it is refused for that: policy, without
 * the queue's locks. */
#ifndef SERVER_PROSPECT_H
#define SERVER_PROSPECT_H

#include <stdint.h>

#include "server/backlog.h"
#include "server/lanes.h"
#include "server/queue.h"
#include "server/schedule.h"

/* What it depends on. */
struct server_prospect {
    const struct server_backlog *backlog;
    const struct server_lanes *lanes;
    const struct server_limits *limits;
    int64_t max_wait; /* nanoseconds that a job may be expected to wait behind others; 0: any */
    int64_t now;      /* monotonic nanoseconds */
    double running;   /* until what is being computed now ends, averaged over the cores */
};

/* Nanoseconds that a job which comes now to a flow is expected to wait; own NULL: one that comes behind all that waits. */
double server_prospect_wait(const struct server_prospect *prospect, const struct server_flow *own);

/* Whether such a job is refused, as SERVER_ROOM_SLOW or SERVER_ROOM_LATE, for the time that it would wait, which *wait is
 * set to. deadline 0: it has none. */
enum server_room server_prospect_judge(const struct server_prospect *prospect,
                                       const struct server_flow *own, int64_t deadline,
                                       int64_t *wait);
/* The same for a job of which only the most tokens are known: refused where it is as a short and as a long one. */
enum server_room server_prospect_foresee(const struct server_prospect *prospect,
                                         const struct server_model *model, int64_t most_tokens,
                                         int64_t deadline, int64_t *wait);

#endif

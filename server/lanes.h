/* lanes.h: the ways to divide the cores among batches.
 *
 * A lane is a span of cores that computes one batch at a time. The first lane has all of them; each
 * lane of more than one share is halved into two further lanes, down to the shares: a tree. Lanes
 * that are busy at the same time never overlap, so no core has two threads to run. */
#ifndef SERVER_LANES_H
#define SERVER_LANES_H

#include <stdbool.h>

struct server_lane {
    int first, cores; /* its cores, counted from 0 */
    int kind;         /* lanes of as many cores are of one kind; kind 0 has the most */
};

struct server_lanes {
    int cores, shares;
    int count; /* 2 * shares - 1 */
    int kinds;
    struct server_lane *each; /* (count), a lane before those it is halved into */
};

/* shares: 1 to cores. False when memory runs out. */
bool server_lanes_create(struct server_lanes *lanes, int cores, int shares);
void server_lanes_free(struct server_lanes *lanes);

static inline bool server_lanes_overlap(const struct server_lane *a, const struct server_lane *b)
{
    return a->first < b->first + b->cores && b->first < a->first + a->cores;
}

#endif

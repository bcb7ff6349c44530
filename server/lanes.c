/* lanes.c: see lanes.h. */
#include "server/lanes.h"

#include <stdlib.h>

static void add(struct server_lanes *lanes, int first, int cores, int shares)
{
    int left = (shares + 1) / 2, left_cores;
    lanes->each[lanes->count++] = (struct server_lane){.first = first, .cores = cores};
    if (shares == 1)
        return;
    left_cores = (int)((long long)cores * left / shares);
    add(lanes, first, left_cores, left);
    add(lanes, first + left_cores, cores - left_cores, shares - left);
}

/* The kind of a lane is how many sizes are larger than its own. */
static void number_kinds(struct server_lanes *lanes)
{
    int cores, i;
    for (cores = lanes->cores; cores > 0; cores--) {
        bool any = false;
        for (i = 0; i < lanes->count; i++) {
            if (lanes->each[i].cores != cores)
                continue;
            lanes->each[i].kind = lanes->kinds;
            any = true;
        }
        lanes->kinds += any;
    }
}

bool server_lanes_create(struct server_lanes *lanes, int cores, int shares)
{
    *lanes = (struct server_lanes){.cores = cores, .shares = shares};
    lanes->each = calloc((size_t)(2 * shares - 1), sizeof(*lanes->each));
    if (!lanes->each)
        return false;
    add(lanes, 0, cores, shares);
    number_kinds(lanes);
    return true;
}

void server_lanes_free(struct server_lanes *lanes)
{
    free(lanes->each);
    lanes->each = NULL;
}

/* log_stats.h: which predictions of a log are asked for, and what they sum up to. */
#ifndef TOOLS_LOG_STATS_H
#define TOOLS_LOG_STATS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "weights/distil_status.h"

struct tool_log_query {
    int64_t since, until; /* nanoseconds since 1970: since <= when < until */
    const char *model;    /* NULL: any */
    bool labelled;        /* with feedback only */
};

/* The first and the last number of the predictions there are; 1 and 0 where there is none. */
distil_status tool_log_range(sqlite3 *db, const char *path, int64_t *first, int64_t *last,
                             distil_error *error);
/* Prints how many predictions there are of each model and label, and how many of them feedback says
 * were right. */
distil_status tool_log_stats(sqlite3 *db, const char *path, const struct tool_log_query *query,
                             bool json, distil_error *error);

#endif

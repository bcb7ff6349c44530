/* drift_range.h: stretches of time as people write them, and days. All in UTC. */
#ifndef SERVER_DRIFT_RANGE_H
#define SERVER_DRIFT_RANGE_H

#include <stdbool.h>

#include "server/drift_rows.h"

/* "7d", "36h", "90m" (also s and w): the time up to now. "2026-01-31": that day.
 * "2026-01-01..2026-01-31": from the first day to the end of the last; either side may be a time of
 * RFC 3339 instead, and an empty one is open. DISTIL_INVALID for anything else. */
distil_status server_drift_parse_range(const char *text, int64_t now,
                                       struct server_drift_range *range, distil_error *error);
/* Whether a text is meant as a range, and not as the name of a file: a duration, or two dots or a date
 * at its start and no slash. */
bool server_drift_is_range(const char *text);

/* Number of the day since 1970, and when it begins. */
int64_t server_drift_day(int64_t at_ns);
int64_t server_drift_day_start(int64_t day);

#endif

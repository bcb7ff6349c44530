/* recent.h: what happened in the last minute: requests, errors, how long they took, and CPU time.
 *
 * Each thread that answers requests has its own seconds to count in; they are added up when they are read. */
#ifndef SERVER_RECENT_H
#define SERVER_RECENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    SERVER_RECENT_SECONDS = 60,
    SERVER_RECENT_SLOTS =
        64 /* seconds kept; more than are read, so that none is reused while it counts */
};

struct server_recent_second {
    atomic_llong second; /* of the monotonic clock, for which the rest was counted */
    atomic_ullong requests, errors, sum, longest; /* durations in nanoseconds */
};

struct server_recent {
    struct server_recent_second seconds[SERVER_RECENT_SLOTS];
};

struct server_recent_sums {
    uint64_t requests, errors;
    uint64_t sum, longest; /* nanoseconds */
};

/* Counts a request that ended at `now` (monotonic nanoseconds) and took so many. To be called by one
 * thread for each struct: requests that two threads count as a second begins may be lost. */
void server_recent_add(struct server_recent *recent, int64_t now, int64_t nanoseconds, bool error);
/* Adds what was counted in the SERVER_RECENT_SECONDS before now to sums. Any thread may. */
void server_recent_read(const struct server_recent *recent, int64_t now,
                        struct server_recent_sums *sums);

/* CPU time by the second, taken when somebody asks. Any thread may use it. */
struct server_recent_cpu {
    struct {
        atomic_llong at, cpu; /* nanoseconds; at is 0 where none was taken */
    } samples[SERVER_RECENT_SLOTS];
};

/* Notes the CPU time used so far, and returns the share of one core used, in percent, since the
 * youngest note of at least a minute ago, else the oldest one, else since `started`, when it was 0. */
double server_recent_cpu_percent(struct server_recent_cpu *recent, int64_t now, int64_t cpu,
                                 int64_t started);

#endif

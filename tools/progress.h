/* progress.h: one line on a terminal that says how far a long job is. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct tool_progress {
    const char *label;
    const char *unit; /* of `count`: "texts"; NULL shows the share alone */
    bool shown;       /* standard error is a terminal and someone may be waiting */
    double started, next;
};

/* Seconds of a clock that only runs forward. */
double tool_now(void);

/* Shows nothing ever when `wanted` is false or standard error is not a terminal. */
void tool_progress_start(struct tool_progress *progress, const char *label, const char *unit,
                         bool wanted);
/* done of total (0: unknown) is the share; count is in units. Draws ten times a second at most. */
void tool_progress_update(struct tool_progress *progress, size_t done, size_t total, long count);
/* Clears the line. */
void tool_progress_end(struct tool_progress *progress);

#endif

#include "tools/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

double tool_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void tool_progress_start(struct tool_progress *progress, const char *label, const char *unit,
                         bool wanted)
{
    *progress = (struct tool_progress){
        .label = label, .unit = unit, .shown = wanted && isatty(STDERR_FILENO) == 1};
    progress->started = tool_now();
    progress->next = progress->started + 0.2;
}

void tool_progress_update(struct tool_progress *progress, size_t done, size_t total, long count)
{
    if (!progress->shown)
        return;
    double now = tool_now();
    if (now < progress->next)
        return;
    progress->next = now + 0.1;
    double rate = (double)count / (now - progress->started);
    fprintf(stderr, "\r%s", progress->label);
    if (total)
        fprintf(stderr, " %3.0f%%", 100.0 * (double)done / (double)total);
    if (progress->unit)
        fprintf(stderr, "  %ld %s, %.0f/s", count, progress->unit, rate);
    fputs("\033[K", stderr);
    fflush(stderr);
}

void tool_progress_end(struct tool_progress *progress)
{
    if (progress->shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    progress->shown = false;
}

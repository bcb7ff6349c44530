/* drift_monitor.h: the server's predictions compared with the reference, by a thread of its own and at
 * the lowest priority: at an interval, and when somebody asks. */
#ifndef SERVER_DRIFT_MONITOR_H
#define SERVER_DRIFT_MONITOR_H

#include <stdio.h>

#include "server/drift_rows.h"
#include "server/handover.h"
#include "server/log.h"

struct server_drift_monitor;

/* Strings must outlive the monitor. */
struct server_drift_settings {
    const char *state_dir;     /* NULL: there is none, and nothing to compare */
    const char *const *models; /* (model_count): whose predictions */
    int model_count;
    const char *window;   /* what is compared: a range as drift_range.h reads it */
    int interval_seconds; /* 0: only when asked */
    int min_rows;         /* that each side must have */
    const struct server_log *log;
};

/* What came of a comparison. */
struct server_drift_outcome {
    /* DISTIL_NOT_FOUND: there is no reference, or no log; DISTIL_INVALID: too few predictions. */
    distil_status status;
    distil_error error;
    char *json, *html; /* where the status is DISTIL_OK */
    size_t json_length, html_length;
};

/* Asks for a comparison; filled in by whoever asks. */
struct server_drift_request {
    struct server_handed handed;
    int model; /* 0..model_count - 1 */
    const struct server_drift_outcome
        *outcome; /* where handed's is DONE; good until done returns */
};

/* DISTIL_INVALID for a window that is no range. */
distil_status server_drift_monitor_start(const struct server_drift_settings *settings,
                                         struct server_drift_monitor **monitor,
                                         distil_error *error);
/* The number of a model by its name; -1 where its predictions are not watched. */
int server_drift_monitor_find(const struct server_drift_monitor *monitor, const char *model);
/* Hands a request over, to be answered by an outcome that is at most a minute old. 64 may wait. */
void server_drift_monitor_ask(struct server_drift_monitor *monitor,
                              struct server_drift_request *request);
/* Writes the gauges of each model's last comparison that was possible. */
void server_drift_monitor_write(struct server_drift_monitor *monitor, FILE *out);
/* Ends the thread; requests that wait, and those to come, end as stopped. NULL is ignored. */
void server_drift_monitor_stop(struct server_drift_monitor *monitor);
/* Stops and frees; nobody may ask any more. NULL is ignored. */
void server_drift_monitor_free(struct server_drift_monitor *monitor);

#endif

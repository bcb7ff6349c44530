/* drift_monitor.c: see drift_monitor.h. */
#include "server/drift_monitor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "server/drift_range.h"
#include "server/drift_report.h"
#include "server/drift_source.h"
#include "server/timestamp.h"

enum { FRESH_SECONDS = 60, FIRST_SECONDS = 5, LOWEST_PRIORITY = 19, MAX_WAITING = 64 };

/* A model whose predictions are compared: what came of the last comparison, and whether that one saw drift. */
struct watched {
    const char *model;
    struct server_drift_outcome outcome;
    time_t compared;
    bool drifted;
};

struct server_drift_monitor {
    struct server_drift_settings settings;
    pthread_t thread;
    bool started;
    struct server_handover requests; /* that wait for it */
    struct watched *watched;         /* (model_count), of the thread alone */

    pthread_mutex_t lock; /* of what follows */
    struct server_drift_gauges
        *gauges; /* (model_count), of the last comparisons that were possible */
};

static time_t now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* ---- comparing ---- */

static distil_status read_sides(const struct server_drift_monitor *monitor, const char *model,
                                struct server_drift_rows *reference,
                                struct server_drift_rows *current, distil_error *error)
{
    const struct server_drift_settings *settings = &monitor->settings;
    struct server_drift_query query = {
        .range = {INT64_MIN, INT64_MAX}, .model = model, .limit = SERVER_DRIFT_CURRENT_ROWS};
    distil_status status =
        server_drift_read_reference(settings->state_dir, &query, reference, error);
    if (!status)
        status = server_drift_read(settings->window, settings->state_dir, server_clock(), &query,
                                   current, error);
    return status;
}

static char *render(const struct server_drift_report *report, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    bool failed;
    if (!out)
        return NULL;
    server_drift_write_html(out, report);
    failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (failed) {
        free(text);
        text = NULL;
    }
    return text;
}

/* Says in the log when drift begins and ends. */
static void tell(const struct server_log *log, struct watched *watched,
                 const struct server_drift_report *report)
{
    if (report->drifted && !watched->drifted)
        server_log_printf(log, SERVER_LOG_WARN,
                          "the predictions of model %s have drifted from the reference: %d of %d "
                          "columns; GET /drift?model=%s has the report",
                          watched->model, report->confirmed, report->counted, watched->model);
    else if (!report->drifted && watched->drifted)
        server_log_printf(log, SERVER_LOG_INFO,
                          "the predictions of model %s no longer drift from the reference",
                          watched->model);
    watched->drifted = report->drifted;
}

static void keep(struct server_drift_monitor *monitor, struct watched *watched,
                 const struct server_drift_report *report)
{
    struct server_drift_outcome *outcome = &watched->outcome;
    struct server_json json = {0};
    server_drift_write_json(&json, report);
    outcome->json = server_json_take(&json, &outcome->json_length);
    outcome->html = render(report, &outcome->html_length);
    if (!outcome->json || !outcome->html)
        outcome->status =
            distil_fail(&outcome->error, DISTIL_NO_MEMORY, "out of memory for the report");
    pthread_mutex_lock(&monitor->lock);
    monitor->gauges[watched - monitor->watched] = server_drift_take_gauges(watched->model, report);
    pthread_mutex_unlock(&monitor->lock);
}

static void forget(struct server_drift_outcome *outcome)
{
    free(outcome->json);
    free(outcome->html);
    *outcome = (struct server_drift_outcome){.status = DISTIL_OK};
}

static void compare(struct server_drift_monitor *monitor, struct watched *watched)
{
    struct server_drift_rows reference = {0}, current = {0};
    struct server_drift_report report;
    struct server_drift_outcome *outcome = &watched->outcome;
    forget(outcome);
    outcome->status = read_sides(monitor, watched->model, &reference, &current, &outcome->error);
    if (!outcome->status)
        outcome->status = server_drift_compare(
            &reference, &current, (size_t)monitor->settings.min_rows, &report, &outcome->error);
    if (!outcome->status) {
        tell(monitor->settings.log, watched, &report);
        keep(monitor, watched, &report);
        server_drift_report_free(&report);
    }
    server_drift_rows_free(&reference);
    server_drift_rows_free(&current);
    watched->compared = now_seconds();
}

/* ---- the thread ---- */

static bool is_fresh(const struct watched *watched)
{
    return watched->outcome.json && watched->outcome.status == DISTIL_OK &&
           now_seconds() - watched->compared < FRESH_SECONDS;
}

/* Compares for whoever waits, where it was not just done. */
static void answer(struct server_drift_monitor *monitor, struct server_handed *first)
{
    struct server_handed *each;
    for (each = first; each; each = each->next) {
        struct server_drift_request *request = (struct server_drift_request *)(void *)each;
        struct watched *watched = &monitor->watched[request->model];
        if (!is_fresh(watched))
            compare(monitor, watched);
        request->outcome = &watched->outcome;
    }
    server_handed_end(first, SERVER_OUTCOME_DONE);
}

static void *run(void *argument)
{
    struct server_drift_monitor *monitor = argument;
    const time_t interval = monitor->settings.interval_seconds;
    time_t next = now_seconds() + FIRST_SECONDS;
    int i;
    /* a thread's own on Linux: what computes answers goes first */
    setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY);
    for (;;) {
        struct server_handed *first =
            server_handover_take(&monitor->requests, MAX_WAITING,
                                 interval > 0 ? (int64_t)next * 1000000000 : SERVER_HANDOVER_NEVER);
        if (!first && server_handover_is_stopped(&monitor->requests))
            return NULL;
        bool due = interval > 0 && now_seconds() >= next;
        for (i = 0; due && i < monitor->settings.model_count; i++)
            compare(monitor, &monitor->watched[i]);
        answer(monitor, first);
        if (due)
            next = now_seconds() + interval;
    }
}

distil_status server_drift_monitor_start(const struct server_drift_settings *settings,
                                         struct server_drift_monitor **monitor, distil_error *error)
{
    struct server_drift_range range;
    struct server_drift_monitor *made;
    int i;
    distil_error problem;
    distil_status status = server_drift_parse_range(settings->window, 0, &range, &problem);
    if (status)
        return distil_fail(error, status, "drift-window: %s", problem.message);
    made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for comparing predictions");
    made->settings = *settings;
    made->watched = calloc((size_t)settings->model_count + 1, sizeof(*made->watched));
    made->gauges = calloc((size_t)settings->model_count + 1, sizeof(*made->gauges));
    for (i = 0; made->watched && made->gauges && i < settings->model_count; i++) {
        made->watched[i].model = settings->models[i];
        made->gauges[i] = server_drift_take_gauges(settings->models[i], NULL);
    }
    server_handover_init(&made->requests, MAX_WAITING);
    pthread_mutex_init(&made->lock, NULL); /* it cannot fail on Linux */
    made->started =
        made->watched && made->gauges && pthread_create(&made->thread, NULL, run, made) == 0;
    if (!made->started) {
        server_drift_monitor_free(made);
        return distil_fail(error, DISTIL_SYSTEM,
                           "the thread that compares predictions could not be started");
    }
    *monitor = made;
    return DISTIL_OK;
}

void server_drift_monitor_ask(struct server_drift_monitor *monitor,
                              struct server_drift_request *request)
{
    if (!server_handover_push(&monitor->requests, &request->handed))
        request->handed.done(&request->handed);
}

int server_drift_monitor_find(const struct server_drift_monitor *monitor, const char *model)
{
    int i;
    for (i = 0; i < monitor->settings.model_count; i++)
        if (strcmp(monitor->settings.models[i], model) == 0)
            return i;
    return -1;
}

void server_drift_monitor_write(struct server_drift_monitor *monitor, FILE *out)
{
    pthread_mutex_lock(&monitor->lock);
    server_drift_write_gauges(out, monitor->gauges, monitor->settings.model_count);
    pthread_mutex_unlock(&monitor->lock);
}

void server_drift_monitor_stop(struct server_drift_monitor *monitor)
{
    if (!monitor || !monitor->started)
        return;
    monitor->started = false;
    server_handover_stop(&monitor->requests);
    pthread_join(monitor->thread, NULL);
    server_handover_finish(&monitor->requests);
}

void server_drift_monitor_free(struct server_drift_monitor *monitor)
{
    int i;
    if (!monitor)
        return;
    server_drift_monitor_stop(monitor);
    server_handover_destroy(&monitor->requests);
    pthread_mutex_destroy(&monitor->lock);
    for (i = 0; monitor->watched && i < monitor->settings.model_count; i++)
        forget(&monitor->watched[i].outcome);
    free(monitor->watched);
    free(monitor->gauges);
    free(monitor);
}

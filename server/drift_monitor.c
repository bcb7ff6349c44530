/* drift_monitor.c: see drift_monitor.h. */
#include "server/drift_monitor.h"

#include <errno.h>
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

enum { FRESH_SECONDS = 60, FIRST_SECONDS = 5, LOWEST_PRIORITY = 19 };

struct asker {
    server_drift_done *done;
    void *context;
    struct asker *next;
};

struct server_drift_monitor {
    struct server_drift_settings settings;
    pthread_t thread;
    /* of the thread alone: what came of the last comparison, and whether that one saw drift */
    struct server_drift_outcome outcome;
    time_t compared;
    bool drifted;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t asked;
    bool stop;
    struct asker *askers;
    char *gauges; /* of the last comparison that was possible */
};

static time_t now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* ---- comparing ---- */

static distil_status read_sides(const struct server_drift_monitor *monitor,
                                struct server_drift_rows *reference,
                                struct server_drift_rows *current, distil_error *error)
{
    const struct server_drift_settings *settings = &monitor->settings;
    struct server_drift_query query = {.range = {INT64_MIN, INT64_MAX},
                                       .model = settings->model,
                                       .limit = SERVER_DRIFT_CURRENT_ROWS};
    distil_status status =
        server_drift_read_reference(settings->state_dir, &query, reference, error);
    if (!status)
        status = server_drift_read(settings->window, settings->state_dir, server_clock(), &query,
                                   current, error);
    return status;
}

static char *render(const struct server_drift_report *report, const char *model, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    bool failed;
    if (!out)
        return NULL;
    if (model)
        server_drift_write_gauges(out, model, report);
    else
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
static void tell(struct server_drift_monitor *monitor, const struct server_drift_report *report)
{
    if (report->drifted && !monitor->drifted)
        server_log_printf(monitor->settings.log, SERVER_LOG_WARN,
                          "the predictions of model %s have drifted from the reference: %d of %d "
                          "columns; GET /drift has the report",
                          monitor->settings.model, report->confirmed, report->counted);
    else if (!report->drifted && monitor->drifted)
        server_log_printf(monitor->settings.log, SERVER_LOG_INFO,
                          "the predictions of model %s no longer drift from the reference",
                          monitor->settings.model);
    monitor->drifted = report->drifted;
}

static void keep(struct server_drift_monitor *monitor, const struct server_drift_report *report)
{
    struct server_drift_outcome *outcome = &monitor->outcome;
    struct server_json json = {0};
    size_t length;
    char *gauges = render(report, monitor->settings.model, &length);
    server_drift_write_json(&json, report);
    outcome->json = server_json_take(&json, &outcome->json_length);
    outcome->html = render(report, NULL, &outcome->html_length);
    if (!outcome->json || !outcome->html || !gauges)
        outcome->status =
            distil_fail(&outcome->error, DISTIL_NO_MEMORY, "out of memory for the report");
    if (!gauges)
        return;
    pthread_mutex_lock(&monitor->lock);
    free(monitor->gauges);
    monitor->gauges = gauges;
    pthread_mutex_unlock(&monitor->lock);
}

static void forget(struct server_drift_outcome *outcome)
{
    free(outcome->json);
    free(outcome->html);
    *outcome = (struct server_drift_outcome){.status = DISTIL_OK};
}

static void compare(struct server_drift_monitor *monitor)
{
    struct server_drift_rows reference = {0}, current = {0};
    struct server_drift_report report;
    struct server_drift_outcome *outcome = &monitor->outcome;
    forget(outcome);
    outcome->status = read_sides(monitor, &reference, &current, &outcome->error);
    if (!outcome->status)
        outcome->status = server_drift_compare(
            &reference, &current, (size_t)monitor->settings.min_rows, &report, &outcome->error);
    if (!outcome->status) {
        tell(monitor, &report);
        keep(monitor, &report);
        server_drift_report_free(&report);
    }
    server_drift_rows_free(&reference);
    server_drift_rows_free(&current);
    monitor->compared = now_seconds();
}

/* ---- the thread ---- */

/* Waits until somebody asks, or the time is there, or it is to stop. Returns who asks; *due where a
 * comparison is due without them. False at the end. */
static bool wait_for_work(struct server_drift_monitor *monitor, time_t next, struct asker **askers,
                          bool *due)
{
    const struct timespec until = {.tv_sec = next};
    int waited = 0;
    bool stop;
    pthread_mutex_lock(&monitor->lock);
    while (!monitor->askers && !monitor->stop && waited != ETIMEDOUT) {
        if (monitor->settings.interval_seconds > 0)
            waited = pthread_cond_timedwait(&monitor->asked, &monitor->lock, &until);
        else
            pthread_cond_wait(&monitor->asked, &monitor->lock);
    }
    *askers = monitor->askers;
    *due = waited == ETIMEDOUT;
    monitor->askers = NULL;
    stop = monitor->stop;
    pthread_mutex_unlock(&monitor->lock);
    return !stop;
}

static void answer(struct asker *askers, const struct server_drift_outcome *outcome)
{
    while (askers) {
        struct asker *asker = askers;
        askers = asker->next;
        asker->done(asker->context, outcome);
        free(asker);
    }
}

static void *run(void *argument)
{
    struct server_drift_monitor *monitor = argument;
    struct server_drift_outcome stopped;
    struct asker *askers;
    time_t next = now_seconds() + FIRST_SECONDS;
    bool due;
    /* a thread's own on Linux: what computes answers goes first */
    setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY);
    while (wait_for_work(monitor, next, &askers, &due)) {
        bool fresh = monitor->outcome.json && monitor->outcome.status == DISTIL_OK &&
                     now_seconds() - monitor->compared < FRESH_SECONDS;
        if (due || !fresh)
            compare(monitor);
        answer(askers, &monitor->outcome);
        if (due)
            next = now_seconds() + monitor->settings.interval_seconds;
    }
    stopped = (struct server_drift_outcome){.status = DISTIL_OK};
    stopped.status = distil_fail(&stopped.error, DISTIL_BUSY, "the server is stopping");
    answer(askers, &stopped);
    return NULL;
}

distil_status server_drift_monitor_start(const struct server_drift_settings *settings,
                                         struct server_drift_monitor **monitor, distil_error *error)
{
    struct server_drift_range range;
    struct server_drift_monitor *made;
    pthread_condattr_t attributes;
    distil_error problem;
    distil_status status = server_drift_parse_range(settings->window, 0, &range, &problem);
    if (status)
        return distil_fail(error, status, "drift-window: %s", problem.message);
    made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for comparing predictions");
    made->settings = *settings;
    pthread_condattr_init(&attributes); /* none of these can fail on Linux */
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->asked, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&made->thread, NULL, run, made)) {
        pthread_cond_destroy(&made->asked);
        pthread_mutex_destroy(&made->lock);
        free(made);
        return distil_fail(error, DISTIL_SYSTEM,
                           "the thread that compares predictions could not be started");
    }
    *monitor = made;
    return DISTIL_OK;
}

distil_status server_drift_monitor_ask(struct server_drift_monitor *monitor,
                                       server_drift_done *done, void *context, distil_error *error)
{
    struct asker *asker = malloc(sizeof(*asker));
    if (!asker)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for comparing predictions");
    *asker = (struct asker){.done = done, .context = context};
    pthread_mutex_lock(&monitor->lock);
    asker->next = monitor->askers;
    monitor->askers = asker;
    pthread_cond_signal(&monitor->asked);
    pthread_mutex_unlock(&monitor->lock);
    return DISTIL_OK;
}

void server_drift_monitor_write(struct server_drift_monitor *monitor, FILE *out)
{
    pthread_mutex_lock(&monitor->lock);
    if (monitor->gauges)
        fputs(monitor->gauges, out);
    else
        server_drift_write_gauges(out, monitor->settings.model, NULL);
    pthread_mutex_unlock(&monitor->lock);
}

void server_drift_monitor_free(struct server_drift_monitor *monitor)
{
    if (!monitor)
        return;
    pthread_mutex_lock(&monitor->lock);
    monitor->stop = true;
    pthread_cond_signal(&monitor->asked);
    pthread_mutex_unlock(&monitor->lock);
    pthread_join(monitor->thread, NULL);
    pthread_cond_destroy(&monitor->asked);
    pthread_mutex_destroy(&monitor->lock);
    forget(&monitor->outcome);
    free(monitor->gauges);
    free(monitor);
}

/* prediction_writer.c: the thread that writes the log of predictions, and what it does when it cannot. */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "server/prediction_db.h"
#include "server/prediction_internal.h"
#include "server/queue.h"

enum { KEEP_ROWS = 8192 /* after which it looks at what is to be deleted, however soon */ };

/* In nanoseconds. */
static const int64_t second = 1000000000;
static const int64_t gather_ns = 50000000; /* in which rows gather that share a transaction */
static const int64_t moment_ns = 1000000;
/* Between attempts: while the database is locked, while something else is wrong, at the end. */
static const int64_t busy_first_ns = 20000000, busy_most_ns = 500000000;
static const int64_t wrong_first_ns = 250000000, wrong_most_ns = 15000000000;
static const int64_t ending_ns = 50000000;
static const int64_t repeat_ns = 60000000000; /* after which the log is told again */

/* ---- when it goes wrong ---- */

static enum server_counter kind_of(distil_status status)
{
    switch (status) {
    case DISTIL_BUSY:
        return SERVER_COUNT_LOG_LOCKED;
    case DISTIL_SYSTEM:
        return SERVER_COUNT_LOG_DISK_FULL;
    case DISTIL_FORMAT:
        return SERVER_COUNT_LOG_DAMAGED;
    default:
        return SERVER_COUNT_LOG_FAILED;
    }
}

/* Tells the log, once in a while as long as nothing changes. */
static void say_failed(struct server_prediction_log *log, enum server_counter kind,
                       const distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    int64_t now = server_now();
    if (writer->failing_since != 0 && writer->failure == kind && now - writer->said < repeat_ns)
        return;
    writer->said = now;
    server_log_printf(
        &log->log, kind == SERVER_COUNT_LOG_LOCKED ? SERVER_LOG_WARN : SERVER_LOG_ERROR,
        "predictions are not written to the log, %lld wait: %s",
        (long long)atomic_load_explicit(&log->rows, memory_order_relaxed), error->message);
}

static void failed(struct server_prediction_log *log, distil_status status,
                   const distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    enum server_counter kind = kind_of(status);
    bool busy = kind == SERVER_COUNT_LOG_LOCKED;
    int64_t first = busy ? busy_first_ns : wrong_first_ns;
    int64_t most = busy ? busy_most_ns : wrong_most_ns;
    server_count(log->meter, kind, 1);
    say_failed(log, kind, error);
    atomic_store_explicit(&log->writable, false, memory_order_relaxed);
    writer->feedback_count = 0; /* it waits in its list, for the next attempt */
    writer->pause = writer->failing_since && writer->failure == kind ? writer->pause * 2 : first;
    if (writer->pause > most)
        writer->pause = most;
    if (!writer->failing_since)
        writer->failing_since = server_now();
    writer->failure = kind;
    if (!busy && kind != SERVER_COUNT_LOG_DISK_FULL)
        server_prediction_close(writer);
    if (kind == SERVER_COUNT_LOG_DAMAGED && server_prediction_put_aside(log))
        writer->pause = 0;
}

/* ---- when it goes well ---- */

/* Forgets the rows of the batch. */
static void let_go(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    long long bytes = 0;
    int i;
    for (i = 0; i < writer->count; i++) {
        bytes += (long long)writer->batch[i]->size;
        free(writer->batch[i]);
    }
    atomic_fetch_sub_explicit(&log->rows, writer->count, memory_order_relaxed);
    atomic_fetch_sub_explicit(&log->bytes, bytes, memory_order_relaxed);
    writer->count = 0;
}

static void succeeded(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    server_count(log->meter, SERVER_COUNT_LOG_ROWS, (uint64_t)writer->count);
    writer->since_keep += writer->count;
    let_go(log);
    server_prediction_tell_feedback(log);
    atomic_store_explicit(&log->writable, true, memory_order_relaxed);
    if (writer->failing_since)
        server_log_printf(&log->log, SERVER_LOG_INFO,
                          "predictions are written to the log again, after %lld s",
                          (long long)((server_now() - writer->failing_since) / second));
    writer->failing_since = 0;
}

/* ---- the thread ---- */

static void collect(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    struct server_prediction_row *row;
    while (writer->count < SERVER_PREDICTION_BATCH && (row = server_ring_pop(log->ring)))
        writer->batch[writer->count++] = row;
}

/* Opens the database if it is not, writes what there is, deletes what is due. */
static distil_status step(struct server_prediction_log *log, distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    distil_status status = writer->db ? DISTIL_OK : server_prediction_open(log, error);
    if (!status && (writer->count > 0 || writer->feedback_count > 0))
        status = server_prediction_write(log, error);
    if (status)
        return status;
    succeeded(log);
    if (writer->since_keep < KEEP_ROWS && server_now() < writer->next_keep)
        return DISTIL_OK;
    return server_prediction_keep(log, error);
}

/* Whether feedback waits. */
static bool anyone_waits(struct server_prediction_log *log)
{
    bool any;
    pthread_mutex_lock(&log->lock);
    any = log->first != NULL;
    pthread_mutex_unlock(&log->lock);
    return any;
}

/* Sleeps until there is something to do. */
static void sleep_well(struct server_prediction_log *log)
{
    int64_t until = log->writer.next_keep;
    const struct timespec time = {until / second, until % second};
    atomic_store(&log->sleeping, true);
    if (anyone_waits(log)) {
        /* for a prediction that is just being put into the ring */
        atomic_store(&log->sleeping, false);
        server_prediction_pause(log, moment_ns);
        return;
    }
    if (server_ring_empty(log->ring) && !atomic_load(&log->stopping))
        sem_clockwait(&log->wake, CLOCK_MONOTONIC, &time);
    atomic_store(&log->sleeping, false);
}

/* One round; false at the end. */
static bool go_round(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    bool stopping = atomic_load(&log->stopping); /* before looking: what came before it is seen */
    distil_error error;
    distil_status status;
    bool full;
    collect(log);
    server_prediction_take_feedback(log);
    if (stopping && writer->count == 0)
        return false;
    if (writer->count == 0 && writer->feedback_count == 0 && writer->db &&
        server_now() < writer->next_keep) {
        sleep_well(log);
        return true;
    }
    full = writer->count == SERVER_PREDICTION_BATCH ||
           writer->feedback_count == SERVER_PREDICTION_FEEDBACK;
    status = step(log, &error);
    if (status)
        failed(log, status, &error);
    if (stopping && status && server_now() >= log->stop_at)
        return false;
    if (status && stopping)
        nanosleep(&(struct timespec){0, ending_ns}, NULL);
    else if (status || !full)
        server_prediction_pause(log, status ? writer->pause : gather_ns);
    return true;
}

/* Counts and frees what could not be written. */
static void give_up(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    long long left = 0;
    do {
        left += writer->count;
        let_go(log);
        collect(log);
    } while (writer->count > 0);
    if (left == 0)
        return;
    server_count(log->meter, SERVER_COUNT_LOG_UNWRITTEN, (uint64_t)left);
    server_log_printf(&log->log, SERVER_LOG_ERROR,
                      "%lld predictions were not written to the log before the server ended", left);
}

void *server_prediction_run(void *argument)
{
    struct server_prediction_log *log = argument;
    const struct sched_param none = {0};
    /* it interrupts no thread that computes, but waits for a tick */
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
    while (go_round(log))
        continue;
    give_up(log);
    server_prediction_close(&log->writer);
    sem_post(&log->ended);
    return NULL;
}

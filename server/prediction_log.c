/* prediction_log.c: see prediction_log.h. */
#include "server/prediction_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/prediction_db.h"
#include "server/prediction_internal.h"
#include "server/queue.h"

enum {
    PLACES = 1 << 16,     /* rows that may wait */
    MAX_BYTES = 32 << 20, /* the same of their bytes */
    HANG_SLICES = 16,
    MAX_WAITING = 1024 /* feedback that may wait */
};

static const int64_t feedback_ns = 2000000000; /* that feedback may wait */
static const int64_t flush_ns = 5000000000;    /* that the end may take to write what is left */
/* A thread that has not ended after so many of these is left. In slices, as the time in which a whole
 * process is stopped should count for little. */
static const int64_t slice_ns = 500000000;

/* ---- predictions ---- */

/* Appends a string to the bytes of a row and returns the copy; NULL for NULL. */
static const char *keep_string(char **at, const char *text)
{
    size_t size;
    char *copy = *at;
    if (!text)
        return NULL;
    size = strlen(text) + 1;
    memcpy(copy, text, size);
    *at += size;
    return copy;
}

static size_t size_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* A copy of a prediction that stands by itself; NULL when memory runs out. */
static struct server_prediction_row *copy_row(const struct server_prediction *p)
{
    size_t floats = p->projection ? (size_t)p->projection_count * sizeof(float) : 0;
    size_t size = sizeof(struct server_prediction_row) + floats + size_of(p->id) +
                  size_of(p->model) + size_of(p->digest) + size_of(p->text) + size_of(p->pair) +
                  size_of(p->product_id) + size_of(p->timestamp) + size_of(p->label) +
                  size_of(p->scores);
    struct server_prediction_row *row = malloc(size);
    struct server_prediction *copy;
    char *at;
    if (!row)
        return NULL;
    copy = &row->prediction;
    row->size = size;
    *copy = *p;
    at = row->bytes;
    if (floats) /* first, where they are aligned */
        copy->projection = memcpy(at, p->projection, floats);
    at += floats;
    copy->id = keep_string(&at, p->id);
    copy->model = keep_string(&at, p->model);
    copy->digest = keep_string(&at, p->digest);
    copy->text = keep_string(&at, p->text);
    copy->pair = keep_string(&at, p->pair);
    copy->product_id = keep_string(&at, p->product_id);
    copy->timestamp = keep_string(&at, p->timestamp);
    copy->label = keep_string(&at, p->label);
    copy->scores = keep_string(&at, p->scores);
    return row;
}

bool server_prediction_log_put(struct server_prediction_log *predictions,
                               const struct server_prediction *prediction,
                               struct server_meter *meter)
{
    struct server_prediction kept = *prediction;
    struct server_prediction_row *row;
    long long size, before;
    if (predictions->options.text == SERVER_PREDICTION_TEXT_NONE)
        kept.text = kept.pair = NULL;
    row = copy_row(&kept);
    if (!row) {
        server_count(meter, SERVER_COUNT_LOG_NO_MEMORY, 1);
        return false;
    }
    size = (long long)row->size; /* once pushed, the row is the thread's */
    /* counted before it is there to be taken, so that the sums never fall below zero */
    atomic_fetch_add_explicit(&predictions->rows, 1, memory_order_relaxed);
    before = atomic_fetch_add_explicit(&predictions->bytes, size, memory_order_relaxed);
    if (before + size > MAX_BYTES || !server_ring_push(predictions->ring, row)) {
        atomic_fetch_sub_explicit(&predictions->rows, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&predictions->bytes, size, memory_order_relaxed);
        server_count(meter, SERVER_COUNT_LOG_FULL, 1);
        free(row);
        return false;
    }
    server_prediction_wake(predictions);
    return true;
}

void server_prediction_wake(struct server_prediction_log *log)
{
    /* the thread says that it sleeps and then looks at the ring; here it is the other way about, so
       that one of the two sees what the other did */
    if (atomic_load(&log->sleeping) && atomic_exchange(&log->sleeping, false))
        sem_post(&log->wake);
}

/* ---- feedback ---- */

void server_prediction_log_give(struct server_prediction_log *predictions,
                                struct server_feedback *feedback)
{
    bool taken;
    feedback->next = NULL;
    feedback->deadline = server_now() + feedback_ns;
    feedback->after = server_ring_given(predictions->ring);
    pthread_mutex_lock(&predictions->lock);
    taken = !predictions->closed && predictions->waiting < MAX_WAITING;
    feedback->outcome = predictions->closed ? SERVER_FEEDBACK_STOPPED : SERVER_FEEDBACK_LATE;
    if (taken) {
        feedback->number = predictions->next_number++;
        if (predictions->first)
            predictions->last->next = feedback;
        else
            predictions->first = feedback;
        predictions->last = feedback;
        predictions->waiting++;
    }
    pthread_mutex_unlock(&predictions->lock);
    if (taken)
        server_prediction_wake(predictions);
    else
        feedback->done(feedback);
}

/* Takes feedback out of the list, each for which wanted holds; returns them as a list. */
static struct server_feedback *
take_out(struct server_prediction_log *log,
         bool (*wanted)(struct server_feedback *feedback, const void *context), const void *context)
{
    struct server_feedback *out = NULL, **end = &out, **at, *last = NULL;
    pthread_mutex_lock(&log->lock);
    for (at = &log->first; *at;) {
        struct server_feedback *feedback = *at;
        if (!wanted(feedback, context)) {
            last = feedback;
            at = &feedback->next;
            continue;
        }
        *at = feedback->next;
        feedback->next = NULL;
        *end = feedback;
        end = &feedback->next;
        log->waiting--;
    }
    log->last = last;
    pthread_mutex_unlock(&log->lock);
    return out;
}

static void call_done(struct server_feedback *feedback)
{
    while (feedback) {
        struct server_feedback *next = feedback->next;
        feedback->done(feedback);
        feedback = next;
    }
}

static bool is_late(struct server_feedback *feedback, const void *context)
{
    const int64_t *now = context;
    return feedback->deadline <= *now;
}

void server_prediction_log_sweep(struct server_prediction_log *predictions)
{
    int64_t now = server_now();
    call_done(take_out(predictions, is_late, &now));
}

static bool is_any(struct server_feedback *feedback, const void *context)
{
    (void)context;
    feedback->outcome = SERVER_FEEDBACK_STOPPED;
    return true;
}

void server_prediction_log_end_feedback(struct server_prediction_log *predictions)
{
    if (!predictions)
        return;
    pthread_mutex_lock(&predictions->lock);
    predictions->closed = true;
    pthread_mutex_unlock(&predictions->lock);
    call_done(take_out(predictions, is_any, NULL));
}

void server_prediction_take_feedback(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    uint64_t taken = server_ring_taken(log->ring);
    const struct server_feedback *feedback;
    pthread_mutex_lock(&log->lock);
    for (feedback = log->first; feedback && writer->feedback_count < SERVER_PREDICTION_FEEDBACK;
         feedback = feedback->next) {
        struct server_prediction_feedback *copy = &writer->feedback[writer->feedback_count];
        if (feedback->after > taken)
            break; /* its prediction may still be in the ring */
        copy->number = feedback->number;
        copy->decided = false;
        copy->copy = *feedback;
        writer->feedback_count++;
    }
    pthread_mutex_unlock(&log->lock);
}

/* Whether the thread has decided on feedback, which then gets what it decided. */
static bool is_decided(struct server_feedback *feedback, const void *context)
{
    const struct server_prediction_writer *writer = context;
    int i;
    for (i = 0; i < writer->feedback_count; i++) {
        const struct server_prediction_feedback *decided = &writer->feedback[i];
        if (decided->number != feedback->number)
            continue;
        feedback->outcome = decided->copy.outcome;
        memcpy(feedback->predicted, decided->copy.predicted, sizeof(feedback->predicted));
        memcpy(feedback->previous, decided->copy.previous, sizeof(feedback->previous));
        memcpy(feedback->labels, decided->copy.labels, sizeof(feedback->labels));
        return true;
    }
    return false;
}

void server_prediction_tell_feedback(struct server_prediction_log *log)
{
    if (log->writer.feedback_count > 0)
        call_done(take_out(log, is_decided, &log->writer));
    log->writer.feedback_count = 0;
}

/* ---- lifecycle ---- */

static distil_status prepare(struct server_prediction_log *log, const char *directory,
                             distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    int length =
        snprintf(writer->path, sizeof(writer->path), "%s/%s", directory, SERVER_PREDICTION_FILE);
    if (length >= SERVER_PREDICTION_PATH)
        return distil_fail(error, DISTIL_INVALID, "%.60s...: the path is too long", directory);
    log->ring = server_ring_create(PLACES);
    if (!log->ring)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the log of predictions");
    if (log->options.text == SERVER_PREDICTION_TEXT_HASH) {
        distil_status status = server_prediction_read_key(directory, writer->key, error);
        if (status)
            return status;
        writer->has_key = true;
    }
    server_prediction_watch_clock(writer);
    if (pthread_create(&log->thread, NULL, server_prediction_run, log))
        return distil_fail(error, DISTIL_SYSTEM,
                           "the thread of the log of predictions could not be started");
    return DISTIL_OK;
}

static void free_log(struct server_prediction_log *log)
{
    sem_destroy(&log->wake);
    sem_destroy(&log->ended);
    pthread_mutex_destroy(&log->lock);
    server_ring_free(log->ring);
    explicit_bzero(log->writer.key, sizeof(log->writer.key));
    free(log);
}

distil_status server_prediction_log_start(const char *directory,
                                          const struct server_prediction_options *options,
                                          const struct server_log *log, struct server_meter *meter,
                                          struct server_prediction_log **predictions,
                                          distil_error *error)
{
    struct server_prediction_log *made = calloc(1, sizeof(*made));
    distil_status status;
    *predictions = NULL;
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the log of predictions");
    made->options = *options;
    made->log = *log;
    made->meter = meter;
    atomic_init(&made->writable, true);
    sem_init(&made->wake, 0, 0);
    sem_init(&made->ended, 0, 0);
    pthread_mutex_init(&made->lock, NULL);
    status = prepare(made, directory, error);
    if (status)
        free_log(made);
    else
        *predictions = made;
    return status;
}

/* Waits for a semaphore until a time of the monotonic clock; false when that passed. */
static bool wait_until(sem_t *semaphore, int64_t until)
{
    const struct timespec time = {until / 1000000000, until % 1000000000};
    int failed;
    do
        failed = sem_clockwait(semaphore, CLOCK_MONOTONIC, &time);
    while (failed && errno == EINTR);
    return !failed;
}

void server_prediction_pause(struct server_prediction_log *log, int64_t nanoseconds)
{
    if (!atomic_load(&log->stopping))
        wait_until(&log->wake, server_now() + nanoseconds);
}

bool server_prediction_log_free(struct server_prediction_log *predictions)
{
    bool ended = false;
    int i;
    if (!predictions)
        return true;
    predictions->stop_at = server_now() + flush_ns;
    atomic_store(&predictions->stopping, true);
    sem_post(&predictions->wake);
    for (i = 0; i < HANG_SLICES && !ended; i++)
        ended = wait_until(&predictions->ended, server_now() + slice_ns);
    if (!ended) {
        server_log_printf(
            &predictions->log, SERVER_LOG_ERROR,
            "%s: the file system does not answer: %lld predictions were not written",
            predictions->writer.path,
            (long long)atomic_load_explicit(&predictions->rows, memory_order_relaxed));
        return false;
    }
    pthread_join(predictions->thread, NULL);
    free_log(predictions);
    return true;
}

void server_prediction_log_write_gauges(struct server_prediction_log *predictions, FILE *out)
{
    const struct {
        const char *name, *help;
        long long value;
    } gauges[] = {
        {"distild_prediction_log_writable",
         "1 while predictions are written to the log, 0 where that fails or there is none.",
         predictions && atomic_load_explicit(&predictions->writable, memory_order_relaxed)},
        {"distild_prediction_log_queue_rows", "Predictions that wait to be written to the log.",
         predictions ? atomic_load_explicit(&predictions->rows, memory_order_relaxed) : 0},
        {"distild_prediction_log_queue_bytes", "What those take in memory.",
         predictions ? atomic_load_explicit(&predictions->bytes, memory_order_relaxed) : 0},
        {"distild_prediction_log_size_bytes", "Size of the log of predictions on disk.",
         predictions ? atomic_load_explicit(&predictions->file_bytes, memory_order_relaxed) : 0},
    };
    size_t i;
    for (i = 0; i < sizeof(gauges) / sizeof(*gauges); i++) {
        server_metrics_family(out, gauges[i].name, "gauge", gauges[i].help);
        fprintf(out, "%s %lld\n", gauges[i].name, gauges[i].value);
    }
}

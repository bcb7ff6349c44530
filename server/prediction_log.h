/* prediction_log.h: what was predicted, written to a database (prediction_db.h) by a thread of its own.
 *
 * Whoever answers a request puts its predictions into a ring of bounded size, which takes no lock and
 * never waits; what does not fit is dropped and counted. The thread writes many rows in one
 * transaction. Where the database cannot be written (locked, disk full, read-only, damaged) it keeps
 * what it has, tries again, less and less often, and says so in the log; a damaged file is put aside
 * and a new one begun. It also deletes what is too old or too much. */
#ifndef SERVER_PREDICTION_LOG_H
#define SERVER_PREDICTION_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "server/log.h"
#include "server/metrics.h"
#include "server/options.h"

enum {
    SERVER_PREDICTION_ID = 64,     /* of a prediction's id, with its NUL */
    SERVER_PREDICTION_LABEL = 257, /* of a label in feedback, with its NUL */
    SERVER_PREDICTION_LABELS = 512 /* of a sentence that lists labels */
};

struct server_prediction_log;

/* One prediction; its columns are in prediction_db.h. Strings may be NULL where columns may. */
struct server_prediction {
    const char *id;
    int64_t at_ns;
    const char *model, *digest, *text, *pair, *product_id, *timestamp, *label, *scores;
    double score;
    int tokens, unknown;
    bool truncated;
    const float *projection; /* (projection_count); NULL: none */
    int projection_count;
};

/* What somebody says that a prediction should have been. Filled in by whoever makes it, who keeps it
 * until done is called. */
struct server_feedback {
    char id[SERVER_PREDICTION_ID], label[SERVER_PREDICTION_LABEL];
    enum {
        SERVER_FEEDBACK_KEPT,
        SERVER_FEEDBACK_UNKNOWN,     /* there is no such prediction */
        SERVER_FEEDBACK_WRONG_LABEL, /* the model has no such label; labels lists what it has */
        SERVER_FEEDBACK_LATE,        /* the database could not be written in time */
        SERVER_FEEDBACK_STOPPED
    } outcome;
    char predicted[SERVER_PREDICTION_LABEL];
    char previous[SERVER_PREDICTION_LABEL]; /* label of earlier feedback, which it replaced; "" */
    char labels[SERVER_PREDICTION_LABELS];
    void (*done)(struct server_feedback *feedback); /* called from another thread, or from give */
    void *context;

    /* The log's own. */
    struct server_feedback *next;
    uint64_t number, after;
    int64_t deadline;
};

/* Starts the thread, which opens or makes the database in the directory: what goes wrong with that is
 * said in the log, and tried again. The meter counts what the thread does. */
distil_status server_prediction_log_start(const char *directory,
                                          const struct server_prediction_options *options,
                                          const struct server_log *log, struct server_meter *meter,
                                          struct server_prediction_log **predictions,
                                          distil_error *error);
/* Writes what is left, for some seconds, and frees. False where the thread hangs in the file system:
 * then nothing is freed, and what it was given must go on to live. NULL is ignored. */
bool server_prediction_log_free(struct server_prediction_log *predictions);

/* Copies a prediction into the ring. False, counted by the meter, where there is no room. */
bool server_prediction_log_put(struct server_prediction_log *predictions,
                               const struct server_prediction *prediction,
                               struct server_meter *meter);

/* Hands feedback over. A prediction whose row is not yet written is found all the same. */
void server_prediction_log_give(struct server_prediction_log *predictions,
                                struct server_feedback *feedback);
/* Lets feedback go that has waited for too long; to be called from time to time. */
void server_prediction_log_sweep(struct server_prediction_log *predictions);
/* Lets all feedback go, what comes later too. */
void server_prediction_log_end_feedback(struct server_prediction_log *predictions);

/* Writes the gauges; predictions may be NULL: there is no log. */
void server_prediction_log_write_gauges(struct server_prediction_log *predictions, FILE *out);

#endif

/* prediction_internal.h: what the files of the log of predictions share: prediction_log.c (what other
 * threads call), prediction_writer.c (its thread), prediction_rows.c (what it writes),
 * prediction_keep.c (what it deletes, and what it does with damaged files). */
#ifndef SERVER_PREDICTION_INTERNAL_H
#define SERVER_PREDICTION_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "server/prediction_log.h"
#include "server/ring.h"

enum {
    SERVER_PREDICTION_KEY = 32,      /* bytes of the key that texts are hashed with */
    SERVER_PREDICTION_BATCH = 512,   /* rows of one transaction */
    SERVER_PREDICTION_FEEDBACK = 64, /* and feedback */
    SERVER_PREDICTION_PATH = 4096
};

/* A prediction with its own copies of what it points to behind it. */
struct server_prediction_row {
    struct server_prediction prediction;
    size_t size;
    char bytes[];
};

/* Feedback that the thread works on: a copy, as the one who gave it may give up waiting. */
struct server_prediction_feedback {
    uint64_t number;
    bool decided;
    struct server_feedback copy;
};

enum server_prediction_statement {
    SERVER_PREDICTION_BEGIN,
    SERVER_PREDICTION_COMMIT,
    SERVER_PREDICTION_INSERT,
    SERVER_PREDICTION_FIND,
    SERVER_PREDICTION_FIND_FEEDBACK,
    SERVER_PREDICTION_INSERT_FEEDBACK,
    SERVER_PREDICTION_STATEMENTS
};

/* The thread's own. */
struct server_prediction_writer {
    char path[SERVER_PREDICTION_PATH];
    unsigned char key[SERVER_PREDICTION_KEY];
    bool has_key;
    sqlite3 *db; /* NULL: not open */
    sqlite3_stmt *statements[SERVER_PREDICTION_STATEMENTS];
    struct server_prediction_row *batch[SERVER_PREDICTION_BATCH];
    int count;
    struct server_prediction_feedback feedback[SERVER_PREDICTION_FEEDBACK];
    int feedback_count;

    int64_t failing_since; /* monotonic nanoseconds; 0: the last transaction went well */
    int64_t said;          /* when the log was last told that it fails */
    int64_t pause;         /* before the next attempt, in nanoseconds */
    enum server_counter failure;
    int put_aside; /* damaged files */

    int since_keep;       /* rows written since it looked at what is to be deleted */
    int64_t next_keep;    /* when to look again at what is to be deleted */
    int64_t clock_offset; /* of the system's clock from the monotonic one */
    int64_t clock_jumped; /* when that changed last */
};

struct server_prediction_log {
    struct server_prediction_options options;
    struct server_log log;
    struct server_meter *meter;
    struct server_ring *ring;
    atomic_llong rows, bytes; /* put and not yet written */
    atomic_llong file_bytes;  /* of the database */
    atomic_bool writable;     /* the last transaction went well */
    atomic_bool sleeping;     /* the thread wants to be woken */
    atomic_bool stopping;
    int64_t stop_at; /* monotonic; when to give up, once stopping */
    sem_t wake, ended;
    pthread_t thread;

    pthread_mutex_t lock; /* of what follows; held for moments only */
    struct server_feedback *first, *last;
    int waiting;
    uint64_t next_number;
    bool closed; /* no more feedback is taken */

    struct server_prediction_writer writer;
};

/* The thread's main function. */
void *server_prediction_run(void *log);
/* Wakes the thread if it sleeps. */
void server_prediction_wake(struct server_prediction_log *log);
/* Sleeps for nanoseconds, or until the server stops. */
void server_prediction_pause(struct server_prediction_log *log, int64_t nanoseconds);

/* Opens the database and prepares the statements. */
distil_status server_prediction_open(struct server_prediction_log *log, distil_error *error);
void server_prediction_close(struct server_prediction_writer *writer);
/* Writes the batch and decides on the feedback, in one transaction: all of it or nothing. */
distil_status server_prediction_write(struct server_prediction_log *log, distil_error *error);

/* Copies feedback that may be decided now for the thread to work on. */
void server_prediction_take_feedback(struct server_prediction_log *log);
/* Tells those who still wait what became of it. */
void server_prediction_tell_feedback(struct server_prediction_log *log);

/* Deletes some of what is too old or too much, and gives the space back. Sets when to come back. */
distil_status server_prediction_keep(struct server_prediction_log *log, distil_error *error);
/* Begins to watch the clock. */
void server_prediction_watch_clock(struct server_prediction_writer *writer);
/* Moves a damaged database out of the way; false where that is not to be, or cannot be, done. */
bool server_prediction_put_aside(struct server_prediction_log *log);
/* Whether the file at the path is no longer the one that is open. */
bool server_prediction_moved(const struct server_prediction_writer *writer);
/* Reads the key that texts are hashed with, or makes it. */
distil_status server_prediction_read_key(const char *directory,
                                         unsigned char key[SERVER_PREDICTION_KEY],
                                         distil_error *error);

#endif

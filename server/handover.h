/* handover.h: work handed over to one thread by many, first come, first served, up to a bound. */
#ifndef SERVER_HANDOVER_H
#define SERVER_HANDOVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* What became of what was handed over. */
enum server_outcome {
    SERVER_OUTCOME_DONE,
    SERVER_OUTCOME_FAILED, /* it was tried in vain */
    SERVER_OUTCOME_FULL,   /* it was not taken: as many wait as may */
    SERVER_OUTCOME_LATE,   /* its deadline had passed */
    SERVER_OUTCOME_STOPPED /* the thread ended first */
};

/* Stands first in whatever is handed over; filled in, but for next, by whoever does so, who keeps it until
 * done is called. */
struct server_handed {
    void (*done)(
        struct server_handed *handed); /* from another thread, or where it is handed over */
    void *context;                     /* for done */
    enum server_outcome outcome;
    struct server_handed *next;
};

struct server_handover {
    int most;             /* that may wait */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct server_handed *first, *last;
    int waiting;
    bool stopping, woken;
};

/* When a take gives up waiting, in monotonic nanoseconds. */
#define SERVER_HANDOVER_AT_ONCE 0
#define SERVER_HANDOVER_NEVER INT64_MAX

void server_handover_init(struct server_handover *handover, int most);
void server_handover_destroy(struct server_handover *handover);

/* Whether it was taken over; else its outcome is set, and done not called. */
bool server_handover_push(struct server_handover *handover, struct server_handed *handed);
/* For the thread: a chain of at most so many that wait, in their order; where none does, it waits for one
 * until that time. NULL where none came, when woken, and after the end. */
struct server_handed *server_handover_take(struct server_handover *handover, int most,
                                           int64_t until);
/* Has the thread go on from waiting, with NULL where nothing waits: at once, or the next time that it would. */
void server_handover_wake(struct server_handover *handover);
/* The end: nothing is taken any more. */
void server_handover_stop(struct server_handover *handover);
bool server_handover_is_stopped(struct server_handover *handover);
/* After the thread has ended: ends those that were never taken. */
void server_handover_finish(struct server_handover *handover);

/* Gives each of a chain its outcome, and calls done. */
void server_handed_end(struct server_handed *first, enum server_outcome outcome);

#endif

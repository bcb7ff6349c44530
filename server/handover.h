/* handover.h: work handed over to one thread by many, first come, first served, up to a bound. */
#ifndef SERVER_HANDOVER_H
#define SERVER_HANDOVER_H

#include <pthread.h>
#include <stdbool.h>

/* Stands first in whatever is handed over. */
struct server_handed {
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

enum server_handing { SERVER_HANDED, SERVER_HANDED_FULL, SERVER_HANDED_STOPPED };

void server_handover_init(struct server_handover *handover, int most);
void server_handover_destroy(struct server_handover *handover);

/* Says whether it was taken over. */
enum server_handing server_handover_push(struct server_handover *handover,
                                         struct server_handed *handed);
/* For the thread: a chain of at most so many that wait, in their order; where none does, and wait is
 * set, it waits for one. NULL where none is there, when woken, and after the end. */
struct server_handed *server_handover_take(struct server_handover *handover, int most, bool wait);
/* Has the thread go on from waiting, with NULL where nothing waits: at once, or the next time that it would. */
void server_handover_wake(struct server_handover *handover);
/* The end: nothing is taken any more. */
void server_handover_stop(struct server_handover *handover);
/* After the thread has ended: the chain of those that were never taken. */
struct server_handed *server_handover_rest(struct server_handover *handover);

#endif

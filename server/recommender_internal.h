/* recommender_internal.h: what the parts of the recommender share. */
#ifndef SERVER_RECOMMENDER_INTERNAL_H
#define SERVER_RECOMMENDER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/handover.h"
#include "server/recommender.h"

struct server_recommender {
    const struct server_log *log;
    struct server_stock *stock;       /* that scores are taught to, by the learner alone */
    struct server_stock *next;        /* the same, while all scores are being learned; else NULL */
    struct server_score_store *store; /* the learner's, but for its key */
    char template_text[SERVER_TEMPLATE_MOST + 1];
    int64_t strangers;               /* scores of items that the next stock does not have */
    atomic_ullong lists, kept, lost; /* lists made, scores kept, scores that could not be */
    atomic_llong learned;            /* scores that count now */
    struct server_handover scorings, listings;
    pthread_t learner, lister; /* of the one and the other */
    int started;               /* of the two threads */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t restocked;
    struct server_stock *wanted; /* by who waits until the learner has learned it; else NULL */
    distil_status status;        /* of that */
    distil_error error;
    bool stopped; /* nothing more is to be learned */
    bool ended;   /* the learner has */
};

/* The lister. */
void *server_recommender_list_on(void *recommender);

#endif

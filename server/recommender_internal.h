/* recommender_internal.h: what the parts of the recommender share. */
#ifndef SERVER_RECOMMENDER_INTERNAL_H
#define SERVER_RECOMMENDER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/handover.h"
#include "server/recommender.h"

struct server_recommender {
    const distil_catalogue *catalogue;
    const struct server_log *log;
    struct server_estimator *estimator; /* taught by the learner alone */
    struct server_score_store *store;   /* the learner's, but for its key */
    char template_text[SERVER_TEMPLATE_MOST + 1];
    int64_t strangers;               /* scores of items that the catalogue does not have */
    atomic_ullong lists, kept, lost; /* lists made, scores kept, scores that could not be */
    atomic_llong learned;            /* scores that count now */
    struct server_handover scorings, listings;
    pthread_t learner, lister; /* of the one and the other */
    int started;               /* of the two threads */
};

/* The lister. */
void *server_recommender_list_on(void *recommender);

#endif

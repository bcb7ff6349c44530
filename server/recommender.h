/* recommender.h: items of a catalogue for people by their profile, learned from their scores.
 *
 * One thread, the learner, writes scores to the disk (score_store.h), many in one transaction, and
 * teaches them to the estimator (estimator.h) before they are answered. Lists of few items are made by
 * whoever asks for them; another thread, the lister, is for catalogues that take longer. docs/recommender.md has the reasons. */
#ifndef SERVER_RECOMMENDER_H
#define SERVER_RECOMMENDER_H

#include <stdio.h>

#include "engine/distil.h"
#include "engine/distil_catalogue.h"
#include "server/estimator.h"
#include "server/handover.h"
#include "server/log.h"
#include "server/score_store.h"
#include "server/shown.h"

struct server_recommender;

/* Items, and what was learned of them. */
struct server_stock {
    const distil_catalogue *items;
    struct server_estimator *estimator; /* NULL: nothing is */
};

/* Frees what was learned. */
void server_stock_clear(struct server_stock *stock);

struct server_recommender_options {
    const char *state_dir;
    const char *template_file; /* of profiles in words; NULL: server_profile_template */
    const struct server_log *log;
};

/* Reads the scores that were kept, learns from them what is to be known of the stock's items, and starts the threads. What
 * the options point to must outlive the recommender, as the stock must until another one was learned. Errors name the file
 * at fault. */
distil_status server_recommender_create(const struct server_recommender_options *options,
                                        struct server_stock *stock,
                                        struct server_recommender **recommender,
                                        distil_error *error);
/* Learns what is to be known of another stock's items from all scores there are, those that come meanwhile included;
 * from then on scores are taught to that one. One call at a time, from any thread. After an error everything is as it
 * was; DISTIL_BUSY where the recommender was stopped first. */
distil_status server_recommender_restock(struct server_recommender *recommender,
                                         struct server_stock *stock, distil_error *error);
/* Ends the threads; what waits, and what is to come, ends as stopped. NULL is ignored. */
void server_recommender_stop(struct server_recommender *recommender);
/* Stops and frees; nobody may ask any more. NULL is ignored. */
void server_recommender_free(struct server_recommender *recommender);

/* A profile as the template says it. */
void server_recommender_words(const struct server_recommender *recommender,
                              const struct server_profile *profile, char *text, size_t size);
/* Whether a model's embeddings can be compared with the vectors of a catalogue. */
bool server_recommender_knows(const distil_catalogue *items, const distil_info *model);

/* A list to be made, filled in by whoever wants it, who keeps it and what it points to until done is
 * called. */
struct server_listing {
    struct server_handed handed;      /* FAILED: it could not be made */
    const struct server_stock *stock; /* to choose from */
    struct server_shown shown; /* its profile and time to be filled in, the rest is the list */
    /* Of the profile in words, as wide as the catalogue's vectors; NULL: nothing is known of it. */
    const float *embedding;
    int most;                      /* items, up to SERVER_SHOWN_MOST */
    long items[SERVER_SHOWN_MOST]; /* those of the list */
};

/* Makes a list; done is not called. Most of it are the items with the highest scores expected; one in
 * ten, at the end, is an item of which too little is known. */
void server_recommender_list(struct server_recommender *recommender,
                             struct server_listing *listing);
/* Hands it over to the lister, for catalogues of many items. */
void server_recommender_push_listing(struct server_recommender *recommender,
                                     struct server_listing *listing);
const unsigned char *server_recommender_key(const struct server_recommender *recommender);

/* A score, filled in by whoever gives it, who keeps it until done is called. */
struct server_scoring {
    struct server_handed handed;      /* FAILED: it could not be written */
    struct server_score_row row;      /* row.item must be a string of the catalogue's */
    const struct server_stock *stock; /* of the item */
    long item;
    bool replaced;
    float before;
};

/* Hands over a score. */
void server_recommender_push_scoring(struct server_recommender *recommender,
                                     struct server_scoring *scoring);
/* Counts of lists and scores, for GET /metrics; all are 0 where recommender is NULL. */
void server_recommender_write_metrics(const struct server_recommender *recommender, FILE *out);

#endif

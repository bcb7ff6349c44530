/* estimator.h: what score somebody would give an item, learned from scores as they come.
 *
 * Each item has a response to the traits of a profile: one number for everybody, one for each band
 * of age, for each gender and for each occupation. The score expected is the sum of the four that
 * apply, and of a share of how near the profile's text is to the item's. What responses are like
 * (their mean, given the item's place in the space of embeddings and how often it was scored, and
 * how they vary and go together) is shared by all items and learned from all scores, so that an item
 * with few scores is judged by those like it, and one with many by its own. docs/recommender.md has
 * the model.
 *
 * One thread adds and removes scores; any number predict at the same time. */
#ifndef SERVER_ESTIMATOR_H
#define SERVER_ESTIMATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/distil_catalogue.h"
#include "server/profile.h"

enum {
    SERVER_TRAITS = 1 + SERVER_AGE_BANDS + SERVER_GENDERS + SERVER_OCCUPATIONS,
    SERVER_COMPONENTS = 16, /* numbers that describe an item's embedding */
    SERVER_SCORE_MOST = 5   /* scores go from 0 to this */
};

struct server_estimator;

/* A score that somebody gave an item. */
struct server_score {
    int item; /* 0..items - 1 */
    struct server_profile profile;
    float similarity; /* of profile and item, see server_similarity_quantise */
    float score;      /* 0..5 */
};

/* components: (items, SERVER_COMPONENTS) from server_components_compute, which is copied; NULL where
 * nothing is known of the items. */
distil_status server_estimator_create(int items, const float *components,
                                      struct server_estimator **estimator, distil_error *error);
/* The same of the vectors of a catalogue; DISTIL_UNSUPPORTED where it has too many items. */
distil_status server_estimator_of_catalogue(const distil_catalogue *catalogue,
                                            struct server_estimator **estimator,
                                            distil_error *error);
void server_estimator_free(struct server_estimator *estimator);

/* Takes a score in: it counts at once for its item. DISTIL_NO_MEMORY leaves everything as it was. */
distil_status server_estimator_add(struct server_estimator *estimator,
                                   const struct server_score *score, distil_error *error);
/* The same without computing anything: for many scores, before server_estimator_settle. */
distil_status server_estimator_store(struct server_estimator *estimator,
                                     const struct server_score *score, distil_error *error);
/* Takes a score out that was added. */
void server_estimator_remove(struct server_estimator *estimator, const struct server_score *score);
int64_t server_estimator_count(const struct server_estimator *estimator);

/* Whether so many scores have come that what is shared by the items should be learned anew. */
bool server_estimator_is_due(const struct server_estimator *estimator);
/* Learns it, in one pass over all scores. pause (or NULL) is called every millisecond or so, and may
 * add and remove scores. */
distil_status server_estimator_learn(struct server_estimator *estimator,
                                     void (*pause)(void *context), void *context,
                                     distil_error *error);
/* Learns until nothing much changes any more. progress (or NULL) is called after each pass. */
distil_status server_estimator_settle(struct server_estimator *estimator,
                                      void (*progress)(void *context, int pass, int most),
                                      void *context, distil_error *error);

/* The score expected of a profile for an item, not held within 0..5. */
float server_estimator_predict(struct server_estimator *estimator,
                               const struct server_profile *profile, int item, float similarity);
/* The same for all items at once. similarity: (items), or NULL for none. expected: (items). */
void server_estimator_predict_all(struct server_estimator *estimator,
                                  const struct server_profile *profile, const float *similarity,
                                  float *expected);
/* How far the true mean score of each item (items) may be from the one expected, as a standard
 * deviation: what is not known of its responses, as far as its number of scores tells. */
void server_estimator_doubt_all(struct server_estimator *estimator,
                                const struct server_profile *profile, float *doubts);

/* Cosines of a profile with all items as similarities, in place: how many standard deviations each
 * is over their mean, in 127 steps of 1/16 to either side. */
void server_similarity_standardise(float *cosines, int items);
float server_similarity_quantise(float similarity);

/* The SERVER_COMPONENTS directions in which vectors vary most, found from at most 4096 of them, and
 * the place of each in them: (items, SERVER_COMPONENTS), centred, the first of variance 1. row writes
 * item i's vector (dim). */
distil_status server_components_compute(int items, int dim,
                                        void (*row)(const void *context, int i, float *vector),
                                        const void *context, float *components,
                                        distil_error *error);

#endif

/* estimator_internal.h: what the parts of the estimator share. */
#ifndef SERVER_ESTIMATOR_INTERNAL_H
#define SERVER_ESTIMATOR_INTERNAL_H

#include <pthread.h>

#include "server/estimator.h"

enum {
    /* What an item is known by: 1, its components, the logarithm of how often it was scored beyond what is
       usual. */
    SERVER_FACTS = 1 + SERVER_COMPONENTS + 1,
    SERVER_PRESENT = 4 /* traits of a profile that are 1, in rising order; the others are 0 */
};

/* A score, in 8 bytes. */
struct server_observation {
    float score;
    int8_t similarity; /* in steps of 1/16 */
    uint8_t band, gender, occupation;
};

struct server_observations {
    struct server_observation *each;
    int count, capacity;
    int stale; /* taken in since the response was computed */
};

/* What all items share: a response is normally distributed about mean . facts, a score about the
 * response to the profile's traits and the similarity's share. */
struct server_belief {
    double mean[SERVER_TRAITS][SERVER_FACTS];
    double covariance[SERVER_TRAITS][SERVER_TRAITS];
    double precision[SERVER_TRAITS][SERVER_TRAITS]; /* its inverse */
    double noise;                                   /* variance of scores */
    double similarity;                              /* its share */
    double usual; /* mean over the scored items of the logarithm of how often they were */
};

struct server_estimator {
    int items;
    float *components;                        /* (items, SERVER_COMPONENTS); NULL: not known */
    struct server_observations *observations; /* (items) */
    int64_t count, learned;                   /* scores; scores when belief was last learned */
    bool mean_next;                           /* which step of learning is next */
    bool learning;
    uint8_t *touched; /* (items): scored while learning */
    float *next;      /* (SERVER_TRAITS, items): responses being computed */

    pthread_rwlock_t lock; /* of what follows, for those who predict */
    struct server_belief belief;
    int *counts;      /* (items): scores that its response knows of */
    float *responses; /* (SERVER_TRAITS, items) */
};

/* So many scores are much, for what is expected of an item that has been scored so often. */
#define SERVER_OFTEN 30.0
/* Of an item with so many scores, how often it was scored says half of what it says of one with many: nobody has scored what is new, and
 * that does not make it worse than what everybody passes by. */
#define SERVER_FEW 3.0
/* What is believed before anybody has scored anything, in points of the score: how much scores vary
 * about what is expected, and responses (that of everybody, those of a trait) about their mean; what
 * a near text is worth. */
#define SERVER_FIRST_NOISE 1.0
#define SERVER_FIRST_VARIANCE 0.25
#define SERVER_FIRST_TRAIT_VARIANCE 0.02
#define SERVER_FIRST_SIMILARITY 0.15
/* The same of the mean of responses: the middle of the scale, and a little for being often scored. */
static inline double server_mean_first(int trait, int fact)
{
    if (trait == 0 && fact == 0)
        return 3;
    return trait == 0 && fact == SERVER_FACTS - 1 ? 0.05 : 0;
}

/* The traits that are 1. */
void server_traits_present(const struct server_observation *observation,
                           int present[SERVER_PRESENT]);
void server_facts_fill(const struct server_estimator *estimator, int item,
                       double facts[SERVER_FACTS]);
/* The response expected of an item by its facts alone. */
void server_response_expected(const struct server_belief *belief, const double facts[SERVER_FACTS],
                              double response[SERVER_TRAITS]);
/* What is believed of an item's response after its scores: its mean and, unless NULL, its covariance. */
void server_response_infer(const struct server_belief *belief,
                           const struct server_observations *observations,
                           const double expected[SERVER_TRAITS], double response[SERVER_TRAITS],
                           double covariance[SERVER_TRAITS * SERVER_TRAITS]);
/* Computes an item's response and puts it in its place. */
void server_response_update(struct server_estimator *estimator, int item);
static inline double server_observed_similarity(const struct server_observation *observation)
{
    return observation->similarity / 16.0;
}

#endif

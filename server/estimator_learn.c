/* estimator_learn.c: learning what the responses of all items have in common, from all scores, by
 * expectation and maximisation.
 *
 * Each pass infers every item's response from what is believed so far, and then takes one of two steps,
 * in turn. Both make the scores more likely. One learns how responses follow from an item's facts,
 * taking the responses for given: quick where items have many scores. The other learns what all
 * items share, taking for given how each deviates from it: quick where they have few. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/estimator_internal.h"
#include "server/linear.h"

enum {
    ITEMS_BETWEEN_PAUSES = 32,
    FIRST_SCORES = 8,  /* before which nothing is learned anew */
    SHARE_OF_NEW = 20, /* one in so many scores being new makes it due */
    MOST_PASSES = 60,
    WIDE = SERVER_TRAITS + 1 /* traits, and the similarity */
};

/* How many scores, or items, what was believed before anything was learned counts for. */
static const double scores_of_noise = 10, items_of_covariance = 30, items_of_mean = 5,
                    scores_of_similarity = 50;
/* Variance of what a trait adds to every item's score. */
static const double shared_variance = 0.05;
/* Passes end when noise and covariance change by less, relative to themselves. */
static const double noise_tolerance = 1e-4, covariance_tolerance = 5e-3;

/* What is summed up over all scored items in a pass. */
struct pass {
    int items;
    double often;                                     /* the last of their facts */
    double noise;                                     /* squares left over */
    double covariance[SERVER_TRAITS * SERVER_TRAITS]; /* of responses, given their scores */
    double deviations[SERVER_TRAITS][SERVER_TRAITS];  /* of responses from expected ones */
    double response_facts[SERVER_TRAITS][SERVER_FACTS];
    double facts[SERVER_FACTS * SERVER_FACTS];
    double wide[WIDE * WIDE], wide_rest[WIDE];
    struct server_belief belief; /* learned */
};

/* ---- sums ---- */

static void sum_scores(struct pass *pass, const struct server_belief *belief,
                       const struct server_observations *observations,
                       const double response[SERVER_TRAITS],
                       const double covariance[SERVER_TRAITS * SERVER_TRAITS])
{
    int present[SERVER_PRESENT + 1], i, k, r;
    for (r = 0; r < observations->count; r++) {
        const struct server_observation *seen = &observations->each[r];
        double similarity = server_observed_similarity(seen), score = (double)seen->score;
        double left = score - belief->similarity * similarity, rest = score;
        server_traits_present(seen, present);
        present[SERVER_PRESENT] = SERVER_TRAITS;
        for (i = 0; i < SERVER_PRESENT; i++) {
            int trait = present[i];
            left -= response[trait];
            rest -= response[trait] - belief->mean[trait][0];
            for (k = 0; k < SERVER_PRESENT; k++)
                pass->noise += covariance[trait * SERVER_TRAITS + present[k]];
        }
        pass->noise += left * left;
        for (i = 0; i <= SERVER_PRESENT; i++) {
            double value = i < SERVER_PRESENT ? 1 : similarity;
            for (k = 0; k <= i; k++)
                pass->wide[present[i] * WIDE + present[k]] +=
                    value * (k < SERVER_PRESENT ? 1 : similarity);
            pass->wide_rest[present[i]] += value * rest;
        }
    }
}

static void sum_item(struct pass *pass, const double facts[SERVER_FACTS],
                     const double expected[SERVER_TRAITS], const double response[SERVER_TRAITS],
                     const double covariance[SERVER_TRAITS * SERVER_TRAITS])
{
    int i, k;
    pass->items++;
    pass->often += facts[SERVER_FACTS - 1];
    for (i = 0; i < SERVER_TRAITS * SERVER_TRAITS; i++)
        pass->covariance[i] += covariance[i];
    for (i = 0; i < SERVER_TRAITS; i++) {
        double deviation = response[i] - expected[i];
        for (k = 0; k < SERVER_TRAITS; k++)
            pass->deviations[i][k] += deviation * (response[k] - expected[k]);
        for (k = 0; k < SERVER_FACTS; k++)
            pass->response_facts[i][k] += deviation * facts[k];
    }
    for (i = 0; i < SERVER_FACTS; i++)
        for (k = 0; k <= i; k++)
            pass->facts[i * SERVER_FACTS + k] += facts[i] * facts[k];
}

/* Infers the response of every item, and sums up. */
static void infer_all(struct server_estimator *estimator, struct pass *pass,
                      void (*pause)(void *context), void *context)
{
    double facts[SERVER_FACTS], expected[SERVER_TRAITS], response[SERVER_TRAITS];
    double covariance[SERVER_TRAITS * SERVER_TRAITS];
    int item, i;
    for (item = 0; item < estimator->items; item++) {
        struct server_observations *observations = &estimator->observations[item];
        if (pause && item % ITEMS_BETWEEN_PAUSES == 0)
            pause(context);
        server_facts_fill(estimator, item, facts);
        server_response_expected(&estimator->belief, facts, expected);
        if (observations->count == 0) {
            memcpy(response, expected, sizeof(response));
        } else {
            server_response_infer(&estimator->belief, observations, expected, response, covariance);
            sum_item(pass, facts, expected, response, covariance);
            sum_scores(pass, &estimator->belief, observations, response, covariance);
        }
        for (i = 0; i < SERVER_TRAITS; i++)
            estimator->next[(long)i * estimator->items + item] = (float)response[i];
    }
}

/* ---- steps ---- */

static double first_covariance(int trait)
{
    return trait == 0 ? SERVER_FIRST_VARIANCE : SERVER_FIRST_TRAIT_VARIANCE;
}

/* From sums of squares to a covariance. False, leaving the belief, where that is none. */
static bool take_covariance(struct pass *pass)
{
    struct server_belief *belief = &pass->belief;
    double factor[SERVER_TRAITS * SERVER_TRAITS], weight = items_of_covariance + pass->items;
    int i, k;
    for (i = 0; i < SERVER_TRAITS; i++)
        for (k = 0; k < SERVER_TRAITS; k++) {
            double sum = pass->covariance[i * SERVER_TRAITS + k] + pass->deviations[i][k];
            if (i == k)
                sum += items_of_covariance * first_covariance(i);
            factor[i * SERVER_TRAITS + k] = belief->covariance[i][k] = sum / weight;
        }
    if (!server_cholesky(factor, SERVER_TRAITS))
        return false;
    server_cholesky_invert(factor, SERVER_TRAITS, belief->precision[0]);
    return true;
}

/* How responses follow from facts: a regression of what they deviate by, which is then taken out of
 * the deviations. */
static bool learn_mean(struct pass *pass)
{
    double moved[SERVER_TRAITS][SERVER_FACTS], facts[SERVER_FACTS][SERVER_FACTS];
    int i, j, k, l;
    for (i = 0; i < SERVER_FACTS; i++) /* whole, before it is factorised */
        for (k = 0; k <= i; k++)
            facts[i][k] = facts[k][i] = pass->facts[i * SERVER_FACTS + k];
    for (i = 0; i < SERVER_FACTS; i++)
        pass->facts[i * SERVER_FACTS + i] += items_of_mean;
    if (!server_cholesky(pass->facts, SERVER_FACTS))
        return false;
    for (i = 0; i < SERVER_TRAITS; i++) {
        for (k = 0; k < SERVER_FACTS; k++)
            moved[i][k] = pass->response_facts[i][k] -
                          items_of_mean * (pass->belief.mean[i][k] - server_mean_first(i, k));
        server_cholesky_solve(pass->facts, SERVER_FACTS, moved[i]);
        for (k = 0; k < SERVER_FACTS; k++)
            pass->belief.mean[i][k] += moved[i][k];
    }
    for (i = 0; i < SERVER_TRAITS; i++)
        for (k = 0; k < SERVER_TRAITS; k++)
            for (j = 0; j < SERVER_FACTS; j++) {
                double sum = 0;
                for (l = 0; l < SERVER_FACTS; l++)
                    sum += facts[j][l] * moved[k][l];
                pass->deviations[i][k] += moved[i][j] * (sum - pass->response_facts[k][j]) -
                                          pass->response_facts[i][j] * moved[k][j];
            }
    return true;
}

/* What all items share of each trait, and of the similarity. */
static bool learn_shared(struct pass *pass)
{
    struct server_belief *belief = &pass->belief;
    int i;
    for (i = 0; i < WIDE; i++) {
        double first = i == 0              ? server_mean_first(0, 0)
                       : i < SERVER_TRAITS ? 0
                                           : SERVER_FIRST_SIMILARITY;
        double weight = i == 0              ? 1
                        : i < SERVER_TRAITS ? belief->noise / shared_variance
                                            : scores_of_similarity;
        pass->wide[i * WIDE + i] += weight;
        pass->wide_rest[i] += weight * first;
    }
    if (!server_cholesky(pass->wide, WIDE))
        return false;
    server_cholesky_solve(pass->wide, WIDE, pass->wide_rest);
    for (i = 0; i < SERVER_TRAITS; i++)
        belief->mean[i][0] = pass->wide_rest[i];
    belief->similarity = pass->wide_rest[SERVER_TRAITS];
    return true;
}

/* Sets what is usual anew, without changing what is expected of items with many scores. */
static void set_usual(struct server_belief *belief, const struct pass *pass)
{
    double more;
    int i;
    if (pass->items == 0)
        return;
    more = pass->often / pass->items;
    belief->usual += more;
    for (i = 0; i < SERVER_TRAITS; i++)
        belief->mean[i][0] += more * belief->mean[i][SERVER_FACTS - 1];
}

/* Puts what was learned in the place of what was believed. */
static void take_over(struct server_estimator *estimator, const struct server_belief *belief)
{
    float *before = estimator->responses;
    int i;
    pthread_rwlock_wrlock(&estimator->lock);
    estimator->belief = *belief;
    estimator->responses = estimator->next;
    for (i = 0; i < estimator->items; i++)
        estimator->counts[i] = estimator->observations[i].count;
    pthread_rwlock_unlock(&estimator->lock);
    estimator->next = before;
    for (i = 0; i < estimator->items; i++)
        if (estimator->touched[i])
            server_response_update(estimator, i);
}

/* ---- learning ---- */

bool server_estimator_is_due(const struct server_estimator *estimator)
{
    int64_t come = estimator->count - estimator->learned;
    return come >= FIRST_SCORES && come * SHARE_OF_NEW >= estimator->count;
}

distil_status server_estimator_learn(struct server_estimator *estimator,
                                     void (*pause)(void *context), void *context,
                                     distil_error *error)
{
    struct pass *pass = calloc(1, sizeof(*pass));
    int64_t begun_with = estimator->count;
    bool learned;
    if (!pass)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for learning from scores");
    memset(estimator->touched, 0, (size_t)estimator->items);
    estimator->learning = true;
    infer_all(estimator, pass, pause, context);
    estimator->learning = false;
    pass->belief = estimator->belief;
    pass->belief.noise = (scores_of_noise * SERVER_FIRST_NOISE + pass->noise) /
                         (scores_of_noise + (double)begun_with);
    learned = estimator->mean_next ? learn_mean(pass) : learn_shared(pass);
    learned = learned && take_covariance(pass);
    if (learned)
        set_usual(&pass->belief, pass);
    take_over(estimator, learned ? &pass->belief : &estimator->belief);
    estimator->mean_next = !estimator->mean_next;
    estimator->learned = begun_with;
    free(pass);
    return DISTIL_OK;
}

static double total_variance(const struct server_belief *belief)
{
    double sum = 0;
    int i;
    for (i = 0; i < SERVER_TRAITS; i++)
        sum += belief->covariance[i][i];
    return sum;
}

distil_status server_estimator_settle(struct server_estimator *estimator,
                                      void (*progress)(void *context, int pass, int most),
                                      void *context, distil_error *error)
{
    const struct server_belief *belief = &estimator->belief;
    distil_status status = DISTIL_OK;
    double noise = 0, variance = 0;
    bool settled = false;
    int i;
    for (i = 0; i < MOST_PASSES && !status && !settled; i++) {
        status = server_estimator_learn(estimator, NULL, NULL, error);
        if (i % 2 == 1) { /* both steps are done */
            settled = fabs(belief->noise - noise) < noise_tolerance * noise &&
                      fabs(total_variance(belief) - variance) < covariance_tolerance * variance;
            noise = belief->noise;
            variance = total_variance(belief);
        }
        if (progress)
            progress(context, i + 1, MOST_PASSES);
    }
    return status;
}

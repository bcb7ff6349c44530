/* estimator.c: see estimator.h. Taking scores in, and predicting; estimator_learn.c learns what items
 * share. */
#include "server/estimator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/estimator_internal.h"
#include "server/linear.h"

enum {
    FIRST_CAPACITY = 4,
    /* A response is computed anew once one in so many of its scores is new. */
    FRESHNESS = 1000
};

static void believe_first(struct server_belief *belief)
{
    int i, k;
    memset(belief, 0, sizeof(*belief));
    belief->similarity = SERVER_FIRST_SIMILARITY;
    belief->noise = SERVER_FIRST_NOISE;
    for (i = 0; i < SERVER_TRAITS; i++) {
        for (k = 0; k < SERVER_FACTS; k++)
            belief->mean[i][k] = server_mean_first(i, k);
        belief->covariance[i][i] = i == 0 ? SERVER_FIRST_VARIANCE : SERVER_FIRST_TRAIT_VARIANCE;
        belief->precision[i][i] = 1 / belief->covariance[i][i];
    }
}

distil_status server_estimator_create(int items, const float *components,
                                      struct server_estimator **estimator, distil_error *error)
{
    size_t n = (size_t)items, responses = n * SERVER_TRAITS * sizeof(float);
    size_t described = n * SERVER_COMPONENTS * sizeof(float);
    struct server_estimator *made = calloc(1, sizeof(*made));
    pthread_rwlockattr_t kind;
    int i;
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the estimator");
    pthread_rwlockattr_init(&kind);
    /* who adds scores must not wait until nobody asks any more */
    pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&made->lock, &kind);
    pthread_rwlockattr_destroy(&kind);
    made->items = items;
    made->observations = calloc(n, sizeof(*made->observations));
    made->touched = calloc(n, 1);
    made->counts = calloc(n, sizeof(*made->counts));
    made->responses = malloc(responses);
    made->next = malloc(responses);
    made->components = components ? malloc(described) : NULL;
    if (!made->observations || !made->touched || !made->counts || !made->responses || !made->next ||
        (components && !made->components)) {
        server_estimator_free(made);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for an estimator of %d items",
                           items);
    }
    if (components)
        memcpy(made->components, components, described);
    believe_first(&made->belief);
    for (i = 0; i < items; i++)
        server_response_update(made, i);
    *estimator = made;
    return DISTIL_OK;
}

void server_estimator_free(struct server_estimator *estimator)
{
    int i;
    if (!estimator)
        return;
    for (i = 0; estimator->observations && i < estimator->items; i++)
        free(estimator->observations[i].each);
    free(estimator->observations);
    free(estimator->touched);
    free(estimator->counts);
    free(estimator->responses);
    free(estimator->next);
    free(estimator->components);
    pthread_rwlock_destroy(&estimator->lock);
    free(estimator);
}

/* ---- one item ---- */

static void find_traits(int band, int gender, int occupation, int present[SERVER_PRESENT])
{
    present[0] = 0;
    present[1] = 1 + band;
    present[2] = 1 + SERVER_AGE_BANDS + gender;
    present[3] = 1 + SERVER_AGE_BANDS + SERVER_GENDERS + occupation;
}

void server_traits_present(const struct server_observation *observation,
                           int present[SERVER_PRESENT])
{
    find_traits(observation->band, observation->gender, observation->occupation, present);
}

void server_facts_fill(const struct server_estimator *estimator, int item,
                       double facts[SERVER_FACTS])
{
    const double count = estimator->observations[item].count;
    int i;
    facts[0] = 1;
    for (i = 0; i < SERVER_COMPONENTS; i++)
        facts[1 + i] = estimator->components
                           ? (double)estimator->components[(long)item * SERVER_COMPONENTS + i]
                           : 0;
    facts[SERVER_FACTS - 1] =
        count / (count + SERVER_FEW) * (log1p(count / SERVER_OFTEN) - estimator->belief.usual);
}

void server_response_expected(const struct server_belief *belief, const double facts[SERVER_FACTS],
                              double response[SERVER_TRAITS])
{
    int i, k;
    for (i = 0; i < SERVER_TRAITS; i++) {
        double sum = 0;
        for (k = 0; k < SERVER_FACTS; k++)
            sum += belief->mean[i][k] * facts[k];
        response[i] = sum;
    }
}

void server_response_infer(const struct server_belief *belief,
                           const struct server_observations *observations,
                           const double expected[SERVER_TRAITS], double response[SERVER_TRAITS],
                           double covariance[SERVER_TRAITS * SERVER_TRAITS])
{
    double a[SERVER_TRAITS * SERVER_TRAITS];
    int present[SERVER_PRESENT], i, k, r;
    memcpy(a, belief->precision, sizeof(a));
    for (i = 0; i < SERVER_TRAITS; i++) {
        response[i] = 0;
        for (k = 0; k < SERVER_TRAITS; k++)
            response[i] += belief->precision[i][k] * expected[k];
    }
    for (r = 0; r < observations->count; r++) {
        const struct server_observation *seen = &observations->each[r];
        double rest = (double)seen->score - belief->similarity * server_observed_similarity(seen);
        server_traits_present(seen, present);
        for (i = 0; i < SERVER_PRESENT; i++) {
            for (k = 0; k <= i; k++)
                a[present[i] * SERVER_TRAITS + present[k]] += 1 / belief->noise;
            response[present[i]] += rest / belief->noise;
        }
    }
    if (!server_cholesky(a, SERVER_TRAITS)) {
        /* beyond what double precision can tell apart: as if nothing were known of the item */
        memcpy(response, expected, SERVER_TRAITS * sizeof(*response));
        if (covariance)
            memcpy(covariance, belief->covariance, sizeof(belief->covariance));
        return;
    }
    server_cholesky_solve(a, SERVER_TRAITS, response);
    if (covariance)
        server_cholesky_invert(a, SERVER_TRAITS, covariance);
}

void server_response_update(struct server_estimator *estimator, int item)
{
    struct server_observations *observations = &estimator->observations[item];
    double facts[SERVER_FACTS], expected[SERVER_TRAITS], response[SERVER_TRAITS];
    int i;
    server_facts_fill(estimator, item, facts);
    server_response_expected(&estimator->belief, facts, expected);
    if (observations->count > 0)
        server_response_infer(&estimator->belief, observations, expected, response, NULL);
    else
        memcpy(response, expected, sizeof(response));
    observations->stale = 0;
    pthread_rwlock_wrlock(&estimator->lock);
    estimator->counts[item] = observations->count;
    for (i = 0; i < SERVER_TRAITS; i++)
        estimator->responses[(long)i * estimator->items + item] = (float)response[i];
    pthread_rwlock_unlock(&estimator->lock);
}

/* ---- scores ---- */

static struct server_observation observe(const struct server_score *score)
{
    return (struct server_observation){
        .score = score->score,
        .similarity = (int8_t)lrintf(16 * server_similarity_quantise(score->similarity)),
        .band = (uint8_t)server_age_band(score->profile.age),
        .gender = (uint8_t)score->profile.gender,
        .occupation = (uint8_t)score->profile.occupation,
    };
}

static void refresh(struct server_estimator *estimator, int item)
{
    struct server_observations *observations = &estimator->observations[item];
    if ((int64_t)++observations->stale * FRESHNESS >= observations->count)
        server_response_update(estimator, item);
    if (estimator->learning)
        estimator->touched[item] = 1;
}

distil_status server_estimator_store(struct server_estimator *estimator,
                                     const struct server_score *score, distil_error *error)
{
    struct server_observations *observations = &estimator->observations[score->item];
    if (observations->count == observations->capacity) {
        int capacity = observations->capacity ? observations->capacity + observations->capacity / 2
                                              : FIRST_CAPACITY;
        struct server_observation *each =
            realloc(observations->each, (size_t)capacity * sizeof(*each));
        if (!each)
            return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a score");
        observations->each = each;
        observations->capacity = capacity;
    }
    observations->each[observations->count++] = observe(score);
    estimator->count++;
    return DISTIL_OK;
}

distil_status server_estimator_add(struct server_estimator *estimator,
                                   const struct server_score *score, distil_error *error)
{
    distil_status status = server_estimator_store(estimator, score, error);
    if (!status)
        refresh(estimator, score->item);
    return status;
}

static bool is_same(const struct server_observation *a, const struct server_observation *b)
{
    return a->score == b->score && a->similarity == b->similarity && a->band == b->band &&
           a->gender == b->gender && a->occupation == b->occupation;
}

void server_estimator_remove(struct server_estimator *estimator, const struct server_score *score)
{
    struct server_observations *observations = &estimator->observations[score->item];
    struct server_observation gone = observe(score);
    int i;
    for (i = observations->count - 1; i >= 0; i--)
        if (is_same(&observations->each[i], &gone))
            break;
    if (i < 0)
        return;
    observations->each[i] = observations->each[--observations->count];
    estimator->count--;
    refresh(estimator, score->item);
}

int64_t server_estimator_count(const struct server_estimator *estimator)
{
    return estimator->count;
}

/* ---- predictions ---- */

static void traits_of(const struct server_profile *profile, int present[SERVER_PRESENT])
{
    find_traits(server_age_band(profile->age), profile->gender, profile->occupation, present);
}

float server_estimator_predict(struct server_estimator *estimator,
                               const struct server_profile *profile, int item, float similarity)
{
    int present[SERVER_PRESENT], i;
    double sum = 0;
    traits_of(profile, present);
    pthread_rwlock_rdlock(&estimator->lock);
    for (i = 0; i < SERVER_PRESENT; i++)
        sum += (double)estimator->responses[(long)present[i] * estimator->items + item];
    sum += estimator->belief.similarity * (double)similarity;
    pthread_rwlock_unlock(&estimator->lock);
    return (float)sum;
}

void server_estimator_predict_all(struct server_estimator *estimator,
                                  const struct server_profile *profile, const float *similarity,
                                  float *expected)
{
    int present[SERVER_PRESENT], i;
    const float *all, *band, *gender, *occupation;
    float share;
    traits_of(profile, present);
    pthread_rwlock_rdlock(&estimator->lock);
    all = estimator->responses;
    band = all + (long)present[1] * estimator->items;
    gender = all + (long)present[2] * estimator->items;
    occupation = all + (long)present[3] * estimator->items;
    share = (float)estimator->belief.similarity;
    for (i = 0; i < estimator->items; i++)
        expected[i] = all[i] + band[i] + gender[i] + occupation[i];
    for (i = 0; similarity && i < estimator->items; i++)
        expected[i] += share * similarity[i];
    pthread_rwlock_unlock(&estimator->lock);
}

void server_estimator_doubt_all(struct server_estimator *estimator,
                                const struct server_profile *profile, float *doubts)
{
    int present[SERVER_PRESENT], i, k;
    double variance = 0, ratio;
    traits_of(profile, present);
    pthread_rwlock_rdlock(&estimator->lock);
    for (i = 0; i < SERVER_PRESENT; i++)
        for (k = 0; k < SERVER_PRESENT; k++)
            variance += estimator->belief.covariance[present[i]][present[k]];
    ratio = variance / estimator->belief.noise;
    for (i = 0; i < estimator->items; i++)
        doubts[i] = (float)sqrt(variance / (1 + estimator->counts[i] * ratio));
    pthread_rwlock_unlock(&estimator->lock);
}

/* ---- similarities ---- */

void server_similarity_standardise(float *cosines, int items)
{
    double sum = 0, squares = 0, mean, deviation;
    int i;
    for (i = 0; i < items; i++)
        sum += (double)cosines[i];
    mean = sum / items;
    for (i = 0; i < items; i++)
        squares += ((double)cosines[i] - mean) * ((double)cosines[i] - mean);
    deviation = sqrt(squares / items);
    for (i = 0; i < items; i++)
        cosines[i] =
            deviation > 0
                ? server_similarity_quantise((float)(((double)cosines[i] - mean) / deviation))
                : 0;
}

float server_similarity_quantise(float similarity)
{
    float steps = similarity * 16;
    if (!(steps > -127)) /* NaN too */
        return -127.0F / 16;
    return (steps < 127 ? rintf(steps) : 127.0F) / 16;
}

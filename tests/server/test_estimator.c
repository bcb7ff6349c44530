/* test_estimator.c: what the recommender's estimator learns from scores, and that it forgets what is
 * taken back; small linear algebra; directions in which vectors vary. */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/estimator.h"
#include "server/linear.h"
#include "tests/suite.h"

enum { ITEMS = 60, PEOPLE = 400, EACH = 20 };

/* A generator of its own, so that numbers are the same everywhere. */
static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (double)(*state >> 11) / 9007199254740992.0;
}

static struct server_estimator *make(int items, const float *components)
{
    struct server_estimator *estimator;
    distil_error error;
    ck_assert_msg(server_estimator_create(items, components, &estimator, &error) == DISTIL_OK, "%s",
                  error.message);
    return estimator;
}

static void add(struct server_estimator *estimator, const struct server_score *score)
{
    ck_assert_int_eq(server_estimator_add(estimator, score, NULL), DISTIL_OK);
}

static struct server_profile person(uint64_t *state)
{
    return (struct server_profile){.age = 10 + (int)(70 * uniform(state)),
                                   .gender = (int)(3 * uniform(state)),
                                   .occupation = (int)(SERVER_OCCUPATIONS * uniform(state))};
}

/* What a person truly thinks of an item: one in three items divides the young from the old. */
static double truth(const struct server_profile *profile, int item)
{
    double better = item % 3 == 0 ? (profile->age < 35 ? 1.2 : -1.2) : 0;
    return 2.5 + better + (item % 5 - 2) * 0.3;
}

static struct server_score score_of(uint64_t *state)
{
    struct server_score score = {.profile = person(state), .item = (int)(ITEMS * uniform(state))};
    double noise = uniform(state) + uniform(state) + uniform(state) - 1.5;
    score.score = (float)fmin(5, fmax(0, truth(&score.profile, score.item) + noise));
    return score;
}

/* The mean square of what predictions are wrong by, over people and items that were not asked. */
static double error_of(struct server_estimator *estimator)
{
    uint64_t state = 99;
    double sum = 0;
    for (int i = 0; i < 500; i++) {
        struct server_profile profile = person(&state);
        int item = (int)(ITEMS * uniform(&state));
        double wrong =
            (double)server_estimator_predict(estimator, &profile, item, 0) - truth(&profile, item);
        sum += wrong * wrong / 500;
    }
    return sum;
}

START_TEST(cholesky_solves_and_inverts)
{
    enum { N = 9 };
    double a[N * N], copy[N * N], inverse[N * N], x[N], right[N];
    uint64_t state = 5;
    for (int i = 0; i < N; i++)
        for (int k = 0; k <= i; k++) {
            a[i * N + k] = a[k * N + i] = uniform(&state) - 0.5;
            if (i == k)
                a[i * N + i] += N;
        }
    memcpy(copy, a, sizeof(a));
    for (int i = 0; i < N; i++)
        x[i] = right[i] = uniform(&state);
    ck_assert(server_cholesky(a, N));
    server_cholesky_solve(a, N, x);
    server_cholesky_invert(a, N, inverse);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int k = 0; k < N; k++)
            sum += copy[i * N + k] * x[k];
        ck_assert_double_eq_tol(sum, right[i], 1e-12);
        for (int k = 0; k < N; k++) {
            double product = 0;
            for (int j = 0; j < N; j++)
                product += copy[i * N + j] * inverse[j * N + k];
            ck_assert_double_eq_tol(product, i == k, 1e-12);
        }
    }
    copy[N * 4 + 4] = -1;
    ck_assert(!server_cholesky(copy, N));
    copy[0] = (double)NAN;
    ck_assert(!server_cholesky(copy, N));
}
END_TEST

START_TEST(without_scores_near_texts_come_first)
{
    struct server_estimator *estimator = make(3, NULL);
    const struct server_profile profile = {.age = 30};
    const float similarity[3] = {-1, 2, 0.5F};
    float expected[3], doubts[3];
    server_estimator_predict_all(estimator, &profile, similarity, expected);
    ck_assert(expected[1] > expected[2] && expected[2] > expected[0]);
    ck_assert_float_eq_tol(expected[2],
                           server_estimator_predict(estimator, &profile, 2, similarity[2]), 1e-6F);
    server_estimator_predict_all(estimator, &profile, NULL, expected);
    ck_assert_float_eq(expected[0], expected[1]);
    server_estimator_doubt_all(estimator, &profile, doubts);
    ck_assert_float_gt(doubts[0], 0.3F);
    server_estimator_free(estimator);
    server_estimator_free(NULL);
}
END_TEST

START_TEST(a_score_counts_at_once_and_for_those_alike_most)
{
    struct server_estimator *estimator = make(2, NULL);
    const struct server_profile young = {.age = 20, .gender = 0, .occupation = 18},
                                old = {.age = 60, .gender = 1, .occupation = 3};
    float before = server_estimator_predict(estimator, &young, 0, 0), doubts[2];
    for (int i = 0; i < 5; i++)
        add(estimator, &(struct server_score){.item = 0, .profile = young, .score = 5});
    float liked = server_estimator_predict(estimator, &young, 0, 0);
    ck_assert_float_gt(liked, before + 0.5F);
    ck_assert_float_gt(liked, server_estimator_predict(estimator, &old, 0, 0) + 0.05F);
    ck_assert_float_eq_tol(server_estimator_predict(estimator, &young, 1, 0), before, 1e-5F);
    server_estimator_doubt_all(estimator, &young, doubts);
    ck_assert_float_lt(doubts[0], doubts[1]);
    ck_assert_int_eq(server_estimator_count(estimator), 5);
    server_estimator_free(estimator);
}
END_TEST

START_TEST(what_is_taken_back_leaves_nothing)
{
    struct server_estimator *estimator = make(ITEMS, NULL);
    struct server_score scores[200], stranger = {.item = 3, .score = 1.25F};
    float before[ITEMS], after[ITEMS];
    uint64_t state = 7;
    const struct server_profile profile = {.age = 40, .gender = 1, .occupation = 2};
    for (int i = 0; i < 100; i++) {
        scores[i] = score_of(&state);
        add(estimator, &scores[i]);
    }
    server_estimator_predict_all(estimator, &profile, NULL, before);
    for (int i = 100; i < 200; i++) {
        scores[i] = score_of(&state);
        scores[i].similarity = (float)(i % 7) / 4;
        add(estimator, &scores[i]);
    }
    for (int i = 199; i >= 100; i--)
        server_estimator_remove(estimator, &scores[i]);
    server_estimator_remove(estimator, &stranger); /* never added: nothing happens */
    server_estimator_predict_all(estimator, &profile, NULL, after);
    for (int i = 0; i < ITEMS; i++)
        ck_assert_float_eq_tol(before[i], after[i], 1e-5F);
    ck_assert_int_eq(server_estimator_count(estimator), 100);
    server_estimator_free(estimator);
}
END_TEST

START_TEST(learning_on_the_way_ends_where_learning_at_once_does)
{
    struct server_estimator *online = make(ITEMS, NULL), *at_once = make(ITEMS, NULL);
    uint64_t state = 11;
    double untaught = error_of(online);
    int passes = 0;
    for (int i = 0; i < PEOPLE * EACH; i++) {
        struct server_score score = score_of(&state);
        add(online, &score);
        ck_assert_int_eq(server_estimator_store(at_once, &score, NULL), DISTIL_OK);
        if (server_estimator_is_due(online)) {
            ck_assert_int_eq(server_estimator_learn(online, NULL, NULL, NULL), DISTIL_OK);
            passes++;
        }
    }
    ck_assert_int_eq(server_estimator_settle(at_once, NULL, NULL, NULL), DISTIL_OK);
    ck_assert_int_gt(passes, 50);
    ck_assert_int_lt(passes, 250);
    double by_and_by = error_of(online), settled = error_of(at_once);
    ck_assert_msg(settled < 0.03 && untaught > 0.5, "%g of %g", settled, untaught);
    ck_assert_msg(by_and_by < 1.15 * settled + 0.002, "%g, at once %g", by_and_by, settled);
    server_estimator_free(online);
    server_estimator_free(at_once);
}
END_TEST

/* Items' places tell which of them nobody scored will be liked. */
START_TEST(facts_speak_for_items_without_scores)
{
    float *components = calloc(ITEMS * SERVER_COMPONENTS, sizeof(float));
    struct server_estimator *estimator;
    uint64_t state = 13;
    double known = 0, unknown = 0;
    ck_assert_ptr_nonnull(components);
    for (int i = 0; i < ITEMS; i++) {
        components[i * SERVER_COMPONENTS] = i % 3 == 0 ? 1.4F : -0.7F;
        components[i * SERVER_COMPONENTS + 1] = (float)(i % 5 - 2) / 1.4F;
    }
    estimator = make(ITEMS, components);
    for (int i = 0; i < PEOPLE * EACH; i++) {
        struct server_score score = score_of(&state);
        if (score.item >= 15)
            ck_assert_int_eq(server_estimator_store(estimator, &score, NULL), DISTIL_OK);
    }
    ck_assert_int_eq(server_estimator_settle(estimator, NULL, NULL, NULL), DISTIL_OK);
    for (int i = 0; i < 600; i++) {
        struct server_profile profile = person(&state);
        int item = i % 15;
        double wrong =
            (double)server_estimator_predict(estimator, &profile, item, 0) - truth(&profile, item);
        unknown += wrong * wrong / 600;
        wrong = (double)server_estimator_predict(estimator, &profile, item + 15, 0) -
                truth(&profile, item + 15);
        known += wrong * wrong / 600;
    }
    /* the mean alone would be wrong by 0.66 */
    ck_assert_msg(unknown < 0.1 && known < 0.03, "%g without scores, %g with", unknown, known);
    server_estimator_free(estimator);
    free(components);
}
END_TEST

/* Items that are scored often are liked more here, and one that nobody has scored yet is taken for one of the usual ones. */
START_TEST(without_scores_an_item_is_a_usual_one)
{
    struct server_estimator *estimator = make(ITEMS, NULL);
    const struct server_profile profile = {.age = 30, .gender = 1, .occupation = 3};
    uint64_t state = 23;
    double usual = 0, least, unknown;
    for (int item = 1; item < ITEMS; item++)
        for (int i = 0; i < item * item / 2 + 1; i++) {
            struct server_score score = {.profile = person(&state), .item = item};
            score.score = (float)(2.5 + item * 1.5 / ITEMS + uniform(&state) - 0.5);
            ck_assert_int_eq(server_estimator_store(estimator, &score, NULL), DISTIL_OK);
        }
    ck_assert_int_eq(server_estimator_settle(estimator, NULL, NULL, NULL), DISTIL_OK);
    for (int item = 1; item < ITEMS; item++)
        usual += (double)server_estimator_predict(estimator, &profile, item, 0) / (ITEMS - 1);
    least = (double)server_estimator_predict(estimator, &profile, 1, 0);
    unknown = (double)server_estimator_predict(estimator, &profile, 0, 0);
    ck_assert_msg(fabs(unknown - usual) < 0.15 && unknown > least,
                  "%g without scores, %g with few, %g of all", unknown, least, usual);
    server_estimator_free(estimator);
}
END_TEST

/* ---- many at once ---- */

struct reading {
    struct server_estimator *estimator;
    atomic_bool stop;
    atomic_long read;
};

static void *read_on(void *argument)
{
    struct reading *reading = argument;
    const struct server_profile profile = {.age = 20, .gender = 1, .occupation = 4};
    float expected[ITEMS], doubts[ITEMS];
    while (!atomic_load(&reading->stop)) {
        server_estimator_predict_all(reading->estimator, &profile, NULL, expected);
        server_estimator_doubt_all(reading->estimator, &profile, doubts);
        for (int i = 0; i < ITEMS; i++)
            if (!isfinite(expected[i]) || !(doubts[i] > 0))
                return NULL;
        atomic_fetch_add(&reading->read, 1);
    }
    return reading;
}

/* A pause in learning, in which a score comes. */
static void score_one(void *context)
{
    uint64_t state = 17;
    struct server_score score = score_of(&state);
    add(context, &score);
}

START_TEST(it_is_asked_while_it_learns)
{
    struct reading reading = {.estimator = make(ITEMS, NULL)};
    pthread_t readers[2];
    uint64_t state = 19;
    int64_t before;
    void *ended;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_on, &reading), 0);
    for (int i = 0; i < 1000 || atomic_load(&reading.read) < 10; i++) {
        struct server_score score = score_of(&state);
        add(reading.estimator, &score);
        if (i % 100 == 99) {
            before = server_estimator_count(reading.estimator);
            ck_assert_int_eq(
                server_estimator_learn(reading.estimator, score_one, reading.estimator, NULL),
                DISTIL_OK);
            ck_assert_int_gt(server_estimator_count(reading.estimator), before);
        }
    }
    atomic_store(&reading.stop, true);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_join(readers[i], &ended), 0);
        ck_assert_ptr_nonnull(ended);
    }
    server_estimator_free(reading.estimator);
}
END_TEST

/* ---- directions ---- */

struct vectors {
    int dim;
    const float *values;
};

static void row_of(const void *context, int i, float *vector)
{
    const struct vectors *vectors = context;
    memcpy(vector, vectors->values + i * vectors->dim, (size_t)vectors->dim * sizeof(float));
}

START_TEST(components_are_where_vectors_vary)
{
    enum { N = 300, DIM = 40 };
    static float values[N * DIM];
    float components[N * SERVER_COMPONENTS];
    struct vectors vectors = {DIM, values};
    uint64_t state = 23;
    double variance[SERVER_COMPONENTS] = {0}, mean = 0, along = 0;
    for (int i = 0; i < N; i++) {
        double large = 6 * (uniform(&state) - 0.5), small = uniform(&state) - 0.5;
        for (int k = 0; k < DIM; k++)
            values[i * DIM + k] = 3 + (float)(k % 2 ? large : small);
    }
    ck_assert_int_eq(server_components_compute(N, DIM, row_of, &vectors, components, NULL),
                     DISTIL_OK);
    for (int i = 0; i < N; i++)
        mean += (double)components[i * SERVER_COMPONENTS] / N;
    ck_assert_double_eq_tol(mean, 0, 1e-4);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < SERVER_COMPONENTS; k++) {
            double x = (double)components[i * SERVER_COMPONENTS + k];
            variance[k] += x * x / N;
            along += k == 0 ? x * (double)values[i * DIM + 1] / N : 0;
        }
    ck_assert_double_eq_tol(variance[0], 1, 1e-3);
    ck_assert_double_eq_tol(fabs(along), 6 / sqrt(12), 0.2); /* the larger of the two */
    ck_assert_double_eq_tol(variance[1], 1.0 / 36, 5e-3);
    ck_assert_double_lt(variance[2], 1e-6); /* there are but two */
}
END_TEST

START_TEST(components_of_little)
{
    static const float same[6] = {1, 2, 1, 2, 1, 2};
    float components[3 * SERVER_COMPONENTS];
    struct vectors vectors = {2, same}, narrow = {1, same};
    ck_assert_int_eq(server_components_compute(3, 2, row_of, &vectors, components, NULL),
                     DISTIL_OK);
    for (int i = 0; i < 3 * SERVER_COMPONENTS; i++)
        ck_assert_float_eq(components[i], 0);
    ck_assert_int_eq(server_components_compute(1, 1, row_of, &narrow, components, NULL), DISTIL_OK);
    ck_assert_float_eq(components[0], 0);
}
END_TEST

START_TEST(similarities_are_standardised)
{
    float cosines[4] = {0.1F, 0.2F, 0.3F, 0.4F}, alike[2] = {0.5F, 0.5F};
    server_similarity_standardise(cosines, 4);
    ck_assert_float_eq_tol(cosines[0], -1.3125F, 0.07F);
    ck_assert_float_eq(cosines[3], -cosines[0]);
    ck_assert_float_eq(cosines[3], server_similarity_quantise(cosines[3]));
    server_similarity_standardise(alike, 2);
    ck_assert_float_eq(alike[0], 0);
    ck_assert_float_eq(server_similarity_quantise(1e30F), 127.0F / 16);
    ck_assert_float_eq(server_similarity_quantise(NAN), -127.0F / 16);
}
END_TEST

/* ---- profiles ---- */

START_TEST(profiles_in_words)
{
    const struct server_profile profile = {.age = 33, .gender = 1, .occupation = 12};
    char text[SERVER_PROFILE_TEXT], small[8];
    distil_error error;
    server_profile_render("{age}, {gender}, {occupation}!", &profile, text, sizeof(text));
    ck_assert_str_eq(text, "33, woman, no occupation!");
    server_profile_render("{gender}{gender}", &profile, small, sizeof(small));
    ck_assert_str_eq(small, "womanwo");
    ck_assert_int_eq(server_template_check(server_profile_template, &error), DISTIL_OK);
    ck_assert_int_eq(server_template_check("{name}", &error), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message, "byte 0"));
    ck_assert_int_eq(server_template_check("of {age} or so}", &error), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message, "byte 14"));
    ck_assert_int_eq(server_template_check("", &error), DISTIL_FORMAT);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ck_assert_int_eq(server_template_check(text, &error), DISTIL_FORMAT);
}
END_TEST

START_TEST(bands_and_names)
{
    ck_assert_int_eq(server_age_band(0), 0);
    ck_assert_int_eq(server_age_band(17), 0);
    ck_assert_int_eq(server_age_band(18), 1);
    ck_assert_int_eq(server_age_band(130), SERVER_AGE_BANDS - 1);
    for (int i = 0; i < SERVER_OCCUPATIONS; i++)
        ck_assert_int_eq(server_occupation_find(server_occupation_name(i)), i);
    for (int i = 0; i < SERVER_GENDERS; i++)
        ck_assert_int_eq(server_gender_find(server_gender_name(i)), i);
    ck_assert_int_eq(server_occupation_find("Writer"), -1);
    ck_assert_ptr_null(server_occupation_name(SERVER_OCCUPATIONS));
    ck_assert_ptr_null(server_gender_name(-1));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        cholesky_solves_and_inverts,
        without_scores_near_texts_come_first,
        a_score_counts_at_once_and_for_those_alike_most,
        what_is_taken_back_leaves_nothing,
        learning_on_the_way_ends_where_learning_at_once_does,
        facts_speak_for_items_without_scores,
        without_scores_an_item_is_a_usual_one,
        it_is_asked_while_it_learns,
        components_are_where_vectors_vary,
        components_of_little,
        similarities_are_standardised,
        profiles_in_words,
        bands_and_names,
    };
    return run_tests("estimator", 60, tests, sizeof(tests) / sizeof(*tests));
}

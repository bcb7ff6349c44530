/* test_drift_columns.c: which columns have drifted, and when all has, on samples made for it. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "server/drift_columns.h"
#include "tests/suite.h"

enum { ROWS = 400, DIMENSIONS = 10, FEATURES = SERVER_DRIFT_EMBEDDING + DIMENSIONS };

/* Values from 0 to 1, evenly, and the same moved. */
struct fixture {
    double still[ROWS], moved[ROWS], nudged[ROWS];
    struct server_drift_sample reference[FEATURES], current[FEATURES];
    struct server_drift_finding findings[SERVER_DRIFT_COLUMNS];
};

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    for (int i = 0; i < ROWS; i++) {
        f->still[i] = (i + 0.5) / ROWS;
        f->moved[i] = f->still[i] + 0.5;
        f->nudged[i] = f->still[i] + 0.1; /* p is 0.037 */
    }
    for (int i = 0; i < FEATURES; i++)
        f->reference[i] = f->current[i] = (struct server_drift_sample){f->still, ROWS};
    /* a label has few values */
    f->reference[SERVER_DRIFT_LABEL] = f->current[SERVER_DRIFT_LABEL] =
        (struct server_drift_sample){f->still, 1};
}

static struct server_drift_verdict judge(struct fixture *f, int features, int labels)
{
    const struct server_drift_sides sides = {
        .reference = f->reference, .current = f->current, .features = features};
    return server_drift_judge(&sides, 2, labels, f->findings);
}

static void move(struct fixture *f, int feature)
{
    f->current[feature].values = f->moved;
}

START_TEST(what_is_alike_has_not_drifted)
{
    struct fixture f;
    struct server_drift_verdict verdict;
    set_up(&f);
    verdict = judge(&f, FEATURES, 3);
    ck_assert_int_eq(verdict.counted, 5);
    ck_assert_int_eq(verdict.drifted, 0);
    ck_assert_int_eq(verdict.confirmed, 0);
    ck_assert(!verdict.data_drifted);
    ck_assert_double_eq_tol(f.findings[SERVER_DRIFT_TOKENS].reference_mean, 0.5, 1e-12);
    ck_assert(isnan(f.findings[SERVER_DRIFT_TOKENS].p_value));
    ck_assert_double_eq_tol(f.findings[SERVER_DRIFT_EMBEDDING].cosine_distance, 0, 1e-12);
}
END_TEST

/* A column is there where both sides have values enough, and an embedding where there are features for it. */
START_TEST(columns_without_values_are_left_out)
{
    struct fixture f;
    set_up(&f);
    f.current[SERVER_DRIFT_UNKNOWN].count = 1;
    ck_assert_int_eq(judge(&f, SERVER_DRIFT_EMBEDDING, 3).counted, 3);
    ck_assert(!f.findings[SERVER_DRIFT_LABEL].present);
    ck_assert(!f.findings[SERVER_DRIFT_UNKNOWN].present);
    ck_assert(!f.findings[SERVER_DRIFT_EMBEDDING].present);
    ck_assert(isnan(f.findings[SERVER_DRIFT_EMBEDDING].cosine_distance));
    for (int i = 0; i < SERVER_DRIFT_EMBEDDING; i++)
        f.reference[i].count = 0;
    ck_assert(!judge(&f, SERVER_DRIFT_EMBEDDING, 3).data_drifted);
}
END_TEST

START_TEST(entropy_of_two_labels_is_not_counted)
{
    struct fixture f;
    struct server_drift_verdict verdict;
    set_up(&f);
    move(&f, SERVER_DRIFT_ENTROPY);
    verdict = judge(&f, FEATURES, 2);
    ck_assert_int_eq(verdict.counted, 4);
    ck_assert_int_eq(verdict.drifted, 0);
    ck_assert(f.findings[SERVER_DRIFT_ENTROPY].present && f.findings[SERVER_DRIFT_ENTROPY].drifted);
    verdict = judge(&f, FEATURES, 3);
    ck_assert_int_eq(verdict.drifted, 1);
    ck_assert_int_eq(verdict.confirmed, 1);
}
END_TEST

/* Of five columns, three are at least half, two are not. */
START_TEST(data_drift_with_half_of_their_columns)
{
    struct fixture f;
    set_up(&f);
    move(&f, SERVER_DRIFT_CONFIDENCE);
    move(&f, SERVER_DRIFT_TOKENS);
    ck_assert(!judge(&f, FEATURES, 3).data_drifted);
    move(&f, SERVER_DRIFT_UNKNOWN);
    ck_assert_int_eq(judge(&f, FEATURES, 3).confirmed, 3);
    ck_assert(judge(&f, FEATURES, 3).data_drifted);
}
END_TEST

/* What chance brings about now and then drifts, by its test, and is not confirmed among several columns. */
START_TEST(chance_is_not_confirmed)
{
    struct fixture f;
    struct server_drift_verdict verdict;
    const struct server_drift_finding *finding = &f.findings[SERVER_DRIFT_CONFIDENCE];
    set_up(&f);
    f.current[SERVER_DRIFT_CONFIDENCE].values = f.nudged;
    verdict = judge(&f, FEATURES, 3);
    ck_assert_double_lt(finding->p_value, 0.05);
    ck_assert_double_gt(finding->p_value, 0.05 / 5);
    ck_assert_int_eq(verdict.drifted, 1);
    ck_assert_int_eq(verdict.confirmed, 0);
    for (int i = SERVER_DRIFT_ENTROPY; i < SERVER_DRIFT_EMBEDDING; i++)
        f.current[i].count = 0;
    verdict = judge(&f, SERVER_DRIFT_EMBEDDING, 3); /* it is the only one */
    ck_assert_int_eq(verdict.counted, 1);
    ck_assert_int_eq(verdict.confirmed, 1);
}
END_TEST

START_TEST(an_embedding_drifts_with_a_fifth_of_its_dimensions)
{
    struct fixture f;
    const struct server_drift_finding *finding = &f.findings[SERVER_DRIFT_EMBEDDING];
    set_up(&f);
    for (int moved = 1; moved <= 3; moved++) {
        move(&f, SERVER_DRIFT_EMBEDDING + moved);
        judge(&f, FEATURES, 3);
        ck_assert_int_eq(finding->dimensions, DIMENSIONS);
        ck_assert_double_eq_tol(finding->score, moved / (double)DIMENSIONS, 1e-12);
        ck_assert_int_eq(finding->drifted, moved > 2);
        ck_assert_int_eq(finding->confirmed, moved > 2);
    }
    ck_assert_double_gt(finding->cosine_distance, 0.01);
}
END_TEST

START_TEST(a_mean_of_nothing_is_none)
{
    ck_assert(isnan(server_drift_mean((struct server_drift_sample){NULL, 0})));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_is_alike_has_not_drifted,
        columns_without_values_are_left_out,
        entropy_of_two_labels_is_not_counted,
        data_drift_with_half_of_their_columns,
        chance_is_not_confirmed,
        an_embedding_drifts_with_a_fifth_of_its_dimensions,
        a_mean_of_nothing_is_none,
    };
    return run_tests("drift_columns", 10, tests, sizeof(tests) / sizeof(*tests));
}

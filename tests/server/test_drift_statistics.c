/* The statistics of drift are Evidently's: tests/golden/drift.txt, made by make_drift.py. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/drift_p_values.h"
#include "server/drift_statistics.h"
#include "tests/suite.h"

enum { MAX_CASES = 96, MAX_COLUMNS = 16 };

/* Figures agree to so much of their value, and p-values to so much at all: Evidently's are 1 minus
 * what may be nearly 1. */
static const double relative = 1e-9, absolute = 1e-13;

struct golden_case {
    char name[64];
    bool drifted; /* by the test that is chosen for it */
};

static FILE *golden;
static struct golden_case cases[MAX_CASES];
static int case_count;

static void open_golden(void)
{
    golden = golden_file("drift.txt");
}

static void close_golden(void)
{
    fclose(golden);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The next line's sample, sorted; to be freed. */
static struct server_drift_sample read_sample(size_t count)
{
    double *values = calloc(count, sizeof *values), step, scale, shift;
    char word[16];
    ck_assert_ptr_nonnull(values);
    ck_assert_int_eq(fscanf(golden, "%15s", word), 1);
    if (strcmp(word, "rule") == 0) {
        ck_assert_int_eq(fscanf(golden, "%lf %lf %lf", &step, &scale, &shift), 3);
        for (size_t i = 0; i < count; i++)
            values[i] = fmod((double)i * step, 1) * scale + shift;
    } else {
        ck_assert_str_eq(word, "rows");
        for (size_t i = 0; i < count; i++)
            ck_assert_int_eq(fscanf(golden, "%lf", &values[i]), 1);
    }
    qsort(values, count, sizeof *values, compare);
    return (struct server_drift_sample){values, count};
}

static void free_sample(struct server_drift_sample sample)
{
    union {
        const double *from;
        double *to;
    } values = {sample.values};
    free(values.to);
}

static enum server_drift_kind kind_of(const char *name)
{
    return strcmp(name, "numbers") == 0    ? SERVER_DRIFT_NUMBERS
           : strcmp(name, "integers") == 0 ? SERVER_DRIFT_INTEGERS
                                           : SERVER_DRIFT_CATEGORIES;
}

static enum server_drift_test test_of(const char *name)
{
    int test = 0;
    while (test < SERVER_DRIFT_TESTS &&
           strcmp(name, server_drift_test_name((enum server_drift_test)test)) != 0)
        test++;
    ck_assert_msg(test < SERVER_DRIFT_TESTS, "no test is called %s", name);
    return (enum server_drift_test)test;
}

static void check_score(const char *name, enum server_drift_kind kind,
                        struct server_drift_sample reference, struct server_drift_sample current)
{
    char word[32];
    double expected;
    int drifted;
    ck_assert_int_eq(fscanf(golden, "%31s %lf %d", word, &expected, &drifted), 3);
    enum server_drift_test test = test_of(word);
    double found = server_drift_score(test, kind, reference, current);
    ck_assert_msg(fabs(found - expected) <= absolute + relative * fabs(expected),
                  "%s: %s is %.17g, expected %.17g", name, word, found, expected);
    ck_assert_msg(server_drift_exceeds(test, found) == (drifted == 1), "%s: %s", name, word);
    if (test == server_drift_choose(kind, reference, current))
        cases[case_count - 1].drifted = drifted == 1;
}

static void check_case(void)
{
    struct golden_case *now = &cases[case_count++];
    char kind[16], word[32];
    size_t rows, others;
    int scores = 0;
    long before;
    ck_assert_int_le(case_count, MAX_CASES);
    ck_assert_int_eq(fscanf(golden, "%63s %15s %zu %zu", now->name, kind, &rows, &others), 4);
    struct server_drift_sample reference = read_sample(rows), current = read_sample(others);
    ck_assert_int_eq(fscanf(golden, " default %31s", word), 1);
    ck_assert_msg(server_drift_choose(kind_of(kind), reference, current) == test_of(word),
                  "%s: expected the test %s", now->name, word);
    for (;;) {
        before = ftell(golden);
        if (fscanf(golden, "%31s", word) != 1 || strcmp(word, "score") != 0)
            break;
        check_score(now->name, kind_of(kind), reference, current);
        scores++;
    }
    fseek(golden, before, SEEK_SET);
    ck_assert_int_ge(scores, 2);
    free_sample(reference);
    free_sample(current);
}

/* A table's share of drifted columns is that of the cases it is made of. */
static void check_table(void)
{
    char word[64];
    int columns = 0, drifted = 0, expected;
    double share;
    while (fscanf(golden, "%63s", word) == 1 && strcmp(word, "share") != 0) {
        int i = 0;
        while (i < case_count && strcmp(cases[i].name, word) != 0)
            i++;
        ck_assert_msg(i < case_count, "no case is called %s", word);
        columns++;
        drifted += cases[i].drifted;
    }
    ck_assert_int_eq(fscanf(golden, "%lf %d", &share, &expected), 2);
    ck_assert_msg(fabs((double)drifted / columns - share) < 1e-12, "%d of %d drifted, expected %g",
                  drifted, columns, share);
}

/* scipy's distributions, at points where each way of computing them is taken. */
static void check_distribution(bool chi_squared)
{
    double n, x, expected, found;
    ck_assert_int_eq(fscanf(golden, "%lf %lf %lf", &n, &x, &expected), 3);
    found = chi_squared ? server_drift_chi_squared_p(x, (size_t)n) : server_drift_kolmogorov(n, x);
    ck_assert_msg(fabs(found - expected) <= 1e-12 + relative * expected,
                  "%s %g, %g: %.17g, expected %.17g", chi_squared ? "chi2" : "kstwo", n, x, found,
                  expected);
}

START_TEST(equals_evidently_and_scipy)
{
    char word[16];
    int tables = 0, points = 0;
    case_count = 0;
    while (fscanf(golden, "%15s", word) == 1) {
        if (strcmp(word, "case") == 0) {
            check_case();
        } else if (strcmp(word, "table") == 0) {
            check_table();
            tables++;
        } else {
            check_distribution(strcmp(word, "chi2") == 0);
            points++;
        }
    }
    ck_assert_int_eq(case_count, 54);
    ck_assert_int_eq(tables, 6);
    ck_assert_int_eq(points, 109);
}
END_TEST

/* Against the exact distribution by another way: all paths counted one by one. */
static double share_of_paths(int n, int m, int steps)
{
    long far = 0, all = 0;
    int divisor = (int)server_drift_gcd((size_t)n, (size_t)m);
    for (long path = 0; path < 1L << (n + m); path++) {
        int x = 0, y = 0, most = 0;
        if (__builtin_popcountl((unsigned long)path) != n)
            continue;
        for (int i = 0; i < n + m; i++) {
            *(path >> i & 1 ? &x : &y) += 1;
            int distance = abs(x * (m / divisor) - y * (n / divisor));
            most = distance > most ? distance : most;
        }
        all++;
        far += most >= steps;
    }
    return (double)far / (double)all;
}

START_TEST(counts_paths_exactly)
{
    const int sizes[][2] = {{1, 1}, {3, 5}, {6, 6}, {8, 4}, {7, 8}, {1, 9}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int n = sizes[i][0], m = sizes[i][1];
        int most = n * m / (int)server_drift_gcd((size_t)n, (size_t)m);
        for (int steps = 1; steps <= most; steps++)
            ck_assert_msg(fabs(server_drift_ks_p(steps, (size_t)n, (size_t)m) -
                               share_of_paths(n, m, steps)) < 1e-12,
                          "%d and %d rows, %d steps", n, m, steps);
    }
}
END_TEST

START_TEST(survives_extremes)
{
    const double same[] = {1, 1, 1}, low[] = {-1e300, 0, 1e300};
    const struct server_drift_sample a = {same, 3}, b = {low, 3}, one = {same, 1};
    ck_assert(server_drift_score(SERVER_DRIFT_KS, SERVER_DRIFT_NUMBERS, a, a) == 1);
    ck_assert(server_drift_score(SERVER_DRIFT_KS, SERVER_DRIFT_NUMBERS, one, a) == 1);
    ck_assert(server_drift_score(SERVER_DRIFT_Z, SERVER_DRIFT_NUMBERS, a, one) == 1);
    ck_assert(server_drift_score(SERVER_DRIFT_PSI, SERVER_DRIFT_NUMBERS, a, a) == 0);
    ck_assert(server_drift_score(SERVER_DRIFT_JENSEN_SHANNON, SERVER_DRIFT_NUMBERS, a, a) == 0);
    ck_assert(server_drift_score(SERVER_DRIFT_WASSERSTEIN, SERVER_DRIFT_NUMBERS, a, a) == 0);
    ck_assert(server_drift_score(SERVER_DRIFT_JENSEN_SHANNON, SERVER_DRIFT_NUMBERS, a, b) > 0.5);
    ck_assert(server_drift_ks_distance(a, b) > 0.3);
    ck_assert(server_drift_chi_squared_p(1e6, 3) == 0);
    ck_assert(server_drift_chi_squared_p(0, 3) == 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("drift_statistics");
    TCase *golden_case = tcase_create("golden");
    tcase_add_checked_fixture(golden_case, open_golden, close_golden);
    tcase_add_test(golden_case, equals_evidently_and_scipy);
    tcase_set_timeout(golden_case, 60);
    suite_add_tcase(suite, golden_case);
    TCase *exact = tcase_create("exact");
    tcase_add_test(exact, counts_paths_exactly);
    tcase_add_test(exact, survives_extremes);
    tcase_set_timeout(exact, 60);
    suite_add_tcase(suite, exact);
    return run_suite(suite);
}

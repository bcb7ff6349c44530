/* The figures of `distild evaluate` are scikit-learn's: tests/golden/metrics.txt, made by
 * make_metrics.py. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suite.h"
#include "tools/metrics.h"

static FILE *golden;

static void open_golden(void)
{
    golden = golden_file("metrics.txt");
}

static void close_golden(void)
{
    fclose(golden);
}

static void expect_word(const char *expected)
{
    char word[32];
    ck_assert_int_eq(fscanf(golden, "%31s", word), 1);
    ck_assert_str_eq(word, expected);
}

static long read_long(void)
{
    long value;
    ck_assert_int_eq(fscanf(golden, "%ld", &value), 1);
    return value;
}

/* The golden figure that follows must be ours, to the rounding of sums in another order. */
static void expect_figure(double found, const char *what, const char *name)
{
    double expected;
    ck_assert_int_eq(fscanf(golden, "%lf", &expected), 1);
    ck_assert_msg(fabs(found - expected) <= 1e-14, "%s: %s is %.17g, expected %.17g", name, what,
                  found, expected);
}

static void expect_scores(const struct tool_scores *scores, const char *which, const char *name)
{
    expect_word(which);
    expect_figure(scores->precision, "precision", name);
    expect_figure(scores->recall, "recall", name);
    expect_figure(scores->f1, "F1", name);
}

static void check_case(const char *name, int labels, int rows)
{
    struct tool_metrics metrics;
    int *expected = calloc((size_t)rows, sizeof *expected);
    ck_assert_ptr_nonnull(expected);
    ck_assert_int_eq(tool_metrics_create(&metrics, labels, NULL), DISTIL_OK);
    expect_word("expected");
    for (int i = 0; i < rows; i++)
        expected[i] = (int)read_long();
    expect_word("predicted");
    for (int i = 0; i < rows; i++)
        tool_metrics_add(&metrics, expected[i], (int)read_long());
    tool_metrics_finish(&metrics);
    ck_assert_int_eq(metrics.rows, rows);
    expect_word("matrix");
    for (int i = 0; i < labels * labels; i++)
        ck_assert_int_eq(metrics.matrix[i], read_long());
    expect_word("accuracy");
    expect_figure(metrics.accuracy, "accuracy", name);
    for (int i = 0; i < labels; i++) {
        expect_scores(&metrics.label[i], "label", name);
        ck_assert_int_eq(metrics.support[i], read_long());
    }
    expect_scores(&metrics.micro, "micro", name);
    expect_scores(&metrics.macro, "macro", name);
    expect_scores(&metrics.weighted, "weighted", name);
    tool_metrics_free(&metrics);
    free(expected);
}

START_TEST(equals_scikit_learn)
{
    char name[64];
    int labels, rows, cases = 0;
    while (fscanf(golden, " case %63s %d %d", name, &labels, &rows) == 3) {
        check_case(name, labels, rows);
        cases++;
    }
    ck_assert_int_eq(cases, 8);
    ck_assert(feof(golden));
}
END_TEST

START_TEST(refuses_no_labels_and_too_many)
{
    struct tool_metrics metrics;
    distil_error error;
    ck_assert_int_eq(tool_metrics_create(&metrics, 0, &error), DISTIL_INVALID);
    ck_assert_int_eq(tool_metrics_create(&metrics, 1 << 30, &error), DISTIL_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "1073741824"));
    tool_metrics_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *golden_case = tcase_create("golden");
    tcase_add_checked_fixture(golden_case, open_golden, close_golden);
    tcase_add_test(golden_case, equals_scikit_learn);
    suite_add_tcase(suite, golden_case);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, refuses_no_labels_and_too_many);
    suite_add_tcase(suite, limits);
    return run_suite(suite);
}

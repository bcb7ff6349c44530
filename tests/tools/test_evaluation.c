/* test_evaluation.c: answers compared as SQuAD's evaluate-v2.0.py compares them, and correlations as SciPy computes them. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suite.h"
#include "tools/evaluation.h"

START_TEST(answers_are_compared_as_squad_does)
{
    static const struct {
        const char *found, *right;
        double exact, f1;
    } cases[] = {
        {"Ada Brunner", "Ada Brunner", 1, 1},
        {"the  ADA, Brunner!", "Ada Brunner", 1, 1},
        {"a dog", "an dog", 1, 1},
        {"theatre", "the atre", 0, 0},
        {"Brunner Ada", "Ada Brunner", 0, 1},
        {"Ada", "Ada Brunner", 0, 2.0 / 3},
        {"to be or not to be", "to be", 0, 0.5},
        {"well-known", "wellknown", 1, 1},
        {"1,000", "1000", 1, 1},
        {"", "", 1, 1},
        {"the", "", 1, 1},
        {"x", "", 0, 0},
        {"", "x", 0, 0},
        {"\xC3\x84pfel", "\xC3\xA4pfel", 1, 1},              /* capital A with dots, and small */
        {"five\xC2\xA0kilometres", "five kilometres", 1, 1}, /* a space that does not break */
        {"the\xE2\x80\x93"
         "end",
         "\xE2\x80\x93"
         "end",
         1, 1}, /* a dash is no part of a word */
        {"caf\xC3\xA9 a", "caf\xC3\xA9", 1, 1},
        {"\xE6\x9D\xB1\xE4\xBA\xAC", "\xE6\x9D\xB1\xE4\xBA\xAC", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double exact = -1, f1 = -1;
        ck_assert(tool_squad_compare(cases[i].found, strlen(cases[i].found), cases[i].right,
                                     strlen(cases[i].right), &exact, &f1));
        ck_assert_msg(exact == cases[i].exact && fabs(f1 - cases[i].f1) < 1e-12,
                      "\"%s\" and \"%s\": %g %g", cases[i].found, cases[i].right, exact, f1);
    }
}
END_TEST

START_TEST(correlations_are_those_of_scipy)
{
    /* scipy.stats.pearsonr and spearmanr of these */
    static const double x[] = {1, 2, 2, 4, 5, 5, 7, 0.5},
                        y[] = {0.1, 0.4, 0.2, 0.2, 0.9, 0.6, 0.8, 0.3},
                        same[8] = {3, 3, 3, 3, 3, 3, 3, 3};
    struct tool_pairs pairs;
    ck_assert(tool_pairs_correlate(x, y, 8, &pairs));
    ck_assert_double_eq_tol(pairs.pearson, 0.7907449818404818, 1e-12);
    ck_assert_double_eq_tol(pairs.spearman, 0.7212253669786947, 1e-12);
    ck_assert(tool_pairs_correlate(x, x, 8, &pairs));
    ck_assert_double_eq_tol(pairs.pearson, 1, 1e-12);
    ck_assert_double_eq_tol(pairs.spearman, 1, 1e-12);
    ck_assert(tool_pairs_correlate(x, same, 8, &pairs));
    ck_assert(isnan(pairs.pearson) && isnan(pairs.spearman));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {answers_are_compared_as_squad_does,
                                  correlations_are_those_of_scipy};
    return run_tests("evaluation", 10, tests, sizeof tests / sizeof *tests);
}

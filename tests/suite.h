/* suite.h: how test programs run their tests. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stddef.h>

/* Runs a suite, as loud as CK_VERBOSITY says, and frees it. Returns what main returns. */
int run_suite(Suite *suite);

/* Runs a suite of one test case of that name, in which each test may take so many seconds. Returns
 * what main returns. */
int run_tests(const char *name, double seconds, const TTest *const *tests, size_t count);

void pause_ms(long ms);

#endif

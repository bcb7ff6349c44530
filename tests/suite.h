/* suite.h: how test programs run their tests. */
#ifndef TESTS_SUITE_H
#define TESTS_SUITE_H

#include <check.h>
#include <stddef.h>
#include <stdio.h>

/* Runs a suite, as loud as CK_VERBOSITY says, and frees it. Returns what main returns. */
int run_suite(Suite *suite);

/* Runs a suite of one test case of that name, in which each test may take so many seconds. Returns
 * what main returns. */
int run_tests(const char *name, double seconds, const TTest *const *tests, size_t count);

/* Opens a file of tests/golden to be read; fails the test where it cannot. */
FILE *golden_file(const char *name);

void pause_ms(long ms);

/* Milliseconds that something may take which takes next to none: longer where Check's own limits are, as under sanitizers. */
long patience_ms(void);

/* Waits until a condition holds, which is looked at again and again; fails the test where it never does. */
#define wait_until(condition)                                                                      \
    do {                                                                                           \
        long left_ms = patience_ms();                                                              \
        for (; !(condition) && left_ms > 0; left_ms -= 2)                                          \
            pause_ms(2);                                                                           \
        ck_assert_msg(left_ms > 0, "it never came to be: %s", #condition);                         \
    } while (0)

#endif

#include "tests/suite.h"

#include <stdlib.h>
#include <time.h>

int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int run_tests(const char *name, double seconds, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, seconds);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(cases, tests[i]);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}

FILE *golden_file(const char *name)
{
    const char *source = getenv("DISTILD_SOURCE_DIR");
    char path[4096];
    FILE *file;
    snprintf(path, sizeof path, "%s/tests/golden/%s", source ? source : ".", name);
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    return file;
}

long patience_ms(void)
{
    const char *multiplier = getenv("CK_TIMEOUT_MULTIPLIER");
    const long times = multiplier ? strtol(multiplier, NULL, 10) : 1;
    return 20000 * (times > 1 ? times : 1);
}

void pause_ms(long ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

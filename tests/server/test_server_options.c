/* test_server_options.c: the bounds of what a server is told, and what it makes of what is left to it. */
#include <check.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/cpus.h"
#include "server/options.h"
#include "tests/suite.h"

static void expect_refused(const struct server_options *options, const char *message)
{
    distil_error error;
    ck_assert_int_eq(server_options_check(options, &error), DISTIL_INVALID);
    ck_assert_str_eq(error.message, message);
}

static void expect_taken(const struct server_options *options)
{
    distil_error error;
    ck_assert_msg(server_options_check(options, &error) == DISTIL_OK, "%s", error.message);
}

START_TEST(numbers_have_bounds)
{
    struct server_options options = server_options_default();
    expect_taken(&options);
    options.max_queue = 0;
    expect_refused(&options, "max-queue must be from 1 to 10000000, not 0");
    options.max_queue = 10000000;
    options.drain_timeout_seconds = -1;
    expect_refused(&options, "drain-timeout must be from 0 to 86400, not -1");
    options.drain_timeout_seconds = 0;
    expect_taken(&options);
}
END_TEST

/* Those that no int holds, or that are no int. */
START_TEST(wide_numbers_have_bounds)
{
    struct server_options options = server_options_default();
    options.max_body = SIZE_MAX;
    expect_refused(&options, "max-body must be from 1 to 1073741824, not 9223372036854775807");
    options.max_body = 1 << 30;
    options.predictions.max_bytes = INT64_MAX;
    expect_taken(&options);
    options.predictions.max_bytes = -1;
    expect_refused(&options, "log-max-bytes must be from 0 to 9223372036854775807, not -1");
    options.predictions.max_bytes = 0;
    options.uds_mode = 01000;
    expect_refused(&options, "uds-mode must be from 0 to 511, not 512");
}
END_TEST

START_TEST(no_more_workers_than_threads)
{
    struct server_options options = server_options_default();
    options.workers = 3;
    expect_taken(&options);
    options.threads = 2;
    expect_refused(&options, "workers must be from 0 to 2, not 3");
}
END_TEST

START_TEST(what_is_left_to_the_server_is_filled_in)
{
    struct server_options options = server_options_default();
    const int cpus = engine_cpu_count();
    options.max_body = options.max_bodies + 1;
    server_options_complete(&options);
    ck_assert_int_eq(options.model_count, 1);
    ck_assert_ptr_null(options.models[0].name);
    ck_assert_ptr_null(options.models[0].path);
    ck_assert_int_eq(options.threads, cpus);
    ck_assert_int_eq(options.workers, cpus < 64 ? cpus : 64);
    ck_assert_int_eq(options.http_threads, cpus < 4 ? cpus : 4);
    ck_assert_uint_eq(options.max_bodies, options.max_body);
    options = server_options_default();
    options.workers = cpus + 1;
    server_options_complete(&options);
    ck_assert_int_eq(options.threads, cpus + 1);
}
END_TEST

START_TEST(what_is_said_stays)
{
    const struct server_model_options models[2] = {{.name = "a"}, {.name = "b"}};
    struct server_options options = server_options_default();
    options.models = models;
    options.model_count = 2;
    options.threads = 7;
    options.workers = 2;
    options.http_threads = 9;
    options.max_connections = 30;
    server_options_complete(&options);
    ck_assert_ptr_eq(options.models, models);
    ck_assert_int_eq(options.model_count, 2);
    ck_assert_int_eq(options.threads, 7);
    ck_assert_int_eq(options.workers, 2);
    ck_assert_int_eq(options.http_threads, 9);
    ck_assert_int_eq(options.max_connections, 30);
}
END_TEST

/* As many as open files, but for those that the server itself has. */
START_TEST(connections_fit_the_limit_of_files)
{
    static const struct {
        rlim_t files;
        int wanted, given;
    } cases[] = {{1024, 0, 960}, {1024, 5000, 960}, {1024, 959, 959}, {70, 0, 16}, {10, 20, 16}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct server_options options = server_options_default();
        struct rlimit files;
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
        files.rlim_cur = cases[i].files;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
        options.max_connections = cases[i].wanted;
        server_options_complete(&options);
        ck_assert_int_eq(options.max_connections, cases[i].given);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        numbers_have_bounds,          wide_numbers_have_bounds,
        no_more_workers_than_threads, what_is_left_to_the_server_is_filled_in,
        what_is_said_stays,           connections_fit_the_limit_of_files,
    };
    return run_tests("server_options", 10, tests, sizeof(tests) / sizeof(*tests));
}

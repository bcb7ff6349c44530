/* What is counted of the last minute. */
#include "server/recent.h"
#include "tests/suite.h"

#include <check.h>
#include <stdlib.h>

enum { SECOND = 1000000000 };

START_TEST(a_minute_is_read_and_no_more)
{
    struct server_recent recent = {0};
    struct server_recent_sums sums = {0};
    int64_t now = 1000LL * SECOND;
    int i;
    for (i = 0; i < 200; i++) /* two a second, one of them an error */
        server_recent_add(&recent, now + (int64_t)(i / 2) * SECOND, i + 1, i % 2);
    server_recent_read(&recent, now + 99LL * SECOND, &sums);
    ck_assert_uint_eq(sums.requests, 120);
    ck_assert_uint_eq(sums.errors, 60);
    ck_assert_uint_eq(sums.longest, 200);
    ck_assert_uint_eq(sums.sum, (81 + 200) * 120 / 2);
    /* half a minute later half of it is left, and after another nothing */
    sums = (struct server_recent_sums){0};
    server_recent_read(&recent, now + 129LL * SECOND, &sums);
    ck_assert_uint_eq(sums.requests, 60);
    sums = (struct server_recent_sums){0};
    server_recent_read(&recent, now + 159LL * SECOND, &sums);
    ck_assert_uint_eq(sums.requests, 0);
    ck_assert_uint_eq(sums.longest, 0);
    /* of two threads */
    server_recent_read(&recent, now + 99LL * SECOND, &sums);
    server_recent_read(&recent, now + 99LL * SECOND, &sums);
    ck_assert_uint_eq(sums.requests, 240);
}
END_TEST

START_TEST(cpu_is_that_of_about_a_minute)
{
    struct server_recent_cpu recent = {0};
    int64_t started = 500LL * SECOND, now = started, cpu = 0;
    int i;
    /* half a core for two minutes, read each second */
    for (i = 1; i <= 120; i++) {
        now += SECOND;
        cpu += SECOND / 2;
        ck_assert_double_eq_tol(server_recent_cpu_percent(&recent, now, cpu, started), 50, 0.01);
    }
    /* then two cores: half a minute on, the mean of both */
    for (i = 1; i <= 30; i++) {
        now += SECOND;
        cpu += 2LL * SECOND;
        server_recent_cpu_percent(&recent, now, cpu, started);
    }
    ck_assert_double_eq_tol(
        server_recent_cpu_percent(&recent, now + SECOND / 2, cpu + SECOND, started), 126, 3);
    /* nobody asked for ten minutes, in which it was idle: the mean since then */
    now += 600LL * SECOND;
    ck_assert_double_lt(server_recent_cpu_percent(&recent, now, cpu, started), 25);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_minute_is_read_and_no_more,
        cpu_is_that_of_about_a_minute,
    };
    return run_tests("recent", 30, tests, sizeof(tests) / sizeof(*tests));
}

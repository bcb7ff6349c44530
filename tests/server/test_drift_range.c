/* Ranges of time as drift_range.h reads them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "server/drift_range.h"
#include "tests/suite.h"

static const int64_t hour = INT64_C(3600000000000), day = INT64_C(86400000000000);
/* 2026-01-31T00:00:00Z */
static const int64_t date = INT64_C(1769817600) * 1000000000;

static void expect(const char *text, int64_t from, int64_t to)
{
    struct server_drift_range range;
    distil_error error;
    ck_assert_msg(server_drift_parse_range(text, date, &range, &error) == DISTIL_OK, "%s: %s", text,
                  error.message);
    ck_assert_msg(range.from == from && range.to == to, "%s: %lld to %lld", text,
                  (long long)range.from, (long long)range.to);
    ck_assert_msg(server_drift_is_range(text), "%s is a range", text);
}

START_TEST(reads_ranges)
{
    expect("7d", date - 7 * day, date);
    expect("36h", date - 36 * hour, date);
    expect("90m", date - 90 * hour / 60, date);
    expect("5s", date - 5 * hour / 3600, date);
    expect("2w", date - 14 * day, date);
    expect("2026-01-31", date, date + day);
    expect("2026-01-30..2026-01-31", date - day, date + day);
    expect("2026-01-31T01:00:00Z..2026-01-31T03:00:00+01:00", date + hour, date + 2 * hour);
    expect("2026-01-31..2026-01-31T03:00:00Z", date, date + 3 * hour);
    expect("2026-01-31..", date, INT64_MAX);
    expect("..2026-01-31", INT64_MIN, date + day);
    expect("..", INT64_MIN, INT64_MAX);
}
END_TEST

START_TEST(refuses_others)
{
    static const char *const bad[] = {"",
                                      "d",
                                      "0d",
                                      "-1d",
                                      "7",
                                      "7x",
                                      "7dd",
                                      "99999999999999999999d",
                                      "10001w",
                                      "2026-01-32",
                                      "2026-02-29",
                                      "2026-01-31T00:00:00Z",
                                      "2026-01-31..2026-01-30",
                                      "2026-01-31T01:00:00Z..2026-01-31T01:00:00Z",
                                      "2026-01-31..x",
                                      "2026-01-31..2026-02-01..2026-02-02",
                                      "yesterday"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct server_drift_range range;
        distil_error error;
        ck_assert_msg(server_drift_parse_range(bad[i], date, &range, &error) == DISTIL_INVALID,
                      "'%s' was taken", bad[i]);
        ck_assert_ptr_nonnull(strstr(error.message, bad[i]));
    }
}
END_TEST

START_TEST(tells_files_from_ranges)
{
    ck_assert(!server_drift_is_range("./7d"));
    ck_assert(!server_drift_is_range("reviews.jsonl"));
    ck_assert(!server_drift_is_range("/data/2026-01-31.jsonl"));
    ck_assert(!server_drift_is_range("../2026-01-31.jsonl"));
    ck_assert(server_drift_is_range("2026-01-31..tomorrow")); /* and bad ones, to say so */
    ck_assert(server_drift_is_range("2026-13-45"));
    ck_assert(!server_drift_is_range("2026-1-31"));
}
END_TEST

START_TEST(numbers_days)
{
    ck_assert_int_eq(server_drift_day(0), 0);
    ck_assert_int_eq(server_drift_day(day - 1), 0);
    ck_assert_int_eq(server_drift_day(-1), -1);
    ck_assert_int_eq(server_drift_day(-day), -1);
    ck_assert_int_eq(server_drift_day_start(server_drift_day(date + 5 * hour)), date);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        reads_ranges,
        refuses_others,
        tells_files_from_ranges,
        numbers_days,
    };
    return run_tests("drift_range", 30, tests, sizeof(tests) / sizeof(*tests));
}

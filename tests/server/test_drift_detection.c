/* How well drift is found: over 100,000 generated predictions with a shift in the middle, the day of the
 * shift is found for each of 20 seeds, and of 20 days without one at most one is taken for drift.
 *
 *   test_drift_detection          the shift for some seeds, through the log for one, and days without one for two
 *   test_drift_detection all      all of it for all seeds */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drift_generator.h"
#include "server/drift.h"
#include "server/drift_range.h"
#include "tests/suite.h"

/* Of the seeds, where not all are asked for. */
#ifndef SOME
#define SOME 6
#endif

enum { SEEDS = 20, DAYS = 40, PER_DAY = 2500, SHIFT = 20, REFERENCE_DAYS = 10, CONTROL_DAYS = 20 };

/* Each seed's shift is another: 0.75 to 1.25 of the generator's. */
static struct generated shifted(int seed)
{
    return (struct generated){.seed = (uint64_t)seed + 1,
                              .days = DAYS,
                              .rows_per_day = PER_DAY,
                              .shift_day = SHIFT,
                              .strength = 0.75 + 0.5 * seed / (SEEDS - 1)};
}

static void compare(const struct server_drift_rows *reference,
                    const struct server_drift_rows *current, struct server_drift_report *report)
{
    distil_error error;
    ck_assert_msg(server_drift_compare(reference, current, SERVER_DRIFT_MIN_ROWS, report, &error) ==
                      DISTIL_OK,
                  "%s", error.message);
}

static int count_drifted(const struct server_drift_report *report)
{
    int drifted = 0;
    for (int i = 0; i < report->day_count; i++) {
        ck_assert(report->days[i].compared);
        drifted += report->days[i].drifted;
    }
    return drifted;
}

/* The days before the shift did not drift, and those from it on did. */
static void expect_shift(const struct server_drift_report *report, int seed)
{
    int64_t first = server_drift_day(GENERATED_BEGIN);
    ck_assert_int_eq(report->day_count, DAYS - REFERENCE_DAYS);
    ck_assert_msg(report->drifted, "seed %d: no drift was found", seed);
    for (int i = 0; i < report->day_count; i++) {
        const struct server_drift_day_finding *day = &report->days[i];
        ck_assert_msg(day->drifted == (day->day >= first + SHIFT),
                      "seed %d, day %d: %d of %d drifted", seed, (int)(day->day - first),
                      day->confirmed, day->columns);
    }
}

/* Keeps so many rows of the days before the reference's end, evenly. */
static void thin_reference(const struct generated *how, int days, size_t rows,
                           struct server_drift_rows *reference)
{
    struct generated thin = *how;
    thin.rows_per_day = (int)(rows / (size_t)days);
    generate_rows(&thin, 0, days, reference);
}

START_TEST(finds_the_shift)
{
    struct generated how = shifted(_i);
    struct server_drift_rows reference = {0}, current = {0};
    struct server_drift_report report;
    generate_rows(&how, 0, REFERENCE_DAYS, &reference);
    generate_rows(&how, REFERENCE_DAYS, DAYS, &current);
    compare(&reference, &current, &report);
    expect_shift(&report, _i);
    server_drift_report_free(&report);
    server_drift_rows_free(&reference);
    server_drift_rows_free(&current);
}
END_TEST

/* The same through the database, as the command and the server read it. */
START_TEST(finds_the_shift_in_the_log)
{
    struct generated how = shifted(_i);
    struct server_drift_rows reference = {0}, current = {0};
    struct server_drift_report report;
    struct server_drift_query query = {.limit = 200000};
    char path[] = "/tmp/drift-XXXXXX", extra[40];
    distil_error error;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    generate_log(&how, path);
    query.range = (struct server_drift_range){GENERATED_BEGIN,
                                              GENERATED_BEGIN + REFERENCE_DAYS * GENERATED_DAY};
    ck_assert_msg(server_drift_read_log(path, &query, &reference, &error) == DISTIL_OK, "%s",
                  error.message);
    query.range = (struct server_drift_range){query.range.to, INT64_MAX};
    ck_assert_msg(server_drift_read_log(path, &query, &current, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_uint_eq(reference.count, REFERENCE_DAYS * PER_DAY);
    ck_assert_uint_eq(current.count, (DAYS - REFERENCE_DAYS) * PER_DAY);
    compare(&reference, &current, &report);
    expect_shift(&report, _i);
    ck_assert(report.same_model);
    ck_assert(report.current_quality.answered == current.count / 10);
    server_drift_report_free(&report);
    server_drift_rows_free(&reference);
    server_drift_rows_free(&current);
    unlink(path);
    snprintf(extra, sizeof extra, "%s-wal", path);
    unlink(extra);
    snprintf(extra, sizeof extra, "%s-shm", path);
    unlink(extra);
}
END_TEST

/* Days without a shift that are taken for drift, of CONTROL_DAYS after a reference of so many rows. */
static int false_alarms(int seed, size_t reference_rows, int per_day)
{
    struct generated how = {.seed = (uint64_t)seed + 101,
                            .days = 2 * CONTROL_DAYS,
                            .rows_per_day = per_day,
                            .shift_day = -1};
    struct server_drift_rows reference = {0}, current = {0};
    struct server_drift_report report;
    thin_reference(&how, CONTROL_DAYS, reference_rows, &reference);
    generate_rows(&how, CONTROL_DAYS, 2 * CONTROL_DAYS, &current);
    compare(&reference, &current, &report);
    int drifted = count_drifted(&report);
    server_drift_report_free(&report);
    server_drift_rows_free(&reference);
    server_drift_rows_free(&current);
    return drifted;
}

/* _i: seeds */
START_TEST(seldom_errs)
{
    const struct {
        size_t reference;
        int per_day, most, in_all; /* false alarms of a seed's 20 days, and of all seeds' */
    } cases[] = {
        {10000, PER_DAY, 1, 2},
        {2000, 500, 1, 4},
        {10000, SERVER_DRIFT_MIN_ROWS, 1, 4},
        {1000, 1000, 1, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int all = 0, seeds = _i;
        for (int seed = 0; seed < seeds; seed++) {
            int found = false_alarms(seed, cases[i].reference, cases[i].per_day);
            ck_assert_msg(found <= cases[i].most, "reference of %zu, seed %d: %d false alarms",
                          cases[i].reference, seed, found);
            all += found;
        }
        printf("reference of %zu, days of %d: %d false alarms on %d days\n", cases[i].reference,
               cases[i].per_day, all, seeds * CONTROL_DAYS);
        ck_assert_msg(all <= cases[i].in_all, "reference of %zu: %d false alarms in all",
                      cases[i].reference, all);
    }
}
END_TEST

int main(int argc, char **argv)
{
    bool all = argc > 1 && strcmp(argv[1], "all") == 0;
    Suite *suite = suite_create("drift_detection");
    TCase *detection = tcase_create("detection");
    tcase_set_timeout(detection, 300);
    tcase_add_loop_test(detection, finds_the_shift, 0, all ? SEEDS : SOME);
    tcase_add_loop_test(detection, finds_the_shift_in_the_log, 0, all ? SEEDS : 1);
    tcase_add_loop_test(detection, seldom_errs, all ? SEEDS : 2, all ? SEEDS + 1 : 3);
    suite_add_tcase(suite, detection);
    return run_suite(suite);
}

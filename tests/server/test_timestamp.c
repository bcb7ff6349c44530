/* test_timestamp.c: dates with times of RFC 3339, and ids made of them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "server/timestamp.h"
#include "server/uuid.h"
#include "tests/suite.h"

START_TEST(times_are_read)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1969-12-31T23:59:59.5Z", -500000000},
        {"2026-03-01T12:30:00Z", 1772368200000000000},
        {"2026-03-01t12:30:00z", 1772368200000000000},
        {"2026-03-01T13:30:00+01:00", 1772368200000000000},
        {"2026-03-01T07:00:00.25-05:30", 1772368200250000000},
        {"2026-03-01T12:30:00-00:00", 1772368200000000000},
        {"2026-03-01T12:30:00.123456789987Z", 1772368200123456789},
        {"2024-02-29T00:00:00Z", 1709164800000000000},
        {"2000-02-29T23:59:59+23:59", 951782459000000000},
        /* leap seconds, one of them where it is the next day already */
        {"2016-12-31T23:59:60Z", 1483228800000000000},
        {"2017-01-01T00:59:60.5+01:00", 1483228800500000000},
        {"1990-06-30T23:59:60Z", 646790400000000000},
        {"0001-01-01T00:00:00Z", INT64_MIN},
        {"9999-12-31T23:59:59Z", INT64_MAX},
        {"2262-04-11T23:47:15Z", 9223372035000000000},
    };
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *problem = NULL;
        int64_t ns = 1;
        ck_assert_msg(server_timestamp_parse(cases[i].text, &ns, &problem), "%s: %s", cases[i].text,
                      problem);
        ck_assert_msg(ns == cases[i].ns, "%s is %lld, not %lld", cases[i].text, (long long)ns,
                      (long long)cases[i].ns);
    }
}
END_TEST

START_TEST(others_are_refused)
{
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"", "a year"},
        {"yesterday", "a year"},
        {"226-03-01T12:30:00Z", "a year"},
        {"+2026-03-01T12:30:00Z", "a year"},
        {"20260301T123000Z", "'-' is expected after the year"},
        {"2026-3-01T12:30:00Z", "the month is"},
        {"2026-13-01T12:30:00Z", "the month is"},
        {"2026-00-01T12:30:00Z", "the month is"},
        {"2026-02-29T12:30:00Z", "no such day"},
        {"1900-02-29T12:30:00Z", "no such day"},
        {"2026-04-31T12:30:00Z", "no such day"},
        {"2026-03-00T12:30:00Z", "no such day"},
        {"2026-03-01", "'T'"},
        {"2026-03-01 12:30:00Z", "'T'"},
        {"2026-03-01T24:00:00Z", "the hour"},
        {"2026-03-01T12:60:00Z", "the minute"},
        {"2026-03-01T12:30Z", "':' is expected after the minute"},
        {"2026-03-01T12:30:61Z", "the second"},
        {"2026-03-01T12:30:00", "an offset"},
        {"2026-03-01T12:30:00.Z", "digits"},
        {"2026-03-01T12:30:00,5Z", "an offset"},
        {"2026-03-01T12:30:00+24:00", "hours of the offset"},
        {"2026-03-01T12:30:00+01:60", "minutes of the offset"},
        {"2026-03-01T12:30:00+0100", "':' is expected within"},
        {"2026-03-01T12:30:00+01", "':' is expected within"},
        {"2026-03-01T12:30:00Z ", "nothing may follow"},
        {"2026-03-01T12:30:00ZZ", "nothing may follow"},
        {"2026-03-01T12:30:60Z", "60th second"},
        {"2026-03-01T23:59:60Z", "60th second"},
        {"2016-12-31T23:59:60+01:00", "60th second"},
        {"\xD9\xA2\xD9\xA0\xD9\xA2\xD9\xA6-03-01T12:30:00Z", "a year"},
        {"2026-03-01T12:30:00.0000000000000000000000000000000000000000000000000000000000000000Z",
         "64 characters"},
    };
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *problem = NULL;
        ck_assert_msg(!server_timestamp_parse(cases[i].text, NULL, &problem), "%s", cases[i].text);
        ck_assert_msg(strstr(problem, cases[i].problem) != NULL, "%s: %s", cases[i].text, problem);
    }
}
END_TEST

START_TEST(written_times_read_back)
{
    static const int64_t times[] = {0,
                                    -1,
                                    -1000,
                                    1772368200123456000,
                                    951782399999999999,
                                    -62135596800000000,
                                    INT64_MAX,
                                    INT64_MIN + 1000000000};
    size_t i;
    for (i = 0; i < sizeof(times) / sizeof(*times); i++) {
        char text[SERVER_TIMESTAMP_SIZE];
        const char *problem;
        int64_t ns, cut = times[i] / 1000 * 1000 - (times[i] % 1000 < 0 ? 1000 : 0);
        server_timestamp_write(times[i], text);
        ck_assert_msg(server_timestamp_parse(text, &ns, &problem), "%s", text);
        ck_assert_msg(ns == cut, "%s is %lld, not %lld", text, (long long)ns, (long long)cut);
    }
}
END_TEST

START_TEST(ids_differ_and_rise)
{
    char ids[200][SERVER_UUID];
    int i, k;
    for (i = 0; i < 200; i++) {
        server_uuid_make(ids[i]);
        ck_assert_uint_eq(strlen(ids[i]), SERVER_UUID - 1);
        ck_assert_uint_eq(strspn(ids[i], "0123456789abcdef-"), SERVER_UUID - 1);
        ck_assert_int_eq(ids[i][14], '7');
        ck_assert_ptr_nonnull(strchr("89ab", ids[i][19]));
        for (k = 0; k < i; k++)
            ck_assert_str_ne(ids[i], ids[k]);
        /* of the clock, which may be put back: hours are enough */
        ck_assert_int_eq(strncmp(ids[0], ids[i], 5), 0);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {times_are_read, others_are_refused, written_times_read_back,
                                  ids_differ_and_rise};
    return run_tests("timestamp", 30, tests, sizeof(tests) / sizeof(*tests));
}

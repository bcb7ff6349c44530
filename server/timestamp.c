/* timestamp.c: see timestamp.h. */
#include "server/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SECOND_NS = 1000000000, DAY_SECONDS = 86400 };

struct reader {
    const char *at;
    const char *problem;
};

/* The next so many digits as a number; -1 where they are none. */
static int digits(struct reader *r, int count)
{
    int value = 0, i;
    for (i = 0; i < count; i++) {
        if (r->at[i] < '0' || r->at[i] > '9')
            return -1;
        value = value * 10 + r->at[i] - '0';
    }
    r->at += count;
    return value;
}

/* Digits within bounds, else what is wrong with them. */
static int number(struct reader *r, int count, int low, int high, const char *problem)
{
    int value = r->problem ? low : digits(r, count);
    if (value >= low && value <= high)
        return value;
    r->problem = problem;
    return low;
}

/* One of the characters, else what is wrong; NUL where something was wrong before. */
static char character(struct reader *r, const char *which, const char *problem)
{
    if (r->problem)
        return '\0';
    if (*r->at && strchr(which, *r->at))
        return *r->at++;
    r->problem = problem;
    return '\0';
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to a date of the Gregorian calendar, which runs in periods of 400 years. */
static int64_t days_before(int year, int month, int day)
{
    /* from March on, so that the leap day is a year's last */
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* The date that so many days after 1970-01-01 is. */
static void date_after(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

/* The nanoseconds of a fraction, of which there may be none. */
static int64_t fraction(struct reader *r)
{
    int64_t value = 0, unit = SECOND_NS / 10;
    if (r->problem || *r->at != '.')
        return 0;
    r->at++;
    if (*r->at < '0' || *r->at > '9')
        r->problem = "digits are expected after the point";
    for (; *r->at >= '0' && *r->at <= '9'; r->at++, unit /= 10)
        value += (*r->at - '0') * unit;
    return value;
}

/* Seconds that local time is ahead of UTC. */
static int offset(struct reader *r)
{
    char sign = character(r, "Zz+-", "an offset such as +01:00, or Z, is expected after the time");
    int hours, minutes;
    if (sign != '+' && sign != '-')
        return 0;
    hours = number(r, 2, 0, 23, "the hours of the offset are from 00 to 23");
    character(r, ":", "':' is expected within the offset");
    minutes = number(r, 2, 0, 59, "the minutes of the offset are from 00 to 59");
    return (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

/* Whether seconds since 1970 are the start of a month in UTC, which is where a leap second has come
 * before, if there was one. */
static bool begins_month(int64_t seconds)
{
    int year, month, day;
    if (seconds % DAY_SECONDS != 0)
        return false;
    date_after(seconds / DAY_SECONDS, &year, &month, &day);
    return day == 1;
}

static int64_t saturate(int64_t seconds, int64_t ns)
{
    int64_t sum;
    if (__builtin_mul_overflow(seconds, (int64_t)SECOND_NS, &sum) ||
        __builtin_add_overflow(sum, ns, &sum))
        return seconds < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

bool server_timestamp_parse(const char *text, int64_t *ns, const char **problem)
{
    struct reader r = {.at = text};
    int year = number(&r, 4, 0, 9999, "a year of four digits is expected first"), month, day;
    int hour, minute, second;
    int64_t part, seconds;
    if (strnlen(text, SERVER_TIMESTAMP_LONGEST + 1) > SERVER_TIMESTAMP_LONGEST)
        r.problem = "at most 64 characters are read";
    character(&r, "-", "'-' is expected after the year");
    month = number(&r, 2, 1, 12, "the month is from 01 to 12");
    character(&r, "-", "'-' is expected after the month");
    day = number(&r, 2, 1, days_of(year, month), "the month has no such day");
    character(&r, "Tt", "'T' is expected between date and time");
    hour = number(&r, 2, 0, 23, "the hour is from 00 to 23");
    character(&r, ":", "':' is expected after the hour");
    minute = number(&r, 2, 0, 59, "the minute is from 00 to 59");
    character(&r, ":", "':' is expected after the minute");
    second = number(&r, 2, 0, 60, "the second is from 00 to 59");
    part = fraction(&r);
    seconds = days_before(year, month, day) * DAY_SECONDS + hour * INT64_C(3600) +
              minute * INT64_C(60) + second - offset(&r);
    if (!r.problem && *r.at)
        r.problem = "nothing may follow the offset";
    if (!r.problem && second == 60 && !begins_month(seconds))
        r.problem = "a 60th second is only at the end of a month, at 23:59 UTC";
    if (!r.problem && ns)
        *ns = saturate(seconds, part);
    *problem = r.problem;
    return !r.problem;
}

void server_timestamp_write(int64_t ns, char text[SERVER_TIMESTAMP_SIZE])
{
    int64_t micros = ns / 1000 - (ns % 1000 < 0), days = micros / 1000000 / DAY_SECONDS;
    int64_t rest;
    int year, month, day;
    while (days * DAY_SECONDS * 1000000 > micros)
        days--; /* before 1970 the division rounded up */
    rest = micros - days * DAY_SECONDS * 1000000;
    date_after(days, &year, &month, &day);
    snprintf(text, SERVER_TIMESTAMP_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", year % 10000,
             month, day, (int)(rest / 3600000000) % 24, (int)(rest / 60000000 % 60),
             (int)(rest / 1000000 % 60), (int)(rest % 1000000));
}

int64_t server_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

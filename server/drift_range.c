/* drift_range.c: see drift_range.h. */
#include "server/drift_range.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/timestamp.h"

static const int64_t second = 1000000000, day_length = 86400000000000;

enum { DATE = 10 }; /* characters of 2026-01-31 */

/* One side of a range: a time, or a day, whose end is meant where it stands last. */
static bool parse_side(const char *text, size_t length, bool last, int64_t *at_ns)
{
    char time[SERVER_TIMESTAMP_LONGEST + 1];
    const char *problem;
    if (length > SERVER_TIMESTAMP_LONGEST)
        return false;
    snprintf(time, sizeof(time), "%.*s%s", (int)length, text, length == DATE ? "T00:00:00Z" : "");
    if (!server_timestamp_parse(time, at_ns, &problem))
        return false;
    if (last && length == DATE)
        *at_ns += day_length;
    return true;
}

/* Seconds of a unit of durations; 0 where it is none. */
static int64_t unit_of(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 604800;
    default:
        return 0;
    }
}

/* Such as 7d, in nanoseconds. */
static bool parse_duration(const char *text, int64_t *length)
{
    char *end;
    long long count = isdigit((unsigned char)*text) ? strtoll(text, &end, 10) : 0;
    if (count < 1 || count > 10000 || unit_of(*end) == 0 || end[1] != '\0')
        return false;
    *length = count * unit_of(*end) * second;
    return true;
}

/* Whether it begins as a date does, of a day that there may never have been. */
static bool begins_with_date(const char *text)
{
    static const char shape[] = "dddd-dd-dd";
    int i;
    for (i = 0; i < DATE; i++)
        if (shape[i] == 'd' ? !isdigit((unsigned char)text[i]) : text[i] != shape[i])
            return false;
    return true;
}

bool server_drift_is_range(const char *text)
{
    int64_t ignored;
    if (strchr(text, '/'))
        return false;
    return parse_duration(text, &ignored) || strncmp(text, "..", 2) == 0 || begins_with_date(text);
}

distil_status server_drift_parse_range(const char *text, int64_t now,
                                       struct server_drift_range *range, distil_error *error)
{
    const char *dots = strstr(text, "..");
    int64_t length;
    bool good;
    *range = (struct server_drift_range){INT64_MIN, INT64_MAX};
    if (parse_duration(text, &length)) {
        *range = (struct server_drift_range){now - length, now};
        return DISTIL_OK;
    }
    if (dots)
        good = (dots == text || parse_side(text, (size_t)(dots - text), false, &range->from)) &&
               (dots[2] == '\0' || parse_side(dots + 2, strlen(dots + 2), true, &range->to));
    else
        good = strlen(text) == DATE && parse_side(text, DATE, false, &range->from) &&
               parse_side(text, DATE, true, &range->to);
    if (good && range->from < range->to)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_INVALID,
                       "'%.80s' is no range of time: expected such as 7d, 2026-01-31 or "
                       "2026-01-01..2026-01-31T12:00:00Z, the earlier side first",
                       text);
}

int64_t server_drift_day(int64_t at_ns)
{
    int64_t day = at_ns / day_length;
    return at_ns % day_length < 0 ? day - 1 : day;
}

int64_t server_drift_day_start(int64_t day)
{
    return day * day_length;
}

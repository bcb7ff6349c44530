/* timestamp.h: dates with times as RFC 3339 writes them. */
#ifndef SERVER_TIMESTAMP_H
#define SERVER_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SERVER_TIMESTAMP_LONGEST = 64, /* characters that are read */
    SERVER_TIMESTAMP_SIZE = 56     /* of one that is written, with its NUL */
};

/* Reads such as 2026-03-01T12:30:00.25+01:00, to the letter of RFC 3339: with an offset or Z, T and Z in
 * either case, days that the month has, and a 60th second only where a leap second can be, at the end
 * of a month in UTC. *ns (may be NULL) is set to the nanoseconds since 1970 in UTC, at the ends of
 * what 64 bits hold for years beyond 1677 to 2262; digits below nanoseconds are cut, and the 60th
 * second is the one after it. False with what is wrong in *problem, a static sentence. */
bool server_timestamp_parse(const char *text, int64_t *ns, const char **problem);

/* Writes nanoseconds since 1970 as 2026-03-01T11:30:00.250000Z, cut to microseconds. */
void server_timestamp_write(int64_t ns, char text[SERVER_TIMESTAMP_SIZE]);

/* Nanoseconds since 1970, UTC, by the system's clock. */
int64_t server_clock(void);

#endif

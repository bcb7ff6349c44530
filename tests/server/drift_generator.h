/* drift_generator.h: predictions as a sentiment model's traffic might give them, by a seeded process. */
#ifndef DRIFT_GENERATOR_H
#define DRIFT_GENERATOR_H

#include <stdint.h>

#include "server/drift_rows.h"

enum { GENERATED_DIMENSIONS = 4 };

/* Days of predictions, each a little unlike the others, as days are. From `shift_day` on (-1: never)
 * people write of other things: longer, with more words that the vocabulary lacks, more of it bad, and
 * the model is less sure of it. */
struct generated {
    uint64_t seed;
    int days, rows_per_day, shift_day;
    double strength; /* of the shift; 1: as described in the source */
};

/* Day 0, as nanoseconds since 1970: 2026-01-01. */
#define GENERATED_BEGIN (INT64_C(1767225600) * 1000000000)
#define GENERATED_DAY (INT64_C(86400) * 1000000000)

/* Adds those of the days from first to under last. */
void generate_rows(const struct generated *how, int first, int last,
                   struct server_drift_rows *rows);
/* Writes all of them, with feedback for some, to a new log of predictions at path. */
void generate_log(const struct generated *how, const char *path);

#endif

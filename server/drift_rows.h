/* drift_rows.h: predictions as drift is measured on them: of each what it came out as and how sure the
 * model was of it, not what was asked. */
#ifndef SERVER_DRIFT_ROWS_H
#define SERVER_DRIFT_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/distil_status.h"

enum {
    SERVER_DRIFT_MAX_NAMES = 10000,    /* labels, or models, of a set of rows */
    SERVER_DRIFT_MAX_DIMENSIONS = 4096 /* of projections */
};

/* Names in the order in which they were first seen. */
struct server_drift_names {
    char **names;
    int count, capacity, last; /* last: found or added last */
};

/* NaN and -1 stand for what is not known. */
struct server_drift_row {
    int64_t at_ns;     /* since 1970, UTC; SERVER_DRIFT_NEVER where not known */
    double confidence; /* score of the label */
    double entropy;    /* of all scores, in nats */
    double tokens;
    double unknown;   /* [UNK] among them */
    int label, truth; /* of the labels; truth is what feedback said */
    int model;        /* of the models */
};

#define SERVER_DRIFT_NEVER INT64_MIN

/* Zero-initialise; server_drift_rows_free. */
struct server_drift_rows {
    size_t count, capacity;
    struct server_drift_row *rows;
    struct server_drift_names labels, models; /* models: "NAME" or "NAME DIGEST" */
    int dimensions;                           /* of projections; 0: there are none */
    float *projection;                        /* (count, dimensions); NaN where a row has none */
    char **texts; /* (count), each NULL where it was not kept; NULL unless they were asked for */
    bool keep_texts;
    size_t found; /* rows that there were, of which every so-manieth was kept to stay in a limit */
};

/* A stretch of time, nanoseconds since 1970: from `from` to under `to`. */
struct server_drift_range {
    int64_t from, to;
};

/* What to read. */
struct server_drift_query {
    struct server_drift_range range;
    const char *model; /* NULL: any */
    size_t limit;      /* rows to keep at most, at least 1: of more, every so-manieth */
    bool texts;
};

/* Reads predictions of the server's log at path (prediction_db.h), beside a server that writes it, in
 * the order of their times. The errors of server_prediction_db_read. */
distil_status server_drift_read_log(const char *path, const struct server_drift_query *query,
                                    struct server_drift_rows *rows, distil_error *error);

/* Reads the lines of a file: JSON objects, or columns with tabs between them under a line that names
 * them (a name that ends in .tsv). docs/drift.md has the fields. A line without a time is in every
 * range. DISTIL_FORMAT names the first bad line. */
distil_status server_drift_read_file(const char *path, const struct server_drift_query *query,
                                     struct server_drift_rows *rows, distil_error *error);

/* Writes rows as JSON lines that server_drift_read_file reads, in the place of what was there once all
 * of it is on the disk, readable by its owner alone. */
distil_status server_drift_write_file(const char *path, const struct server_drift_rows *rows,
                                      distil_error *error);

/* Adds a row, whose names are looked up or added, and whose projection has rows->dimensions numbers, or
 * is NULL. text may be NULL. */
distil_status server_drift_add(struct server_drift_rows *rows, struct server_drift_row row,
                               const char *label, const char *truth, const char *model,
                               const float *projection, int dimensions, const char *text,
                               distil_error *error);
/* The place of a name; -1 where there is none. */
int server_drift_find_name(const struct server_drift_names *names, const char *name);
void server_drift_rows_free(struct server_drift_rows *rows);

/* The entropy of scores, in nats: of a distribution where they add up to 1, else the sum of that of
 * each label by itself; NaN where they are no probabilities. */
double server_drift_entropy(const double *scores, int count);

#endif

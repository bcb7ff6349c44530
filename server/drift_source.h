/* drift_source.h: where the two sides of a comparison come from: the log of predictions, exports of it,
 * and the reference that was set. */
#ifndef SERVER_DRIFT_SOURCE_H
#define SERVER_DRIFT_SOURCE_H

#include "server/drift_rows.h"

/* The reference's name in the state directory: JSON lines, as drift_rows.h writes them. */
#define SERVER_DRIFT_REFERENCE_FILE "drift-reference.jsonl"

enum {
    SERVER_DRIFT_PATH = 4096,
    SERVER_DRIFT_REFERENCE_ROWS = 10000, /* that a reference keeps, of more every so-manieth */
    SERVER_DRIFT_CURRENT_ROWS = 200000   /* that are compared with it */
};

/* The path of a file in the state directory; false where it is too long. */
bool server_drift_state_path(const char *state_dir, const char *name, char path[SERVER_DRIFT_PATH]);

/* Reads what a text names: a range of the log in the state directory, or a file (see
 * server_drift_is_range). now: nanoseconds since 1970, at which durations end. query->range is
 * set. */
distil_status server_drift_read(const char *what, const char *state_dir, int64_t now,
                                struct server_drift_query *query, struct server_drift_rows *rows,
                                distil_error *error);

/* Reads the reference that was set; DISTIL_NOT_FOUND says how to set one. */
distil_status server_drift_read_reference(const char *state_dir,
                                          const struct server_drift_query *query,
                                          struct server_drift_rows *rows, distil_error *error);

/* Refuses rows of several models by name, as they tell nothing of either. what: the side. */
distil_status server_drift_check_models(const char *what, const struct server_drift_rows *rows,
                                        distil_error *error);

#endif

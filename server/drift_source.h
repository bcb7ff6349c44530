/* drift_source.h: where the two sides of a comparison come from: the log of predictions, exports of it,
 * and the reference that was set. */
#ifndef SERVER_DRIFT_SOURCE_H
#define SERVER_DRIFT_SOURCE_H

#include "server/drift_rows.h"

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

/* Where a reference is kept, as JSON lines that drift_rows.h writes: "drift-reference.jsonl", and one of a model's own in
 * "drift-reference.MODEL.jsonl". model: NULL for the former. DISTIL_INVALID for a name with a slash, and where there is no
 * directory. */
distil_status server_drift_reference_path(const char *state_dir, const char *model,
                                          char path[SERVER_DRIFT_PATH], distil_error *error);
/* Reads the reference that was set: that of query->model, else what the one without a name has of it. DISTIL_NOT_FOUND
 * says how to set one. */
distil_status server_drift_read_reference(const char *state_dir,
                                          const struct server_drift_query *query,
                                          struct server_drift_rows *rows, distil_error *error);

/* Refuses rows of several models by name, as they tell nothing of either. what: the side. */
distil_status server_drift_check_models(const char *what, const struct server_drift_rows *rows,
                                        distil_error *error);

#endif

/* state_dir.h: the directory of what outlives the process. Each part of the server keeps files of its
 * own in it, such as the predictions of prediction_db.h. One server at a time has it. */
#ifndef SERVER_STATE_DIR_H
#define SERVER_STATE_DIR_H

#include "weights/distil_status.h"

struct server_state_dir;

/* Makes the directory, and those above it that are missing, for the user alone, and holds it until it
 * is freed or the process ends. DISTIL_BUSY where another process has it, DISTIL_IO where it cannot be
 * made or written. */
distil_status server_state_dir_open(const char *path, struct server_state_dir **state,
                                    distil_error *error);
const char *server_state_dir_path(const struct server_state_dir *state);
/* NULL is ignored. */
void server_state_dir_free(struct server_state_dir *state);

#endif

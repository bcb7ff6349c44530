/* score_store.h: the scores that the recommender learns from, and the key of its ids, in a SQLite
 * database.
 *
 * A transaction is on the disk when server_score_store_commit returns (write-ahead log, a
 * synchronisation each). Each row carries a checksum of its own, beside what SQLite looks after: a damaged file is
 * refused, never begun anew. One thread at a time uses a store, and one process a file.
 *
 * Schema 1: score(shown BLOB, item TEXT, age INTEGER, gender TEXT, occupation TEXT, similarity REAL,
 * score REAL, at_ns INTEGER, checksum BLOB), one row for each item of a list of recommendations;
 * meta(key TEXT, value BLOB), with the key of ids as "key". */
#ifndef SERVER_SCORE_STORE_H
#define SERVER_SCORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "server/profile.h"
#include "server/shown.h"
#include "weights/distil_status.h"

/* Its name in the state directory. */
#define SERVER_SCORE_FILE "recommender.db"

struct server_score_store;

struct server_score_row {
    unsigned char shown[SERVER_SHOWN_NUMBER]; /* of the list that it stands in */
    const char *item;                         /* its name */
    struct server_profile profile;
    float similarity, score;
    int64_t at_ns; /* since 1970 */
};

/* Opens the file, and makes it where there is none, readable by its owner alone. DISTIL_BUSY where another
 * process has it, DISTIL_FORMAT where it is damaged or another program's, DISTIL_UNSUPPORTED for another
 * schema, DISTIL_IO, DISTIL_NO_MEMORY; the message names the file. */
distil_status server_score_store_open(const char *path, struct server_score_store **store,
                                      distil_error *error);
void server_score_store_close(struct server_score_store *store);
/* The key of ids, random bytes made with the file. */
const unsigned char *server_score_store_key(const struct server_score_store *store);

/* Calls take for every row; its strings are valid during the call. Ends at the first status other than
 * DISTIL_OK, which it returns; DISTIL_FORMAT for a row that is damaged. */
distil_status server_score_store_each(struct server_score_store *store,
                                      distil_status (*take)(void *context,
                                                            const struct server_score_row *row,
                                                            distil_error *error),
                                      void *context, distil_error *error);

distil_status server_score_store_begin(struct server_score_store *store, distil_error *error);
/* Writes a row, in the place of one of the same list and item: then *replaced, and *before is the score
 * that stood there. */
distil_status server_score_store_put(struct server_score_store *store,
                                     const struct server_score_row *row, bool *replaced,
                                     float *before, distil_error *error);
/* After a failure the transaction is to be rolled back. */
distil_status server_score_store_commit(struct server_score_store *store, distil_error *error);
void server_score_store_rollback(struct server_score_store *store);

#endif

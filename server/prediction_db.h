/* prediction_db.h: the file that the log of predictions is kept in, a SQLite database.
 *
 * The server's log writes it, by one connection; tools and GET /drift read it meanwhile, by
 * connections of their own (WAL: neither waits for the other). A reader should read in pieces and
 * reset its statements between them, as an open read keeps the write-ahead log from being cut.
 *
 * Schema 1. Rows are in the order in which predictions were written; `seq` never changes.
 *
 *   prediction
 *     seq         INTEGER PRIMARY KEY
 *     id          TEXT     a UUID; of text i of a batch, that of the request and "-i"
 *     at_ns       INTEGER  when it was answered: nanoseconds since 1970, UTC
 *     model       TEXT     its name on the server
 *     digest      TEXT     of its file; '' for a HuggingFace directory
 *     text, pair  TEXT     as predicted; NULL unless whole texts are kept (pair also where none was given)
 *     text_hash   BLOB     32 bytes, HMAC-SHA-256 of the text, where hashes are kept; else NULL
 *     product_id, timestamp  TEXT  as the client gave them; else NULL
 *     label       TEXT     of the highest score
 *     score       REAL     that score
 *     scores      TEXT     JSON, {label: score} of all labels in the model's order
 *     tokens      INTEGER  of the text as it was computed, special ones included
 *     unknown     INTEGER  [UNK] among them
 *     truncated   INTEGER  1 where it was cut at the model's window, else 0
 *     projection  BLOB     what the classifier's head read of it (the last hidden state of [CLS]) in
 *                          16 numbers, float32 little-endian: projection.h; or NULL
 *   feedback
 *     prediction_id TEXT PRIMARY KEY, label TEXT (one of the model's), at_ns INTEGER
 *   meta
 *     key TEXT PRIMARY KEY, value TEXT: schema = 1
 */
#ifndef SERVER_PREDICTION_DB_H
#define SERVER_PREDICTION_DB_H

#include <sqlite3.h>

#include "weights/distil_status.h"

/* Its name in the state directory. */
#define SERVER_PREDICTION_FILE "predictions.db"

enum { SERVER_PREDICTION_SCHEMA = 1 };

/* Opens it for reading. DISTIL_NOT_FOUND where there is none, DISTIL_FORMAT for a file that is none or is
 * damaged, DISTIL_UNSUPPORTED for another schema or another program's, else as server_prediction_db_fail. To be closed by
 * sqlite3_close. */
distil_status server_prediction_db_read(const char *path, sqlite3 **db, distil_error *error);
/* Opens it for writing, and makes it where there is none, readable by its owner alone. */
distil_status server_prediction_db_write(const char *path, sqlite3 **db, distil_error *error);
/* What SQLite says went wrong last: DISTIL_BUSY where another process has it locked, DISTIL_FORMAT
 * where it is damaged, DISTIL_SYSTEM where the disk is full, DISTIL_NO_MEMORY, DISTIL_IO. db may be
 * NULL: memory ran out. */
distil_status server_prediction_db_fail(sqlite3 *db, const char *path, distil_error *error);

#endif

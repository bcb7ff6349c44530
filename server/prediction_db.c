/* prediction_db.c: see prediction_db.h. */
#include "server/prediction_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUSY_MS = 250,              /* that a statement waits for another process's lock */
    JOURNAL_BYTES = 8 << 20,    /* that the write-ahead log keeps between checkpoints */
    APPLICATION_ID = 0x64697374 /* "dist" */
};

static const char schema[] =
    "CREATE TABLE prediction(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " at_ns INTEGER NOT NULL, model TEXT NOT NULL, digest TEXT NOT NULL, text TEXT, pair TEXT,"
    " text_hash BLOB, product_id TEXT, timestamp TEXT, label TEXT NOT NULL, score REAL,"
    " scores TEXT NOT NULL, tokens INTEGER NOT NULL, unknown INTEGER NOT NULL,"
    " truncated INTEGER NOT NULL, projection BLOB);"
    "CREATE INDEX prediction_at ON prediction(at_ns);"
    "CREATE TABLE feedback(prediction_id TEXT PRIMARY KEY, label TEXT NOT NULL,"
    " at_ns INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "INSERT INTO meta VALUES('schema', '1');";

/* Whether a cause is that no more may be written: the disk, the quota or a limit on files is full. */
static bool is_full(int cause)
{
    return cause == ENOSPC || cause == EDQUOT || cause == EFBIG;
}

distil_status server_prediction_db_fail(sqlite3 *db, const char *path, distil_error *error)
{
    int code = db ? sqlite3_errcode(db) & 0xFF : SQLITE_NOMEM;
    int cause = db ? sqlite3_system_errno(db) : 0;
    distil_status status = DISTIL_IO;
    if (code == SQLITE_NOMEM)
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return distil_fail(error, DISTIL_BUSY, "%s: another process has it locked", path);
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        status = DISTIL_FORMAT;
    if (code == SQLITE_FULL || (code == SQLITE_IOERR && is_full(cause)))
        status = DISTIL_SYSTEM;
    /* the cause is left over from earlier calls where this one did not ask the system */
    if (cause && (code == SQLITE_IOERR || code == SQLITE_CANTOPEN))
        return distil_fail(error, status, "%s: %s: %s", path, sqlite3_errmsg(db), strerror(cause));
    return distil_fail(error, status, "%s: %s", path, sqlite3_errmsg(db));
}

static distil_status execute(sqlite3 *db, const char *path, const char *sql, distil_error *error)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL))
        return server_prediction_db_fail(db, path, error);
    return DISTIL_OK;
}

/* The number that a PRAGMA answers with. */
static distil_status ask(sqlite3 *db, const char *path, const char *pragma, int *number,
                         distil_error *error)
{
    sqlite3_stmt *statement = NULL;
    distil_status status = DISTIL_OK;
    if (sqlite3_prepare_v2(db, pragma, -1, &statement, NULL) ||
        sqlite3_step(statement) != SQLITE_ROW)
        status = server_prediction_db_fail(db, path, error);
    else
        *number = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

/* What the file says of itself: *empty where it holds nothing yet. */
static distil_status check_schema(sqlite3 *db, const char *path, bool *empty, distil_error *error)
{
    int tables = 0, application = 0, version = 0;
    distil_status status = ask(db, path, "SELECT count(*) FROM sqlite_master", &tables, error);
    if (!status)
        status = ask(db, path, "PRAGMA application_id", &application, error);
    if (!status)
        status = ask(db, path, "PRAGMA user_version", &version, error);
    if (status)
        return status;
    *empty = tables == 0 && application == 0;
    if (!*empty && application != APPLICATION_ID)
        return distil_fail(error, DISTIL_UNSUPPORTED, "%s: a database of another program", path);
    if (!*empty && version != SERVER_PREDICTION_SCHEMA)
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "%s: written by another version of distild, as schema %d; this one "
                           "knows schema %d",
                           path, version, SERVER_PREDICTION_SCHEMA);
    return DISTIL_OK;
}

static distil_status create(sqlite3 *db, const char *path, distil_error *error)
{
    distil_status status = DISTIL_OK;
    char *numbers = sqlite3_mprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;",
                                    (int)APPLICATION_ID, (int)SERVER_PREDICTION_SCHEMA);
    char *all = sqlite3_mprintf("BEGIN IMMEDIATE; %s %s COMMIT;", schema, numbers);
    if (!numbers || !all)
        status = distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    else if ((status = execute(db, path, all, error)))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_free(numbers);
    sqlite3_free(all);
    return status;
}

static distil_status open_file(const char *path, int flags, sqlite3 **db, distil_error *error)
{
    distil_status status;
    if (sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
        sqlite3_extended_result_codes(*db, 1);
        sqlite3_busy_timeout(*db, BUSY_MS);
        return DISTIL_OK;
    }
    status = server_prediction_db_fail(*db, path, error);
    sqlite3_close(*db);
    *db = NULL;
    return status;
}

distil_status server_prediction_db_read(const char *path, sqlite3 **db, distil_error *error)
{
    struct stat file;
    distil_status status;
    bool empty;
    *db = NULL;
    if (stat(path, &file) && errno == ENOENT)
        return distil_fail(error, DISTIL_NOT_FOUND, "%s: there is no such file", path);
    status = open_file(path, SQLITE_OPEN_READONLY, db, error);
    if (status)
        return status;
    status = check_schema(*db, path, &empty, error);
    if (!status && empty)
        status = distil_fail(error, DISTIL_NOT_FOUND, "%s: no prediction was written yet", path);
    if (status) {
        sqlite3_close(*db);
        *db = NULL;
    }
    return status;
}

/* How this file is written. The first setting counts for an empty one only. */
static distil_status set_up(sqlite3 *db, const char *path, distil_error *error)
{
    char *settings = sqlite3_mprintf("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
                                     "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = %d;"
                                     "PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;",
                                     (int)JOURNAL_BYTES);
    distil_status status = settings
                               ? execute(db, path, settings, error)
                               : distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    sqlite3_free(settings);
    return status;
}

distil_status server_prediction_db_write(const char *path, sqlite3 **db, distil_error *error)
{
    distil_status status;
    bool empty;
    /* made here for its mode, which SQLite gives to the files beside it */
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    *db = NULL;
    if (fd < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    close(fd);
    status = open_file(path, SQLITE_OPEN_READWRITE, db, error);
    if (status)
        return status;
    status = check_schema(*db, path, &empty, error);
    if (!status)
        status = set_up(*db, path, error);
    if (!status && empty)
        status = create(*db, path, error);
    if (status) {
        sqlite3_close(*db);
        *db = NULL;
    }
    return status;
}

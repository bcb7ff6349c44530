/* score_store.c: see score_store.h. */
#include "server/score_store.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/prediction_db.h"

enum {
    SCHEMA = 1,
    APPLICATION_ID = 0x64697363, /* "disc" */
    BUSY_MS = 250,
    CHECKSUM = 8, /* bytes of a row's SHA-256 that are kept */
    ITEM_MOST = 65536,
    HASH = 32
};

struct server_score_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *find, *put;
    unsigned char key[SERVER_SHOWN_KEY];
};

static const char schema[] =
    "CREATE TABLE score(shown BLOB NOT NULL, item TEXT NOT NULL, age INTEGER NOT NULL,"
    " gender TEXT NOT NULL, occupation TEXT NOT NULL, similarity REAL NOT NULL,"
    " score REAL NOT NULL, at_ns INTEGER NOT NULL, checksum BLOB NOT NULL,"
    " PRIMARY KEY(shown, item)) WITHOUT ROWID;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";

/* The write-ahead log holds back nothing: a commit is on the disk. Exclusive: a second process is
 * refused, and no memory is shared with one. */
static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                               "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 8388608;"
                               "PRAGMA trusted_schema = OFF;";

static distil_status fail(struct server_score_store *store, distil_error *error)
{
    return server_prediction_db_fail(store->db, store->path, error);
}

static distil_status execute(struct server_score_store *store, const char *sql, distil_error *error)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) ? fail(store, error) : DISTIL_OK;
}

static distil_status prepare(struct server_score_store *store, const char *sql,
                             sqlite3_stmt **statement, distil_error *error)
{
    return sqlite3_prepare_v2(store->db, sql, -1, statement, NULL) ? fail(store, error) : DISTIL_OK;
}

/* ---- opening ---- */

/* The number that a PRAGMA or query answers with. */
static distil_status ask(struct server_score_store *store, const char *sql, int *number,
                         distil_error *error)
{
    sqlite3_stmt *statement = NULL;
    distil_status status = prepare(store, sql, &statement, error);
    if (!status && sqlite3_step(statement) == SQLITE_ROW)
        *number = sqlite3_column_int(statement, 0);
    else if (!status)
        status = fail(store, error);
    sqlite3_finalize(statement);
    return status;
}

static distil_status damaged(const struct server_score_store *store, const char *what,
                             distil_error *error)
{
    return distil_fail(error, DISTIL_FORMAT,
                       "%s: damaged (%s); put a copy of before in its place, or move it away to "
                       "begin without scores",
                       store->path, what);
}

/* Has SQLite look through the whole file. */
static distil_status check_file(struct server_score_store *store, distil_error *error)
{
    sqlite3_stmt *statement = NULL;
    distil_status status = prepare(store, "PRAGMA quick_check(1)", &statement, error);
    if (!status && sqlite3_step(statement) != SQLITE_ROW)
        status = fail(store, error);
    else if (!status) {
        const char *said = (const char *)sqlite3_column_text(statement, 0);
        if (!said || strcmp(said, "ok") != 0)
            status = damaged(store, said ? said : "no memory to check it", error);
    }
    sqlite3_finalize(statement);
    return status;
}

static distil_status create(struct server_score_store *store, distil_error *error)
{
    sqlite3_stmt *statement = NULL;
    char numbers[100];
    distil_status status;
    if (gnutls_rnd(GNUTLS_RND_KEY, store->key, sizeof(store->key)))
        return distil_fail(error, DISTIL_SYSTEM, "no random bytes for the key of %s", store->path);
    snprintf(numbers, sizeof(numbers), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             APPLICATION_ID, SCHEMA);
    status = execute(store, "BEGIN IMMEDIATE", error);
    if (!status)
        status = execute(store, schema, error);
    if (!status)
        status = execute(store, numbers, error);
    if (!status)
        status = prepare(store, "INSERT INTO meta VALUES('key', ?)", &statement, error);
    if (!status && (sqlite3_bind_blob(statement, 1, store->key, sizeof(store->key), NULL) ||
                    sqlite3_step(statement) != SQLITE_DONE))
        status = fail(store, error);
    sqlite3_finalize(statement);
    if (!status)
        status = execute(store, "COMMIT", error);
    if (status)
        server_score_store_rollback(store);
    return status;
}

static distil_status read_key(struct server_score_store *store, distil_error *error)
{
    sqlite3_stmt *statement = NULL;
    distil_status status =
        prepare(store, "SELECT value FROM meta WHERE key = 'key'", &statement, error);
    if (!status) {
        int found = sqlite3_step(statement);
        if (found != SQLITE_ROW && found != SQLITE_DONE)
            status = fail(store, error);
        else if (found == SQLITE_DONE ||
                 sqlite3_column_bytes(statement, 0) != (int)sizeof(store->key))
            status = damaged(store, "it lacks the key of ids", error);
        else
            memcpy(store->key, sqlite3_column_blob(statement, 0), sizeof(store->key));
    }
    sqlite3_finalize(statement);
    return status;
}

/* Makes the tables in an empty file; checks those of any other. */
static distil_status read_schema(struct server_score_store *store, distil_error *error)
{
    int tables = 0, application = 0, version = 0;
    distil_status status = ask(store, "SELECT count(*) FROM sqlite_master", &tables, error);
    if (!status)
        status = ask(store, "PRAGMA application_id", &application, error);
    if (!status)
        status = ask(store, "PRAGMA user_version", &version, error);
    if (status)
        return status;
    if (tables == 0 && application == 0)
        return create(store, error);
    if (application != APPLICATION_ID)
        return distil_fail(error, DISTIL_FORMAT, "%s: a database of another program", store->path);
    if (version != SCHEMA)
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "%s: written by another version of distild, as schema %d; this one "
                           "knows schema %d",
                           store->path, version, SCHEMA);
    status = check_file(store, error);
    return status ? status : read_key(store, error);
}

static distil_status open_file(struct server_score_store *store, distil_error *error)
{
    /* made here for its mode, which SQLite gives to the files beside it */
    int fd = open(store->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    distil_status status;
    if (fd < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", store->path, strerror(errno));
    close(fd);
    if (sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL))
        return fail(store, error);
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    status = execute(store, settings, error);
    return status ? status : read_schema(store, error);
}

distil_status server_score_store_open(const char *path, struct server_score_store **store,
                                      distil_error *error)
{
    struct server_score_store *made = calloc(1, sizeof(*made));
    distil_status status;
    *store = NULL;
    if (!made || !(made->path = strdup(path))) {
        free(made);
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    }
    status = open_file(made, error);
    if (!status)
        status = prepare(made, "SELECT score FROM score WHERE shown = ? AND item = ?", &made->find,
                         error);
    if (!status)
        status = prepare(made, "INSERT OR REPLACE INTO score VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                         &made->put, error);
    if (status)
        server_score_store_close(made);
    else
        *store = made;
    return status;
}

void server_score_store_close(struct server_score_store *store)
{
    if (!store)
        return;
    sqlite3_finalize(store->find);
    sqlite3_finalize(store->put);
    sqlite3_close(store->db);
    explicit_bzero(store->key, sizeof(store->key));
    free(store->path);
    free(store);
}

const unsigned char *server_score_store_key(const struct server_score_store *store)
{
    return store->key;
}

/* ---- rows ---- */

/* Of everything that a row says. False where it cannot be made. */
static bool make_checksum(const struct server_score_row *row, unsigned char checksum[CHECKSUM])
{
    unsigned char hash[HASH];
    gnutls_hash_hd_t made;
    const int64_t numbers[] = {row->profile.age, row->profile.gender, row->profile.occupation,
                               row->at_ns};
    /* SQLite gives 0 for -0 */
    const float values[] = {row->similarity + 0.0F, row->score + 0.0F};
    if (gnutls_hash_init(&made, GNUTLS_DIG_SHA256))
        return false;
    gnutls_hash(made, row->shown, sizeof(row->shown));
    gnutls_hash(made, numbers, sizeof(numbers));
    gnutls_hash(made, values, sizeof(values));
    gnutls_hash(made, row->item, strlen(row->item));
    gnutls_hash_deinit(made, hash);
    memcpy(checksum, hash, CHECKSUM);
    return true;
}

/* What a column holds: text of at most ITEM_MOST bytes; "" for anything else. */
static const char *text_of(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    return text && sqlite3_column_bytes(row, column) <= ITEM_MOST ? text : "";
}

/* False where the row is damaged. */
static bool read_row(sqlite3_stmt *from, struct server_score_row *row)
{
    unsigned char checksum[CHECKSUM];
    if (sqlite3_column_bytes(from, 0) != SERVER_SHOWN_NUMBER ||
        sqlite3_column_bytes(from, 8) != CHECKSUM)
        return false;
    memcpy(row->shown, sqlite3_column_blob(from, 0), SERVER_SHOWN_NUMBER);
    row->item = text_of(from, 1);
    row->profile.age = sqlite3_column_int(from, 2);
    row->profile.gender = server_gender_find(text_of(from, 3));
    row->profile.occupation = server_occupation_find(text_of(from, 4));
    row->similarity = (float)sqlite3_column_double(from, 5);
    row->score = (float)sqlite3_column_double(from, 6);
    row->at_ns = sqlite3_column_int64(from, 7);
    return row->profile.age >= 0 && row->profile.age <= SERVER_AGE_MOST &&
           row->profile.gender >= 0 && row->profile.occupation >= 0 &&
           make_checksum(row, checksum) &&
           memcmp(checksum, sqlite3_column_blob(from, 8), CHECKSUM) == 0;
}

distil_status server_score_store_each(struct server_score_store *store,
                                      distil_status (*take)(void *context,
                                                            const struct server_score_row *row,
                                                            distil_error *error),
                                      void *context, distil_error *error)
{
    sqlite3_stmt *rows = NULL;
    struct server_score_row row;
    distil_status status = prepare(store,
                                   "SELECT shown, item, age, gender, occupation, similarity, score,"
                                   " at_ns, checksum FROM score",
                                   &rows, error);
    int found = SQLITE_DONE;
    while (!status && (found = sqlite3_step(rows)) == SQLITE_ROW)
        status = read_row(rows, &row) ? take(context, &row, error)
                                      : damaged(store, "the checksum of a score is wrong", error);
    if (!status && found != SQLITE_DONE)
        status = fail(store, error);
    sqlite3_finalize(rows);
    return status;
}

/* ---- writing ---- */

distil_status server_score_store_begin(struct server_score_store *store, distil_error *error)
{
    return execute(store, "BEGIN IMMEDIATE", error);
}

static distil_status find_before(struct server_score_store *store,
                                 const struct server_score_row *row, bool *replaced, float *before,
                                 distil_error *error)
{
    distil_status status = DISTIL_OK;
    int found = SQLITE_ERROR;
    *replaced = false;
    if (sqlite3_bind_blob(store->find, 1, row->shown, SERVER_SHOWN_NUMBER, SQLITE_STATIC) ||
        sqlite3_bind_text(store->find, 2, row->item, -1, SQLITE_STATIC) ||
        ((found = sqlite3_step(store->find)) != SQLITE_ROW && found != SQLITE_DONE)) {
        status = fail(store, error);
    } else if (found == SQLITE_ROW) {
        *replaced = true;
        *before = (float)sqlite3_column_double(store->find, 0);
    }
    sqlite3_reset(store->find);
    sqlite3_clear_bindings(store->find);
    return status;
}

distil_status server_score_store_put(struct server_score_store *store,
                                     const struct server_score_row *row, bool *replaced,
                                     float *before, distil_error *error)
{
    unsigned char checksum[CHECKSUM];
    sqlite3_stmt *put = store->put;
    distil_status status = find_before(store, row, replaced, before, error);
    if (status)
        return status;
    if (!make_checksum(row, checksum))
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", store->path);
    if (sqlite3_bind_blob(put, 1, row->shown, SERVER_SHOWN_NUMBER, SQLITE_STATIC) ||
        sqlite3_bind_text(put, 2, row->item, -1, SQLITE_STATIC) ||
        sqlite3_bind_int(put, 3, row->profile.age) ||
        sqlite3_bind_text(put, 4, server_gender_name(row->profile.gender), -1, SQLITE_STATIC) ||
        sqlite3_bind_text(put, 5, server_occupation_name(row->profile.occupation), -1,
                          SQLITE_STATIC) ||
        sqlite3_bind_double(put, 6, (double)row->similarity) ||
        sqlite3_bind_double(put, 7, (double)row->score) || sqlite3_bind_int64(put, 8, row->at_ns) ||
        sqlite3_bind_blob(put, 9, checksum, CHECKSUM, SQLITE_STATIC) ||
        sqlite3_step(put) != SQLITE_DONE)
        status = fail(store, error);
    sqlite3_reset(put);
    sqlite3_clear_bindings(put);
    return status;
}

distil_status server_score_store_commit(struct server_score_store *store, distil_error *error)
{
    return execute(store, "COMMIT", error);
}

void server_score_store_rollback(struct server_score_store *store)
{
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

#include "tests/fuzz/server_formats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/api_keys.h"
#include "server/drift_rows.h"
#include "server/prediction_db.h"
#include "server/score_store.h"
#include "server/tokens.h"
#include "tests/fuzz/formats.h"

static const struct server_log silent = {.fd = -1};

/* ---- what the recommender and the log keep, in SQLite ---- */

/* What SQLite has put beside a file that was damaged belongs to no other. */
static void remove_beside(const char *path)
{
    static const char *const endings[] = {"-wal", "-shm", "-journal"};
    char beside[FUZZ_PATH + 16];
    for (int i = 0; i < 3; i++) {
        snprintf(beside, sizeof beside, "%s%s", path, endings[i]);
        unlink(beside);
    }
}

void fuzz_make_scores(const char *folder)
{
    struct server_score_store *store = NULL;
    struct server_score_row row = {.item = "The Quiet Orchard",
                                   .profile = {.age = 31, .gender = 1, .occupation = 10},
                                   .similarity = 0.25F,
                                   .at_ns = 1700000000000000000};
    const char *path = fuzz_path(folder, SERVER_SCORE_FILE);
    distil_error error;
    fuzz_must(server_score_store_open(path, &store, &error), &error);
    fuzz_must(server_score_store_begin(store, &error), &error);
    for (int i = 0; i < 20; i++) {
        bool replaced;
        float before;
        row.shown[0] = (unsigned char)i;
        row.score = (float)(i % 6);
        fuzz_must(server_score_store_put(store, &row, &replaced, &before, &error), &error);
    }
    fuzz_must(server_score_store_commit(store, &error), &error);
    server_score_store_close(store);
}

/* What is let through is what was written: within its bounds, as the recommender learns from it unseen. */
static distil_status take_score(void *context, const struct server_score_row *row,
                                distil_error *error)
{
    (void)context;
    (void)error;
    if (!(row->score >= 0 && row->score <= 5) || !isfinite(row->similarity) ||
        row->profile.age < 0 || row->profile.age > SERVER_AGE_MOST || row->profile.gender < 0 ||
        row->profile.gender >= SERVER_GENDERS || row->profile.occupation < 0 ||
        row->profile.occupation >= SERVER_OCCUPATIONS || !*row->item)
        abort();
    return DISTIL_OK;
}

bool fuzz_read_scores(const char *folder)
{
    struct server_score_store *store = NULL;
    const char *path = fuzz_path(folder, SERVER_SCORE_FILE);
    distil_error error;
    remove_beside(path);
    bool good = fuzz_accepted(server_score_store_open(path, &store, &error), &error);
    if (good)
        good = fuzz_accepted(server_score_store_each(store, take_score, NULL, &error), &error);
    server_score_store_close(store);
    return good;
}

void fuzz_make_predictions(const char *folder)
{
    static const char rows[] =
        "INSERT INTO prediction VALUES (1, 'a', 1700000000000000000, 'm', 'd', 'fine', NULL, NULL, "
        "NULL, NULL, 'POSITIVE', 0.75, "
        "'{\"NEGATIVE\":0.25,\"POSITIVE\":0.75}', 3, 0, 0, zeroblob(64));"
        "INSERT INTO prediction VALUES (2, 'b', 1700000001000000000, 'm', 'd', 'poor', NULL, NULL, "
        "'p', '2026-01-02T03:04:05Z', 'NEGATIVE', "
        "0.5, '{\"NEGATIVE\":0.5,\"POSITIVE\":0.5}', 3, 1, 1, NULL);"
        "INSERT INTO feedback VALUES ('a', 'NEGATIVE', 1700000002000000000);";
    sqlite3 *db = NULL;
    distil_error error;
    fuzz_must(server_prediction_db_write(fuzz_path(folder, SERVER_PREDICTION_FILE), &db, &error),
              &error);
    if (sqlite3_exec(db, rows, NULL, NULL, NULL) != SQLITE_OK || sqlite3_close(db) != SQLITE_OK)
        abort();
}

/* Whether what was read hangs together. */
static bool read_rows(distil_status status, struct server_drift_rows *rows,
                      const distil_error *error)
{
    bool good = fuzz_accepted(status, error);
    for (size_t i = 0; i < rows->count && good; i++) {
        const struct server_drift_row *row = &rows->rows[i];
        if (row->label < -1 || row->label >= rows->labels.count || row->truth < -1 ||
            row->truth >= rows->labels.count || row->model < -1 ||
            row->model >= rows->models.count || isinf(row->confidence) || isinf(row->tokens))
            abort();
    }
    server_drift_rows_free(rows);
    return good;
}

bool fuzz_read_predictions(const char *folder)
{
    const char *path = fuzz_path(folder, SERVER_PREDICTION_FILE);
    const struct server_drift_query query = {
        .range = {INT64_MIN, INT64_MAX}, .limit = 100, .texts = true};
    struct server_drift_rows rows = {.keep_texts = true};
    distil_error error;
    remove_beside(path);
    return read_rows(server_drift_read_log(path, &query, &rows, &error), &rows, &error);
}

/* ---- rows that drift is measured on ---- */

static bool read_drift_file(const char *path)
{
    const struct server_drift_query query = {
        .range = {INT64_MIN, INT64_MAX}, .limit = 100, .texts = true};
    struct server_drift_rows rows = {.keep_texts = true};
    distil_error error;
    return read_rows(server_drift_read_file(path, &query, &rows, &error), &rows, &error);
}

void fuzz_make_drift_rows(const char *folder)
{
    fuzz_put(folder, "rows.jsonl",
             "{\"at\":\"2026-01-02T03:04:05Z\",\"model\":\"m\",\"label\":\"POSITIVE\",\"score\":0."
             "75,\"scores\":{\"NEGATIVE\":0.25,"
             "\"POSITIVE\":0.75},\"tokens\":7,\"unknown\":1,\"text\":\"caf\\u00e9\",\"feedback\":"
             "\"NEGATIVE\"}\n"
             "{\"at\":\"2026-01-03T03:04:05+01:00\",\"model\":\"m\",\"label\":\"NEGATIVE\","
             "\"score\":0.5,\"tokens\":9,\"projection\":[1,-2e-3,0]}\n\n");
}

bool fuzz_read_drift_rows(const char *folder)
{
    return read_drift_file(fuzz_path(folder, "rows.jsonl"));
}

void fuzz_make_drift_columns(const char *folder)
{
    fuzz_put(folder, "rows.tsv",
             "label\tscore\ttokens\tat\nPOSITIVE\t0.75\t7\t2026-01-02T03:04:05Z\nNEGATIVE\t0."
             "5\t9\t2026-01-03T03:04:05Z\r\n");
}

bool fuzz_read_drift_columns(const char *folder)
{
    return read_drift_file(fuzz_path(folder, "rows.tsv"));
}

/* ---- who may ask ---- */

void fuzz_make_api_keys(const char *folder)
{
    fuzz_put(folder, "keys",
             "# name hash scope\n"
             "shop sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad "
             "scope=predict\n"
             "ops  sha256:cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34 "
             "scope=metrics,admin rate=10/s:20 # both\n");
}

bool fuzz_read_api_keys(const char *folder)
{
    struct server_api_keys *keys = NULL;
    const char *path = fuzz_path(folder, "keys");
    distil_error error;
    chmod(path, 0600);
    bool good = fuzz_accepted(server_api_keys_open(path, &silent, &keys, &error), &error);
    for (int i = 0; good && i < keys->count; i++)
        if (!server_key_name_valid(keys->keys[i].name) || !keys->keys[i].scopes ||
            keys->keys[i].scopes & ~(unsigned)SERVER_SCOPES_GRANTABLE)
            abort();
    server_api_keys_free(keys);
    return good;
}

void fuzz_make_token_keys(const char *folder)
{
    fuzz_put(folder, "secret", "0123456789abcdef0123456789abcdef\n");
    chmod(fuzz_path(folder, "secret"), 0600);
    fuzz_put(folder, "tokens",
             "# kid algorithm key\n"
             "ci  HS256 secret iss=ci aud=distild scope=predict\n"
             "two HS256 secret iss=https://id/ aud=distild scope=predict,metrics\n");
}

bool fuzz_read_token_keys(const char *folder)
{
    struct server_token_keys *keys = NULL;
    const char *path = fuzz_path(folder, "tokens");
    distil_error error;
    chmod(path, 0600);
    bool good = fuzz_accepted(server_token_keys_open(path, &silent, &keys, &error), &error);
    for (int i = 0; good && i < keys->count; i++)
        if (!server_key_name_valid(keys->keys[i].name) || keys->keys[i].key.length < 32)
            abort();
    server_token_keys_free(keys);
    return good;
}

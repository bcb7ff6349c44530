/* prediction_rows.c: what the log of predictions writes: rows, and feedback on them. */
#include <cjson/cJSON.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "server/prediction_db.h"
#include "server/prediction_internal.h"
#include "server/timestamp.h"

enum { HASH = 32 };

static const char *const sql[SERVER_PREDICTION_STATEMENTS] = {
    [SERVER_PREDICTION_BEGIN] = "BEGIN IMMEDIATE",
    [SERVER_PREDICTION_COMMIT] = "COMMIT",
    /* an id is never given twice; should it be, the first row stays */
    [SERVER_PREDICTION_INSERT] =
        ("INSERT OR IGNORE INTO prediction(id, at_ns, model, digest, text, pair, text_hash,"
         " product_id, timestamp, label, score, scores, tokens, unknown, truncated, projection)"
         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"),
    [SERVER_PREDICTION_FIND] = "SELECT label, scores FROM prediction WHERE id = ?1",
    [SERVER_PREDICTION_FIND_FEEDBACK] = "SELECT label FROM feedback WHERE prediction_id = ?1",
    [SERVER_PREDICTION_INSERT_FEEDBACK] =
        ("INSERT INTO feedback(prediction_id, label, at_ns) VALUES(?1, ?2, ?3)"
         " ON CONFLICT(prediction_id) DO UPDATE SET label = ?2, at_ns = ?3"),
};

void server_prediction_close(struct server_prediction_writer *writer)
{
    int i;
    for (i = 0; i < SERVER_PREDICTION_STATEMENTS; i++) {
        sqlite3_finalize(writer->statements[i]);
        writer->statements[i] = NULL;
    }
    sqlite3_close(writer->db);
    writer->db = NULL;
}

distil_status server_prediction_open(struct server_prediction_log *log, distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    distil_status status = server_prediction_db_write(writer->path, &writer->db, error);
    int i;
    for (i = 0; i < SERVER_PREDICTION_STATEMENTS && !status; i++)
        if (sqlite3_prepare_v3(writer->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &writer->statements[i], NULL))
            status = server_prediction_db_fail(writer->db, writer->path, error);
    return status;
}

/* Runs a statement that gives no row, and makes it ready for the next time. */
static distil_status run(struct server_prediction_writer *writer,
                         enum server_prediction_statement which, distil_error *error)
{
    sqlite3_stmt *statement = writer->statements[which];
    distil_status status = DISTIL_OK;
    if (sqlite3_step(statement) != SQLITE_DONE)
        status = server_prediction_db_fail(writer->db, writer->path, error);
    sqlite3_reset(statement);
    return status;
}

/* The bytes stay the row's, which outlives the step; NULL is SQL's NULL. */
static void bind_text(sqlite3_stmt *statement, int i, const char *text)
{
    sqlite3_bind_text(statement, i, text, -1, SQLITE_STATIC);
}

/* The hash of a text, or of both of a pair with a NUL between them; false where there is none. */
static bool hash_text(const struct server_prediction_writer *writer,
                      const struct server_prediction *p, unsigned char hash[HASH])
{
    gnutls_hmac_hd_t state;
    bool done;
    if (!p->text ||
        gnutls_hmac_init(&state, GNUTLS_MAC_SHA256, writer->key, SERVER_PREDICTION_KEY) < 0)
        return false;
    done = gnutls_hmac(state, p->text, strlen(p->text)) >= 0 &&
           (!p->pair ||
            (gnutls_hmac(state, "", 1) >= 0 && gnutls_hmac(state, p->pair, strlen(p->pair)) >= 0));
    gnutls_hmac_deinit(state, hash);
    return done;
}

static distil_status insert(struct server_prediction_writer *writer,
                            const struct server_prediction *p, distil_error *error)
{
    sqlite3_stmt *statement = writer->statements[SERVER_PREDICTION_INSERT];
    unsigned char hash[HASH];
    bool hashed = writer->has_key && hash_text(writer, p, hash);
    distil_status status;
    bind_text(statement, 1, p->id);
    sqlite3_bind_int64(statement, 2, p->at_ns);
    bind_text(statement, 3, p->model);
    bind_text(statement, 4, p->digest);
    bind_text(statement, 5, writer->has_key ? NULL : p->text);
    bind_text(statement, 6, writer->has_key ? NULL : p->pair);
    sqlite3_bind_blob(statement, 7, hashed ? hash : NULL, HASH, SQLITE_STATIC);
    bind_text(statement, 8, p->product_id);
    bind_text(statement, 9, p->timestamp);
    bind_text(statement, 10, p->label);
    sqlite3_bind_double(statement, 11, p->score);
    bind_text(statement, 12, p->scores);
    sqlite3_bind_int(statement, 13, p->tokens);
    sqlite3_bind_int(statement, 14, p->unknown);
    sqlite3_bind_int(statement, 15, p->truncated);
    sqlite3_bind_blob(statement, 16, p->projection, p->projection_count * (int)sizeof(float),
                      SQLITE_STATIC);
    status = run(writer, SERVER_PREDICTION_INSERT, error);
    sqlite3_clear_bindings(statement);
    return status;
}

/* ---- feedback ---- */

/* Takes the first column of a row as a string, cut at size; "" for NULL. */
static void copy_column(sqlite3_stmt *statement, int column, char *to, size_t size)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    snprintf(to, size, "%s", text ? (const char *)text : "");
}

/* Whether a label is among the keys of scores, as JSON; else lists those there are. */
static bool has_label(const char *scores, const char *label, char *labels, size_t size)
{
    cJSON *root = cJSON_Parse(scores);
    const cJSON *item;
    bool found = cJSON_GetObjectItemCaseSensitive(root, label) != NULL;
    size_t length = 0;
    labels[0] = '\0';
    cJSON_ArrayForEach(item, root)
    {
        if (length < size)
            length += (size_t)snprintf(labels + length, size - length, "%s%s",
                                       length > 0 ? ", " : "", item->string);
    }
    cJSON_Delete(root);
    return found;
}

/* Looks a prediction up; its label goes into feedback->predicted. */
static distil_status find(struct server_prediction_writer *writer, struct server_feedback *feedback,
                          distil_error *error)
{
    sqlite3_stmt *statement = writer->statements[SERVER_PREDICTION_FIND];
    distil_status status = DISTIL_OK;
    int step;
    bind_text(statement, 1, feedback->id);
    step = sqlite3_step(statement);
    feedback->outcome = SERVER_FEEDBACK_UNKNOWN;
    if (step == SQLITE_ROW) {
        const unsigned char *scores = sqlite3_column_text(statement, 1);
        copy_column(statement, 0, feedback->predicted, sizeof(feedback->predicted));
        feedback->outcome = has_label(scores ? (const char *)scores : "", feedback->label,
                                      feedback->labels, sizeof(feedback->labels))
                                ? SERVER_FEEDBACK_KEPT
                                : SERVER_FEEDBACK_WRONG_LABEL;
    } else if (step != SQLITE_DONE) {
        status = server_prediction_db_fail(writer->db, writer->path, error);
    }
    sqlite3_reset(statement);
    return status;
}

/* Looks for what was said of the prediction before. */
static distil_status find_previous(struct server_prediction_writer *writer,
                                   struct server_feedback *feedback, distil_error *error)
{
    sqlite3_stmt *statement = writer->statements[SERVER_PREDICTION_FIND_FEEDBACK];
    distil_status status = DISTIL_OK;
    int step;
    bind_text(statement, 1, feedback->id);
    step = sqlite3_step(statement);
    feedback->previous[0] = '\0';
    if (step == SQLITE_ROW)
        copy_column(statement, 0, feedback->previous, sizeof(feedback->previous));
    else if (step != SQLITE_DONE)
        status = server_prediction_db_fail(writer->db, writer->path, error);
    sqlite3_reset(statement);
    return status;
}

static distil_status decide(struct server_prediction_writer *writer,
                            struct server_feedback *feedback, distil_error *error)
{
    sqlite3_stmt *statement = writer->statements[SERVER_PREDICTION_INSERT_FEEDBACK];
    distil_status status = find(writer, feedback, error);
    if (status || feedback->outcome != SERVER_FEEDBACK_KEPT)
        return status;
    status = find_previous(writer, feedback, error);
    /* said again: the time of the first stays */
    if (status || strcmp(feedback->previous, feedback->label) == 0)
        return status;
    bind_text(statement, 1, feedback->id);
    bind_text(statement, 2, feedback->label);
    sqlite3_bind_int64(statement, 3, server_clock());
    return run(writer, SERVER_PREDICTION_INSERT_FEEDBACK, error);
}

/* ---- a transaction ---- */

distil_status server_prediction_write(struct server_prediction_log *log, distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    distil_status status = run(writer, SERVER_PREDICTION_BEGIN, error);
    int i;
    if (status)
        return status;
    for (i = 0; i < writer->count && !status; i++)
        status = insert(writer, &writer->batch[i]->prediction, error);
    for (i = 0; i < writer->feedback_count && !status; i++)
        status = decide(writer, &writer->feedback[i].copy, error);
    if (!status)
        status = run(writer, SERVER_PREDICTION_COMMIT, error);
    if (status && !sqlite3_get_autocommit(writer->db))
        sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* drift_log.c: rows from the server's log of predictions; see drift_rows.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/drift_rows.h"
#include "server/json_input.h"
#include "server/prediction_db.h"

/* Rows read before the statement is reset: a read that stays open keeps the write-ahead log from being
 * cut. */
enum { PIECE = 5000, MAX_SCORES = 4096 };

static const char select_rows[] =
    "SELECT p.at_ns, p.seq, p.model, p.digest, p.label, p.score, p.scores, p.tokens, p.unknown,"
    " p.projection, p.text, f.label"
    " FROM prediction p LEFT JOIN feedback f ON f.prediction_id = p.id"
    " WHERE (p.at_ns, p.seq) > (?1, ?2) AND p.at_ns < ?3 AND (?4 IS NULL OR p.model = ?4)"
    " ORDER BY p.at_ns, p.seq LIMIT ?5";

enum { AT, SEQ, MODEL, DIGEST, LABEL, SCORE, SCORES, TOKENS, UNKNOWN, PROJECTION, TEXT, TRUTH };

static const char count_rows[] = "SELECT count(*) FROM prediction WHERE at_ns >= ?1 AND at_ns < ?2"
                                 " AND (?3 IS NULL OR model = ?3)";

struct reader {
    sqlite3 *db;
    sqlite3_stmt *statement;
    const char *path;
    const struct server_drift_query *query;
    struct server_drift_rows *rows;
    size_t stride, passed; /* every stride-th row is kept */
    int64_t at_ns, seq;    /* of the row read last */
};

static distil_status count(struct reader *reader, size_t *found, distil_error *error)
{
    const struct server_drift_query *query = reader->query;
    sqlite3_stmt *statement = NULL;
    distil_status status = DISTIL_OK;
    *found = 0;
    if (sqlite3_prepare_v2(reader->db, count_rows, -1, &statement, NULL) ||
        sqlite3_bind_int64(statement, 1, query->range.from) ||
        sqlite3_bind_int64(statement, 2, query->range.to) ||
        sqlite3_bind_text(statement, 3, query->model, -1, SQLITE_STATIC) ||
        sqlite3_step(statement) != SQLITE_ROW)
        status = server_prediction_db_fail(reader->db, reader->path, error);
    else
        *found = (size_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

/* The scores are the log's own JSON: numbers after names. NaN where they are not. */
static double entropy_of(const char *json)
{
    double scores[MAX_SCORES];
    int n = 0;
    struct server_problem problem;
    cJSON *parsed = json ? server_json_parse(json, strlen(json), &problem) : NULL;
    const cJSON *each;
    cJSON_ArrayForEach(each, parsed)
    {
        if (n == MAX_SCORES || !cJSON_IsNumber(each)) {
            n = 0;
            break;
        }
        scores[n++] = each->valuedouble;
    }
    cJSON_Delete(parsed);
    return server_drift_entropy(scores, n);
}

static double number_of(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return NAN;
    return sqlite3_column_double(statement, column);
}

static const char *text_of(sqlite3_stmt *statement, int column)
{
    return (const char *)sqlite3_column_text(statement, column);
}

static distil_status take_row(struct reader *reader, distil_error *error)
{
    sqlite3_stmt *statement = reader->statement;
    const char *label = text_of(statement, LABEL), *name = text_of(statement, MODEL);
    const char *digest = text_of(statement, DIGEST);
    const void *blob = sqlite3_column_blob(statement, PROJECTION);
    size_t bytes = (size_t)sqlite3_column_bytes(statement, PROJECTION);
    float projection[SERVER_DRIFT_MAX_DIMENSIONS];
    struct server_drift_row row = {
        .at_ns = reader->at_ns,
        .confidence = number_of(statement, SCORE),
        .entropy = entropy_of(text_of(statement, SCORES)),
        .tokens = number_of(statement, TOKENS),
        .unknown = number_of(statement, UNKNOWN),
    };
    char model[512];
    if (!label || !name || bytes % sizeof(float) || bytes > sizeof(projection))
        return distil_fail(error, DISTIL_FORMAT, "%s: prediction %lld is damaged", reader->path,
                           (long long)reader->seq);
    if (bytes > 0)
        memcpy(projection, blob, bytes);
    snprintf(model, sizeof(model), "%s%s%s", name, digest && *digest ? " " : "",
             digest ? digest : "");
    return server_drift_add(reader->rows, row, label, text_of(statement, TRUTH), model,
                            bytes > 0 ? projection : NULL, (int)(bytes / sizeof(float)),
                            reader->query->texts ? text_of(statement, TEXT) : NULL, error);
}

/* Reads the next piece; *more is false after the last one. */
static distil_status read_piece(struct reader *reader, bool *more, distil_error *error)
{
    sqlite3_stmt *statement = reader->statement;
    distil_status status = DISTIL_OK;
    int outcome, n = 0;
    sqlite3_bind_int64(statement, 1, reader->at_ns);
    sqlite3_bind_int64(statement, 2, reader->seq);
    while (!status && (outcome = sqlite3_step(statement)) == SQLITE_ROW) {
        reader->at_ns = sqlite3_column_int64(statement, AT);
        reader->seq = sqlite3_column_int64(statement, SEQ);
        if (reader->passed++ % reader->stride == 0)
            status = take_row(reader, error);
        n++;
    }
    if (!status && outcome != SQLITE_DONE)
        status = server_prediction_db_fail(reader->db, reader->path, error);
    sqlite3_reset(statement);
    *more = n == PIECE;
    return status;
}

distil_status server_drift_read_log(const char *path, const struct server_drift_query *query,
                                    struct server_drift_rows *rows, distil_error *error)
{
    struct reader reader = {
        .path = path, .query = query, .rows = rows, .at_ns = query->range.from, .seq = INT64_MIN};
    bool more = true;
    distil_status status = server_prediction_db_read(path, &reader.db, error);
    rows->keep_texts = query->texts;
    if (!status)
        status = count(&reader, &rows->found, error);
    reader.stride = rows->found / query->limit + (rows->found % query->limit != 0);
    reader.stride = reader.stride > 0 ? reader.stride : 1;
    if (!status && (sqlite3_prepare_v2(reader.db, select_rows, -1, &reader.statement, NULL) ||
                    sqlite3_bind_int64(reader.statement, 3, query->range.to) ||
                    sqlite3_bind_text(reader.statement, 4, query->model, -1, SQLITE_STATIC) ||
                    sqlite3_bind_int(reader.statement, 5, PIECE)))
        status = server_prediction_db_fail(reader.db, path, error);
    while (!status && more)
        status = read_piece(&reader, &more, error);
    sqlite3_finalize(reader.statement);
    sqlite3_close(reader.db);
    return status;
}

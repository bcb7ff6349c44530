#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/prediction_db.h"
#include "tools/log_stats.h"
#include "tools/output.h"
#include "tools/telemetry.h"

/* A group for each day, model and label. Nothing of what users sent is selected. */
static const char predictions[] =
    "SELECT strftime('%Y-%m-%d', at_ns / 1000000000, 'unixepoch'), model, digest, label, count(*),"
    " avg(score), min(score), sum(tokens), max(tokens), sum(unknown), sum(truncated),"
    " sum(score < 0.5), sum(score >= 0.5 AND score < 0.6), sum(score >= 0.6 AND score < 0.7),"
    " sum(score >= 0.7 AND score < 0.8), sum(score >= 0.8 AND score < 0.9), sum(score >= 0.9)"
    " FROM prediction WHERE seq > ?1 AND seq <= ?2 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";

/* A group for each day of feedback, model, label predicted and label given. */
static const char feedback[] =
    "SELECT strftime('%Y-%m-%d', f.at_ns / 1000000000, 'unixepoch'), p.model, p.digest, p.label,"
    " f.label, count(*) FROM feedback f JOIN prediction p ON p.id = f.prediction_id"
    " WHERE f.at_ns >= ?1 AND f.at_ns < ?2 GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5";

static void put_text(FILE *out, const char *name, sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    fprintf(out, ", \"%s\": ", name);
    tool_json_string(out, text ? text : "");
}

static void put_number(FILE *out, const char *name, sqlite3_stmt *row, int column)
{
    fprintf(out, ", \"%s\": %" PRId64, name, (int64_t)sqlite3_column_int64(row, column));
}

static void put_real(FILE *out, const char *name, sqlite3_stmt *row, int column)
{
    fprintf(out, ", \"%s\": %.6f", name, sqlite3_column_double(row, column));
}

static void begin_group(FILE *out, sqlite3_stmt *row)
{
    fputs("{\"day\": ", out);
    tool_json_string(out, (const char *)sqlite3_column_text(row, 0));
    put_text(out, "model", row, 1);
    put_text(out, "digest", row, 2);
}

static void put_predictions(FILE *out, sqlite3_stmt *row)
{
    begin_group(out, row);
    put_text(out, "label", row, 3);
    put_number(out, "count", row, 4);
    put_real(out, "mean_score", row, 5);
    put_real(out, "least_score", row, 6);
    put_number(out, "tokens", row, 7);
    put_number(out, "most_tokens", row, 8);
    put_number(out, "unknown_tokens", row, 9);
    put_number(out, "truncated", row, 10);
    fputs(", \"scores\": [", out);
    for (int i = 11; i < 17; i++)
        fprintf(out, "%s%" PRId64, i > 11 ? ", " : "", (int64_t)sqlite3_column_int64(row, i));
    fputs("]}", out);
}

static void put_feedback(FILE *out, sqlite3_stmt *row)
{
    begin_group(out, row);
    put_text(out, "predicted", row, 3);
    put_text(out, "given", row, 4);
    put_number(out, "count", row, 5);
    fputc('}', out);
}

static distil_status put_groups(FILE *out, const char *name, sqlite3 *db, const char *path,
                                const char *sql, int64_t from, int64_t to,
                                void (*put)(FILE *out, sqlite3_stmt *row), distil_error *error)
{
    sqlite3_stmt *select = NULL;
    int step = SQLITE_ERROR, groups = 0;
    fprintf(out, ",\n  \"%s\": [", name);
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(select, 1, from);
        sqlite3_bind_int64(select, 2, to);
        while ((step = sqlite3_step(select)) == SQLITE_ROW) {
            fputs(groups++ ? ",\n    " : "\n    ", out);
            put(out, select);
        }
    }
    distil_status status =
        step == SQLITE_DONE ? DISTIL_OK : server_prediction_db_fail(db, path, error);
    sqlite3_finalize(select);
    fputs("]", out);
    return status;
}

distil_status tool_telemetry_write(FILE *out, const char *path, struct tool_telemetry_range *range,
                                   distil_error *error)
{
    sqlite3 *db = NULL;
    int64_t first;
    distil_status status = server_prediction_db_read(path, &db, error);
    if (!status)
        status = tool_log_range(db, path, &first, &range->last, error);
    if (!status && range->last < range->after) /* the log was begun anew */
        range->after = 0;
    if (!status)
        status = put_groups(out, "predictions", db, path, predictions, range->after, range->last,
                            put_predictions, error);
    if (!status)
        status = put_groups(out, "feedback", db, path, feedback, range->since, range->until,
                            put_feedback, error);
    sqlite3_close(db);
    return status;
}

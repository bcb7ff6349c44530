#include "tools/log_stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/prediction_db.h"
#include "server/timestamp.h"
#include "tools/output.h"

/* A line for each model (by name and digest) and label. */
static const char by_label[] =
    "SELECT p.model, p.digest, p.label, count(*), avg(p.score), count(f.label),"
    " sum(f.label = p.label), min(p.at_ns), max(p.at_ns)"
    " FROM prediction p LEFT JOIN feedback f ON f.prediction_id = p.id"
    " WHERE p.at_ns >= ?1 AND p.at_ns < ?2 AND (?3 IS NULL OR p.model = ?3)"
    " AND (?4 = 0 OR f.label IS NOT NULL)"
    " GROUP BY p.model, p.digest, p.label ORDER BY min(p.seq), p.label";

distil_status tool_log_range(sqlite3 *db, const char *path, int64_t *first, int64_t *last,
                             distil_error *error)
{
    static const char sql[] = "SELECT coalesce((SELECT min(seq) FROM prediction), 1),"
                              " coalesce((SELECT max(seq) FROM prediction), 0)";
    sqlite3_stmt *statement = NULL;
    distil_status status = DISTIL_OK;
    *first = 1;
    *last = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) ||
        sqlite3_step(statement) != SQLITE_ROW) {
        status = server_prediction_db_fail(db, path, error);
    } else {
        *first = sqlite3_column_int64(statement, 0);
        *last = sqlite3_column_int64(statement, 1);
    }
    sqlite3_finalize(statement);
    return status;
}

struct sums {
    int64_t predictions, feedback, right, first, last;
};

static void add(struct sums *sums, sqlite3_stmt *row)
{
    int64_t first = sqlite3_column_int64(row, 7), last = sqlite3_column_int64(row, 8);
    sums->first = sums->predictions == 0 || first < sums->first ? first : sums->first;
    sums->last = sums->predictions == 0 || last > sums->last ? last : sums->last;
    sums->predictions += sqlite3_column_int64(row, 3);
    sums->feedback += sqlite3_column_int64(row, 5);
    sums->right += sqlite3_column_int64(row, 6);
}

static void print_json_row(sqlite3_stmt *row, bool first)
{
    fputs(first ? "{\"groups\":[{\"model\":" : ",{\"model\":", stdout);
    tool_json_string(stdout, (const char *)sqlite3_column_text(row, 0));
    fputs(",\"digest\":", stdout);
    tool_json_string(stdout, (const char *)sqlite3_column_text(row, 1));
    fputs(",\"label\":", stdout);
    tool_json_string(stdout, (const char *)sqlite3_column_text(row, 2));
    printf(",\"predictions\":%" PRId64 ",\"mean_score\":", (int64_t)sqlite3_column_int64(row, 3));
    tool_json_double(stdout, sqlite3_column_double(row, 4));
    printf(",\"feedback\":%" PRId64 ",\"right\":%" PRId64 "}",
           (int64_t)sqlite3_column_int64(row, 5), (int64_t)sqlite3_column_int64(row, 6));
}

static void print_row(sqlite3_stmt *row, bool first)
{
    char model[40], label[40];
    int64_t feedback = sqlite3_column_int64(row, 5);
    if (first)
        puts("MODEL           DIGEST        LABEL         PREDICTIONS  MEAN SCORE  FEEDBACK   "
             "RIGHT");
    snprintf(model, sizeof model, "%.38s", (const char *)sqlite3_column_text(row, 0));
    snprintf(label, sizeof label, "%.38s", (const char *)sqlite3_column_text(row, 2));
    tool_padded(stdout, model, 16);
    printf("%-14.12s", (const char *)sqlite3_column_text(row, 1));
    tool_padded(stdout, label, 14);
    printf("%11" PRId64 "  %10.4f  %8" PRId64, (int64_t)sqlite3_column_int64(row, 3),
           sqlite3_column_double(row, 4), feedback);
    if (feedback > 0)
        printf("  %5.1f%%", 100.0 * (double)sqlite3_column_int64(row, 6) / (double)feedback);
    putchar('\n');
}

static void print_sums(const struct sums *sums, bool json)
{
    char first[SERVER_TIMESTAMP_SIZE], last[SERVER_TIMESTAMP_SIZE];
    server_timestamp_write(sums->first, first);
    server_timestamp_write(sums->last, last);
    if (json && sums->predictions == 0)
        puts("{\"groups\":[],\"predictions\":0,\"feedback\":0,\"right\":0}");
    else if (json)
        printf("],\"predictions\":%" PRId64 ",\"feedback\":%" PRId64 ",\"right\":%" PRId64
               ",\"first\":\"%s\",\"last\":\"%s\"}\n",
               sums->predictions, sums->feedback, sums->right, first, last);
    else if (sums->predictions == 0)
        puts("no predictions");
    else
        printf("\n%" PRId64 " predictions from %s to %s, %" PRId64 " with feedback\n",
               sums->predictions, first, last, sums->feedback);
}

distil_status tool_log_stats(sqlite3 *db, const char *path, const struct tool_log_query *query,
                             bool json, distil_error *error)
{
    sqlite3_stmt *select = NULL;
    struct sums sums = {0};
    int step = SQLITE_ERROR;
    distil_status status = DISTIL_OK;
    if (sqlite3_prepare_v2(db, by_label, -1, &select, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(select, 1, query->since);
        sqlite3_bind_int64(select, 2, query->until);
        sqlite3_bind_text(select, 3, query->model, -1, SQLITE_STATIC);
        sqlite3_bind_int(select, 4, query->labelled);
        while ((step = sqlite3_step(select)) == SQLITE_ROW) {
            (json ? print_json_row : print_row)(select, sums.predictions == 0);
            add(&sums, select);
        }
    }
    if (step != SQLITE_DONE)
        status = server_prediction_db_fail(db, path, error);
    else
        print_sums(&sums, json);
    sqlite3_finalize(select);
    return status;
}

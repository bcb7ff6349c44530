#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/prediction_db.h"
#include "server/timestamp.h"
#include "tools/commands.h"
#include "tools/log_stats.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/state.h"

struct log_settings {
    const char *state_dir, *since, *until, *model, *format;
    bool labelled, json;
};

static const struct tool_option options[] = {
    TOOL_STATE_OPTION(struct log_settings,
                      "The server's directory of state; without it, $XDG_STATE_HOME/distild or "
                      "~/.local/state/distild"),
    {.name = "since",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct log_settings, since),
     .value = "TIME",
     .help = "Only predictions from then on: 2026-03-01, or 2026-03-01T12:30:00Z"},
    {.name = "until",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct log_settings, until),
     .value = "TIME",
     .help = "Only predictions before then"},
    {.name = "model-name",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct log_settings, model),
     .value = "NAME",
     .help = "Only predictions of the model of this name"},
    {.name = "labelled",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct log_settings, labelled),
     .help = "Only predictions with feedback"},
    {.name = "format",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct log_settings, format),
     .value = "FORMAT",
     .choices = "jsonl|csv|tsv",
     .fallback = "jsonl",
     .help = "jsonl, csv or tsv: of what export prints"},
    {.name = "json",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct log_settings, json),
     .help = "Print what stats shows as one JSON object"},
    TOOL_END_OPTIONS};

enum { PIECE = 2000 /* rows of the table looked at in one read, so that none takes long */ };

/* ---- rows ---- */

/* How a column is written. */
enum kind { TEXT, TIME, HASH, SCORE, SCORES, NUMBER, TRUTH };

static const struct column {
    const char *name, *sql;
    enum kind kind;
} columns[] = {
    {"id", "p.id", TEXT},
    {"at", "p.at_ns", TIME},
    {"model", "p.model", TEXT},
    {"digest", "p.digest", TEXT},
    {"text", "p.text", TEXT},
    {"pair", "p.pair", TEXT},
    {"text_hash", "p.text_hash", HASH},
    {"product_id", "p.product_id", TEXT},
    {"timestamp", "p.timestamp", TEXT},
    {"label", "p.label", TEXT},
    {"score", "p.score", SCORE},
    {"scores", "p.scores", SCORES},
    {"tokens", "p.tokens", NUMBER},
    {"unknown", "p.unknown", NUMBER},
    {"truncated", "p.truncated", TRUTH},
    {"feedback", "f.label", TEXT},
    {"feedback_at", "f.at_ns", TIME},
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

static void write_hash(const unsigned char *bytes, int count)
{
    for (int i = 0; i < count; i++)
        printf("%02x", bytes[i]);
}

/* A value that needs no quotes in any format. */
static void write_plain(sqlite3_stmt *row, int i)
{
    char time[SERVER_TIMESTAMP_SIZE];
    switch (columns[i].kind) {
    case TIME:
        server_timestamp_write(sqlite3_column_int64(row, i), time);
        fputs(time, stdout);
        break;
    case HASH:
        write_hash(sqlite3_column_blob(row, i), sqlite3_column_bytes(row, i));
        break;
    case SCORE:
        tool_json_float(stdout, (float)sqlite3_column_double(row, i));
        break;
    case NUMBER:
        printf("%" PRId64, (int64_t)sqlite3_column_int64(row, i));
        break;
    case TRUTH:
        fputs(sqlite3_column_int(row, i) ? "true" : "false", stdout);
        break;
    case TEXT:
    case SCORES:
        break;
    }
}

static void write_json(sqlite3_stmt *row)
{
    for (int i = 0; i < COLUMNS; i++) {
        enum kind kind = columns[i].kind;
        const char *text = (const char *)sqlite3_column_text(row, i);
        size_t length = (size_t)sqlite3_column_bytes(row, i);
        printf("%s\"%s\":", i == 0 ? "{" : ",", columns[i].name);
        if (sqlite3_column_type(row, i) == SQLITE_NULL)
            fputs("null", stdout);
        else if (kind == TEXT)
            tool_json_text(stdout, text, length);
        else if (kind == SCORES)
            tool_utf8_text(stdout, text, length);
        else if (kind == TIME || kind == HASH) {
            putchar('"');
            write_plain(row, i);
            putchar('"');
        } else
            write_plain(row, i);
    }
    puts("}");
}

/* A field of RFC 4180, in quotes where it needs them. */
static void write_csv_text(const char *text, size_t length)
{
    bool quoted = memchr(text, ',', length) || memchr(text, '"', length) ||
                  memchr(text, '\n', length) || memchr(text, '\r', length);
    if (!quoted) {
        tool_utf8_text(stdout, text, length);
        return;
    }
    putchar('"');
    for (const char *at = text, *end = text + length; at < end;) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *stop = quote ? quote + 1 : end;
        tool_utf8_text(stdout, at, (size_t)(stop - at));
        if (quote)
            putchar('"');
        at = stop;
    }
    putchar('"');
}

static void write_fields(sqlite3_stmt *row, bool csv)
{
    for (int i = 0; i < COLUMNS; i++) {
        enum kind kind = columns[i].kind;
        const char *text = (const char *)sqlite3_column_text(row, i);
        size_t length = (size_t)sqlite3_column_bytes(row, i);
        if (i > 0)
            putchar(csv ? ',' : '\t');
        if (sqlite3_column_type(row, i) == SQLITE_NULL)
            continue;
        if (kind != TEXT && kind != SCORES)
            write_plain(row, i);
        else if (csv)
            write_csv_text(text, length);
        else
            tool_tsv_text(stdout, text, length);
    }
    fputs(csv ? "\r\n" : "\n", stdout);
}

static void write_header(bool csv)
{
    for (int i = 0; i < COLUMNS; i++)
        printf("%s%s", i == 0 ? "" : csv ? "," : "\t", columns[i].name);
    fputs(csv ? "\r\n" : "\n", stdout);
}

/* ---- what is asked for ---- */

/* A time of the command line, in nanoseconds. */
static distil_status read_time(const char *option, const char *text, int64_t *ns,
                               distil_error *error)
{
    const char *problem = NULL;
    char day[32];
    if (!text)
        return DISTIL_OK;
    if (strlen(text) == strlen("2026-03-01")) {
        snprintf(day, sizeof day, "%sT00:00:00Z", text);
        if (server_timestamp_parse(day, ns, &problem))
            return DISTIL_OK;
    } else if (server_timestamp_parse(text, ns, &problem)) {
        return DISTIL_OK;
    }
    return distil_fail(error, DISTIL_INVALID,
                       "--%s: '%.70s' is no date such as 2026-03-01, or time such as "
                       "2026-03-01T12:30:00Z: %s",
                       option, text, problem);
}

static distil_status read_query(const struct log_settings *settings, struct tool_log_query *query,
                                distil_error *error)
{
    *query = (struct tool_log_query){.since = INT64_MIN,
                                     .until = INT64_MAX,
                                     .model = settings->model,
                                     .labelled = settings->labelled};
    distil_status status = read_time("since", settings->since, &query->since, error);
    return status ? status : read_time("until", settings->until, &query->until, error);
}

static distil_status open_log(const struct log_settings *settings, char path[TOOL_PATH],
                              sqlite3 **db, distil_error *error)
{
    char folder[TOOL_PATH];
    tool_state_dir(settings->state_dir, folder);
    if (!*folder)
        return distil_fail(error, DISTIL_NOT_FOUND,
                           "neither --state-dir nor XDG_STATE_HOME nor HOME names a directory");
    if (snprintf(path, TOOL_PATH, "%s/%s", folder, SERVER_PREDICTION_FILE) >= TOOL_PATH)
        return distil_fail(error, DISTIL_INVALID, "%.60s...: the path is too long", folder);
    return server_prediction_db_read(path, db, error);
}

/* ---- export ---- */

/* The statement that selects the rows of a query with ?1 < seq <= ?2; to be freed by sqlite3_free. */
static char *make_select(const struct tool_log_query *query)
{
    char *sql = NULL;
    for (int i = 0; i < COLUMNS; i++) {
        char *longer = sql ? sqlite3_mprintf("%z, %s", sql, columns[i].sql)
                           : sqlite3_mprintf("SELECT %s", columns[i].sql);
        if (!longer)
            return NULL;
        sql = longer;
    }
    return sqlite3_mprintf("%z FROM prediction p %s JOIN feedback f ON f.prediction_id = p.id"
                           " WHERE p.seq > ?1 AND p.seq <= ?2 AND p.at_ns >= ?3 AND p.at_ns < ?4"
                           " AND (?5 IS NULL OR p.model = ?5) ORDER BY p.seq",
                           sql, query->labelled ? "" : "LEFT");
}

/* Reads in pieces: a read that went on for long would keep the server's write-ahead log from being
 * cut. Rows that are written meanwhile are not part of it. */
static distil_status write_rows(sqlite3 *db, const char *path, sqlite3_stmt *select,
                                const char *format, distil_error *error)
{
    struct tool_progress progress;
    int64_t first, last;
    long count = 0;
    int step = SQLITE_DONE;
    distil_status status = tool_log_range(db, path, &first, &last, error);
    tool_progress_start(&progress, "exporting", "predictions", true);
    for (int64_t from = first - 1; from < last && !status && !ferror(stdout); from += PIECE) {
        int64_t to = from + PIECE < last ? from + PIECE : last;
        sqlite3_bind_int64(select, 1, from);
        sqlite3_bind_int64(select, 2, to);
        while ((step = sqlite3_step(select)) == SQLITE_ROW) {
            if (strcmp(format, "jsonl") == 0)
                write_json(select);
            else
                write_fields(select, strcmp(format, "csv") == 0);
            count++;
        }
        if (step != SQLITE_DONE)
            status = server_prediction_db_fail(db, path, error);
        sqlite3_reset(select);
        tool_progress_update(&progress, (size_t)(to - first + 1), (size_t)(last - first + 1),
                             count);
    }
    tool_progress_end(&progress);
    return status;
}

static distil_status export(const struct log_settings *settings, sqlite3 *db, const char *path,
                            const struct tool_log_query *query, distil_error *error)
{
    sqlite3_stmt *select = NULL;
    char *sql = make_select(query);
    distil_status status = DISTIL_OK;
    if (!sql)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL))
        status = server_prediction_db_fail(db, path, error);
    sqlite3_free(sql);
    sqlite3_bind_int64(select, 3, query->since);
    sqlite3_bind_int64(select, 4, query->until);
    sqlite3_bind_text(select, 5, query->model, -1, SQLITE_STATIC);
    if (!status) {
        if (strcmp(settings->format, "jsonl") != 0)
            write_header(strcmp(settings->format, "csv") == 0);
        status = write_rows(db, path, select, settings->format, error);
    }
    sqlite3_finalize(select);
    return status;
}

/* ---- the command ---- */

static int run_log(const void *given, int count, char **operands)
{
    const struct log_settings *settings = given;
    struct tool_log_query query;
    char path[TOOL_PATH];
    sqlite3 *db = NULL;
    distil_error error;
    bool exports = strcmp(operands[0], "export") == 0;
    (void)count;
    if (!exports && strcmp(operands[0], "stats") != 0)
        return tool_misused("log", "only 'log export' and 'log stats' are known");
    if (read_query(settings, &query, &error))
        return tool_misused("log", error.message);
    distil_status status = open_log(settings, path, &db, &error);
    if (!status)
        status = exports ? export(settings, db, path, &query, &error)
                         : tool_log_stats(db, path, &query, settings->json, &error);
    if (!status)
        status = tool_flush(stdout, &error);
    sqlite3_close(db);
    return status ? tool_failed("log", &error) : TOOL_OK;
}

const struct tool_command tool_log = {
    .name = "log",
    .summary = "Export what a server predicted, or sum it up",
    .operands = "export|stats",
    .description =
        "Reads the log of predictions in a server's directory of state, while the server runs or "
        "after.\n\n"
        "'log export' prints the predictions, in the order in which they were written, each with "
        "the feedback that was given on it. 'log stats' prints how many there are of each model "
        "and label, and how many of those with feedback were right.",
    .options = options,
    .least_operands = 1,
    .most_operands = 1,
    .run = run_log,
    .settings_size = sizeof(struct log_settings)};

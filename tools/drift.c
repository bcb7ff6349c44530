#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/drift_projection.h"
#include "server/drift_range.h"
#include "server/drift_report.h"
#include "server/drift_source.h"
#include "server/timestamp.h"
#include "tools/commands.h"
#include "tools/drift_embed.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/state.h"

enum {
    GAUGES = TOOL_TSV + 1, /* beside the formats of tool_format */
    EMBEDDED_ROWS = 5000   /* of a side whose texts are to be embedded */
};

struct drift_settings {
    struct tool_model_settings model;
    const char *reference, *current, *state_dir, *model_name, *html;
    long min_rows, rows;
    bool embeddings;
    int format;
};

static const struct tool_option options[] = {
    {.name = "reference",
     .letter = 'r',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct drift_settings, reference),
     .value = "FILE|RANGE",
     .help = "What to compare with; without it, what 'distild drift reference' has set"},
    {.name = "current",
     .letter = 'c',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct drift_settings, current),
     .value = "FILE|RANGE",
     .fallback = "1d",
     .help = "What to compare: 7d and the like up to now, a day such as 2026-01-31, "
             "2026-01-01..2026-01-31, or a file"},
    TOOL_STATE_OPTION(struct drift_settings,
                      "The server's directory of state; without it, $XDG_STATE_HOME/distild or "
                      "~/.local/state/distild"),
    {.name = "model-name",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct drift_settings, model_name),
     .value = "NAME",
     .help = "Only predictions of the model of this name"},
    {.name = "min-rows",
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct drift_settings, min_rows),
     .value = "N",
     .low = 1,
     .high = 100000000,
     .fallback = "200",
     .help = "Predictions that each side, and each day, must have to be compared"},
    {.name = "rows",
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct drift_settings, rows),
     .value = "N",
     .low = 1,
     .high = 100000000,
     .help = "Predictions to take of each side at most, evenly over all there are; without it, "
             "200000, and 10000 of a reference that is set"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct drift_settings, format),
     .pick = TOOL_JSON,
     .help = "Print one JSON object"},
    {.name = "prometheus",
     .kind = TOOL_PICK,
     .offset = offsetof(struct drift_settings, format),
     .pick = GAUGES,
     .help = "Print gauges, for the text collector of Prometheus's node exporter"},
    {.name = "html",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct drift_settings, html),
     .value = "FILE",
     .help = "Also write a page with pictures, which needs nothing else"},
    {.name = "embeddings",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct drift_settings, embeddings),
     .help = "Compare embeddings of the texts too, which are computed now by --model; of 5000 "
             "predictions a side without --rows"},
    TOOL_MODEL_OPTION(drift_settings),
    TOOL_COMPUTE_OPTIONS(drift_settings),
    TOOL_END_OPTIONS};

struct drift {
    const struct drift_settings *settings;
    char state[TOOL_PATH];
    int64_t now;
    struct server_drift_rows reference, current;
    struct server_drift_report report;
};

static struct server_drift_query query_of(const struct drift *drift, long rows)
{
    return (struct server_drift_query){
        .range = {INT64_MIN, INT64_MAX},
        .model = drift->settings->model_name,
        .limit = (size_t)(drift->settings->rows > 0     ? drift->settings->rows
                          : drift->settings->embeddings ? EMBEDDED_ROWS
                                                        : rows),
        .texts = drift->settings->embeddings,
    };
}

static distil_status read_sides(struct drift *drift, distil_error *error)
{
    const struct drift_settings *settings = drift->settings;
    struct server_drift_query query = query_of(drift, SERVER_DRIFT_CURRENT_ROWS);
    distil_status status =
        settings->reference
            ? server_drift_read(settings->reference, drift->state, drift->now, &query,
                                &drift->reference, error)
            : server_drift_read_reference(drift->state, &query, &drift->reference, error);
    if (!status)
        status = server_drift_read(settings->current, drift->state, drift->now, &query,
                                   &drift->current, error);
    if (!status)
        status = server_drift_check_models("the reference", &drift->reference, error);
    if (!status)
        status = server_drift_check_models("the current range", &drift->current, error);
    if (status || !settings->embeddings)
        return status;
    /* a reference that was set has embeddings where it was set with them, and no texts */
    if (drift->reference.dimensions != SERVER_DRIFT_PROJECTION)
        status = tool_drift_embed("the reference", &drift->reference, &settings->model, error);
    if (!status)
        status = tool_drift_embed("the current range", &drift->current, &settings->model, error);
    return status;
}

/* ---- what it prints ---- */

static void print_number(double value, int width)
{
    if (!isfinite(value))
        printf("  %*s", width, "-");
    else if (value != 0 && fabs(value) < 0.0001)
        printf("  %*.1e", width, value);
    else
        printf("  %*.4f", width, value);
}

static void print_side(const char *name, const struct server_drift_rows *rows,
                       struct server_drift_range range)
{
    char from[SERVER_TIMESTAMP_SIZE], to[SERVER_TIMESTAMP_SIZE];
    printf("%-10s  %zu predictions", name, rows->count);
    if (rows->found > rows->count)
        printf(" of %zu", rows->found);
    if (range.from != SERVER_DRIFT_NEVER) {
        server_timestamp_write(range.from, from);
        server_timestamp_write(range.to, to);
        printf(", %.19s to %.19s UTC", from, to);
    }
    putchar('\n');
}

static void print_columns(const struct server_drift_report *report)
{
    fputs("\ncolumn      test             score  threshold      psi  reference    current  "
          "drifted\n",
          stdout);
    for (int i = 0; i < SERVER_DRIFT_COLUMNS; i++) {
        const struct server_drift_finding *found = &report->columns[i];
        if (!found->present)
            continue;
        printf("%-10s  %-14s", server_drift_column_name((enum server_drift_column)i),
               server_drift_test_name(found->test));
        print_number(found->score, 6);
        print_number(found->threshold, 9);
        print_number(found->psi, 7);
        print_number(found->reference_mean, 9);
        print_number(found->current_mean, 9);
        printf("  %s\n", server_drift_word(found));
    }
}

static void print_labels(const struct server_drift_report *report)
{
    int width = 5;
    int shown = report->label_count < SERVER_DRIFT_TOP_LABELS ? report->label_count
                                                              : SERVER_DRIFT_TOP_LABELS;
    for (int i = 0; i < shown; i++) {
        int label = tool_width(report->labels[i].label);
        width = label > width ? label : width;
    }
    printf("\n%-*s  reference  current\n", width, "label");
    for (int i = 0; i < shown; i++) {
        const struct server_drift_share *share = &report->labels[i];
        tool_padded(stdout, share->label, width);
        printf("  %8.1f%%  %6.1f%%\n",
               100 * (double)share->reference / (double)report->reference_rows,
               100 * (double)share->current / (double)report->current_rows);
    }
    if (report->label_count > shown)
        printf("and %d more labels\n", report->label_count - shown);
}

static void print_quality(const char *name, const struct server_drift_quality *quality)
{
    if (quality->answered == 0)
        return;
    printf("%-10s  %8zu  %8.4f  %9.4f  %6.4f  %6.4f\n", name, quality->answered, quality->accuracy,
           quality->precision, quality->recall, quality->f1);
}

static void print_feedback(const struct server_drift_report *report)
{
    if (report->reference_quality.answered + report->current_quality.answered == 0)
        return;
    fputs("\nfeedback    predictions  accuracy  precision  recall      f1\n", stdout);
    print_quality("reference", &report->reference_quality);
    print_quality("current", &report->current_quality);
}

static void print_days(const struct server_drift_report *report)
{
    if (report->day_count < 2)
        return;
    fputs("\nday         predictions  confidence   tokens  unknown  accuracy  drifted\n", stdout);
    for (int i = 0; i < report->day_count; i++) {
        const struct server_drift_day_finding *day = &report->days[i];
        char text[SERVER_TIMESTAMP_SIZE];
        server_timestamp_write(server_drift_day_start(day->day), text);
        printf("%.10s  %11zu", text, day->rows);
        print_number(day->mean[SERVER_DRIFT_CONFIDENCE], 10);
        print_number(day->mean[SERVER_DRIFT_TOKENS], 7);
        print_number(day->mean[SERVER_DRIFT_UNKNOWN], 7);
        print_number(day->quality.accuracy, 8);
        if (day->compared)
            printf("  %s (%d of %d)\n", day->drifted ? "yes" : "no", day->confirmed, day->columns);
        else
            fputs("  too few\n", stdout);
    }
}

static void print_table(const struct drift *drift)
{
    const struct server_drift_report *report = &drift->report;
    int first = server_drift_first_day(report);
    print_side("reference", &drift->reference, report->reference_range);
    print_side("current", &drift->current, report->current_range);
    if (!report->same_model)
        puts("The two were not predicted by one and the same model.");
    print_columns(report);
    print_labels(report);
    print_feedback(report);
    print_days(report);
    printf("\n%s: %d of %d columns drifted\n", report->drifted ? "drift" : "no drift",
           report->confirmed, report->counted);
    if (first >= 0) {
        char day[SERVER_TIMESTAMP_SIZE];
        server_timestamp_write(server_drift_day_start(report->days[first].day), day);
        printf("first day that drifted: %.10s\n", day);
    }
}

static distil_status print_json(const struct drift *drift, distil_error *error)
{
    struct server_json json = {0};
    size_t length;
    server_drift_write_json(&json, &drift->report);
    server_json_raw(&json, "\n", 1);
    char *text = server_json_take(&json, &length);
    if (!text)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the report");
    fwrite(text, 1, length, stdout);
    free(text);
    return DISTIL_OK;
}

static void write_page(FILE *out, const void *report)
{
    server_drift_write_html(out, report);
}

/* Labelled as a server does it: by the name of the model whose predictions are compared. */
static distil_status print_gauges(const struct drift *drift, distil_error *error)
{
    const struct server_drift_names *models = &drift->current.models;
    const char *model = models->count > 0 ? models->names[0] : "";
    const size_t length = strcspn(model, " "); /* a digest may follow */
    char *name = length > 0 ? strndup(model, length) : strdup("default");
    if (!name)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the gauges");
    const struct server_drift_gauges gauges = server_drift_take_gauges(name, &drift->report);
    server_drift_write_gauges(stdout, &gauges, 1);
    free(name);
    return DISTIL_OK;
}

static distil_status show(const struct drift *drift, distil_error *error)
{
    const struct drift_settings *settings = drift->settings;
    distil_status status = DISTIL_OK;
    if (settings->format == TOOL_JSON)
        status = print_json(drift, error);
    else if (settings->format == GAUGES)
        status = print_gauges(drift, error);
    else
        print_table(drift);
    if (!status)
        status = tool_flush(stdout, error);
    if (!status && settings->html)
        status = tool_save(settings->html, write_page, &drift->report, error);
    return status;
}

/* ---- what it does ---- */

static int compare(struct drift *drift)
{
    distil_error error;
    distil_status status = read_sides(drift, &error);
    if (!status)
        status = server_drift_compare(&drift->reference, &drift->current,
                                      (size_t)drift->settings->min_rows, &drift->report, &error);
    if (!status)
        status = show(drift, &error);
    if (status)
        return tool_failed("drift", &error);
    return drift->report.drifted ? TOOL_DRIFTED : TOOL_OK;
}

static int set_reference(struct drift *drift, const char *source)
{
    char path[SERVER_DRIFT_PATH];
    distil_error error;
    struct server_drift_query query = query_of(drift, SERVER_DRIFT_REFERENCE_ROWS);
    struct server_drift_rows *rows = &drift->reference;
    distil_status status =
        server_drift_read(source, drift->state, drift->now, &query, rows, &error);
    if (!status)
        status = server_drift_check_models(source, rows, &error);
    if (!status && rows->count < (size_t)drift->settings->min_rows)
        status = distil_fail(&error, DISTIL_INVALID,
                             "%s has %zu predictions, too few for a reference: at least %ld are "
                             "needed (--min-rows)",
                             source, rows->count, drift->settings->min_rows);
    if (!status)
        status =
            server_drift_reference_path(drift->state, drift->settings->model_name, path, &error);
    if (!status && drift->settings->embeddings)
        status = tool_drift_embed(source, rows, &drift->settings->model, &error);
    if (!status)
        status = server_drift_write_file(path, rows, &error);
    if (status)
        return tool_failed("drift", &error);
    printf("%s: %zu of %zu predictions\n", path, rows->count, rows->found);
    return tool_flush(stdout, &error) ? tool_failed("drift", &error) : TOOL_OK;
}

static int run_drift(const void *given, int count, char **operands)
{
    struct drift drift = {.settings = given, .now = server_clock()};
    int result;
    if (count > 0 && (count != 2 || strcmp(operands[0], "reference") != 0))
        return tool_misused("drift", "expected nothing, or 'reference' and a FILE or RANGE");
    tool_state_dir(drift.settings->state_dir, drift.state);
    result = count > 0 ? set_reference(&drift, operands[1]) : compare(&drift);
    server_drift_report_free(&drift.report);
    server_drift_rows_free(&drift.reference);
    server_drift_rows_free(&drift.current);
    return result;
}

const struct tool_command tool_drift = {
    .name = "drift",
    .summary = "Say whether predictions have changed since a reference",
    .operands = "[reference FILE|RANGE]",
    .description =
        "Compares the predictions of two stretches of time, or files: their labels, confidence, "
        "length in tokens, share of unknown tokens and, where they have them, embeddings, each by "
        "the test that Evidently would choose. Data have drifted when half of these have. Days are "
        "compared one by one too, and beside feedback it says how right the predictions were.\n\n"
        "'distild drift reference RANGE' keeps the predictions of a stretch of time as the "
        "reference, in the directory of state, where the server's GET /drift finds it too; with "
        "--model-name it is that model's own.\n\n"
        "A FILE has JSON lines as 'distild log export' writes them, or columns with tabs between "
        "them where its name ends in .tsv; only the label is needed.",
    .exit_note = "5 the predictions have drifted",
    .options = options,
    .least_operands = 0,
    .most_operands = 2,
    .run = run_drift,
    .settings_size = sizeof(struct drift_settings)};

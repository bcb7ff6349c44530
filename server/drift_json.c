/* drift_json.c: a report as JSON and as gauges; see drift_report.h. */
#include <math.h>

#include "server/drift_range.h"
#include "server/drift_report.h"
#include "server/metrics.h"
#include "server/timestamp.h"

enum { DATE = 10 }; /* characters of 2026-01-31 */

static const char *const kind_names[] = {"numbers", "integers", "categories"};

const char *server_drift_word(const struct server_drift_finding *finding)
{
    if (!finding->drifted)
        return "no";
    if (!finding->confirmed)
        return "not significant";
    return finding->counted ? "yes" : "yes, not counted";
}

int server_drift_first_day(const struct server_drift_report *report)
{
    int i;
    for (i = 0; i < report->day_count; i++) {
        if (report->days[i].drifted)
            return i;
    }
    return -1;
}

/* A field whose value is left out where there is none. */
static void put_known(struct server_json *json, const char *key, double value)
{
    if (isfinite(value))
        server_json_put_double(json, key, value);
}

static void put_time(struct server_json *json, const char *key, int64_t at_ns)
{
    char text[SERVER_TIMESTAMP_SIZE];
    if (at_ns == SERVER_DRIFT_NEVER)
        return;
    server_timestamp_write(at_ns, text);
    server_json_put_string(json, key, text);
}

static void put_day(struct server_json *json, const char *key, int64_t day)
{
    char text[SERVER_TIMESTAMP_SIZE];
    server_timestamp_write(server_drift_day_start(day), text);
    server_json_key(json, key);
    server_json_string_n(json, text, DATE);
}

static void put_quality(struct server_json *json, const char *key,
                        const struct server_drift_quality *quality)
{
    if (quality->answered == 0)
        return;
    server_json_key(json, key);
    server_json_begin_object(json);
    server_json_put_integer(json, "rows", (int64_t)quality->answered);
    server_json_put_double(json, "accuracy", quality->accuracy);
    server_json_put_double(json, "precision", quality->precision);
    server_json_put_double(json, "recall", quality->recall);
    server_json_put_double(json, "f1", quality->f1);
    server_json_end_object(json);
}

static void put_side(struct server_json *json, const char *key, size_t rows,
                     struct server_drift_range range, const struct server_drift_quality *quality)
{
    server_json_key(json, key);
    server_json_begin_object(json);
    server_json_put_integer(json, "rows", (int64_t)rows);
    put_time(json, "first", range.from);
    put_time(json, "last", range.to);
    put_quality(json, "feedback", quality);
    server_json_end_object(json);
}

static void put_finding(struct server_json *json, const struct server_drift_finding *finding)
{
    server_json_begin_object(json);
    server_json_put_bool(json, "drifted", finding->drifted);
    server_json_put_bool(json, "confirmed", finding->confirmed);
    server_json_put_bool(json, "counted", finding->counted);
    server_json_put_string(json, "kind", kind_names[finding->kind]);
    server_json_put_string(json, "test", server_drift_test_name(finding->test));
    server_json_put_double(json, "score", finding->score);
    server_json_put_double(json, "threshold", finding->threshold);
    put_known(json, "p_value", finding->p_value);
    put_known(json, "psi", finding->psi);
    put_known(json, "jensen_shannon", finding->jensen_shannon);
    put_known(json, "reference_mean", finding->reference_mean);
    put_known(json, "current_mean", finding->current_mean);
    put_known(json, "mean_cosine_distance", finding->cosine_distance);
    if (finding->dimensions > 0)
        server_json_put_integer(json, "dimensions", finding->dimensions);
    server_json_end_object(json);
}

static void put_columns(struct server_json *json, const struct server_drift_report *report)
{
    int i;
    server_json_key(json, "columns");
    server_json_begin_object(json);
    for (i = 0; i < SERVER_DRIFT_COLUMNS; i++) {
        if (!report->columns[i].present)
            continue;
        server_json_key(json, server_drift_column_name((enum server_drift_column)i));
        put_finding(json, &report->columns[i]);
    }
    server_json_end_object(json);
}

static void put_labels(struct server_json *json, const struct server_drift_report *report)
{
    int i;
    server_json_key(json, "labels");
    server_json_begin_array(json);
    for (i = 0; i < report->label_count; i++) {
        const struct server_drift_share *share = &report->labels[i];
        server_json_begin_object(json);
        server_json_put_string(json, "label", share->label);
        server_json_put_double(json, "reference",
                               (double)share->reference / (double)report->reference_rows);
        server_json_put_double(json, "current",
                               (double)share->current / (double)report->current_rows);
        server_json_end_object(json);
    }
    server_json_end_array(json);
}

static void put_day_finding(struct server_json *json, const struct server_drift_report *report,
                            const struct server_drift_day_finding *day)
{
    int i;
    server_json_begin_object(json);
    put_day(json, "day", day->day);
    server_json_put_integer(json, "rows", (int64_t)day->rows);
    if (day->compared) {
        server_json_put_bool(json, "drifted", day->drifted);
        server_json_put_integer(json, "confirmed_columns", day->confirmed);
        server_json_put_integer(json, "counted_columns", day->columns);
    }
    for (i = SERVER_DRIFT_CONFIDENCE; i < SERVER_DRIFT_EMBEDDING; i++)
        put_known(json, server_drift_column_name((enum server_drift_column)i), day->mean[i]);
    server_json_key(json, "labels");
    server_json_begin_object(json);
    for (i = 0; i < report->label_count; i++) {
        if (day->labels[i] > 0)
            server_json_put_double(json, report->labels[i].label,
                                   (double)day->labels[i] / (double)day->rows);
    }
    server_json_end_object(json);
    put_quality(json, "feedback", &day->quality);
    server_json_end_object(json);
}

void server_drift_write_json(struct server_json *json, const struct server_drift_report *report)
{
    int first = server_drift_first_day(report), i;
    server_json_begin_object(json);
    server_json_put_bool(json, "drifted", report->drifted);
    server_json_put_integer(json, "confirmed_columns", report->confirmed);
    server_json_put_integer(json, "drifted_columns", report->drifted_columns);
    server_json_put_integer(json, "counted_columns", report->counted);
    server_json_put_double(json, "share", report->share);
    server_json_put_bool(json, "same_model", report->same_model);
    if (first >= 0)
        put_day(json, "first_drifted_day", report->days[first].day);
    put_side(json, "reference", report->reference_rows, report->reference_range,
             &report->reference_quality);
    put_side(json, "current", report->current_rows, report->current_range,
             &report->current_quality);
    put_columns(json, report);
    put_labels(json, report);
    server_json_key(json, "days");
    server_json_begin_array(json);
    for (i = 0; i < report->day_count; i++)
        put_day_finding(json, report, &report->days[i]);
    server_json_end_array(json);
    server_json_end_object(json);
}

/* ---- gauges ---- */

/* Ends a line: Prometheus's NaN is spelt so, whatever its sign. */
static void write_value(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, "} %.15g\n", value);
    else
        fputs("} NaN\n", out);
}

static void begin_gauge(FILE *out, const char *name, const char *model)
{
    fprintf(out, "%s{model=\"", name);
    server_metrics_label(out, model);
    fputs("\"", out);
}

struct server_drift_gauges server_drift_take_gauges(const char *model,
                                                    const struct server_drift_report *report)
{
    struct server_drift_gauges gauges = {.model = model, .accuracy = NAN};
    int i;
    for (i = 0; i < SERVER_DRIFT_COLUMNS; i++) {
        const struct server_drift_finding *finding = report ? &report->columns[i] : NULL;
        gauges.columns[i].confirmed = finding && finding->confirmed;
        gauges.columns[i].score = finding && finding->present ? finding->score : NAN;
    }
    if (!report)
        return gauges;
    gauges.drifted = report->drifted;
    gauges.share = report->share;
    gauges.reference_rows = (double)report->reference_rows;
    gauges.current_rows = (double)report->current_rows;
    if (report->current_quality.answered > 0)
        gauges.accuracy = report->current_quality.accuracy;
    return gauges;
}

/* A value of each column: its score, or whether it has drifted. */
static void write_columns(FILE *out, const char *name, const struct server_drift_gauges *gauges,
                          bool detected)
{
    int i;
    for (i = 0; i < SERVER_DRIFT_COLUMNS; i++) {
        begin_gauge(out, name, gauges->model);
        fprintf(out, ",column=\"%s\"", server_drift_column_name((enum server_drift_column)i));
        write_value(out, detected ? gauges->columns[i].confirmed : gauges->columns[i].score);
    }
}

/* Values that are NaN are written too, so that every series is there from the start. */
void server_drift_write_gauges(FILE *out, const struct server_drift_gauges *models, int count)
{
    static const struct {
        const char *name, *help;
    } families[] = {
        {"distild_drift_detected", "1 where predictions have drifted from the reference, else 0."},
        {"distild_drift_columns_drifted_ratio", "Share of the columns that drifted."},
        {"distild_drift_reference_predictions",
         "Predictions of the reference; 0 until they could be compared."},
        {"distild_drift_current_predictions", "Predictions that were compared with it."},
        {"distild_drift_accuracy_ratio",
         "Accuracy over the current predictions that feedback came for."},
    };
    static const char *const columns[] = {"distild_drift_score", "distild_drift_column_detected"};
    static const char *const column_help[] = {
        "Figure of the test that judges a column: a p-value or a distance.",
        "1 where the column has drifted, and not by chance, else 0."};
    size_t family;
    int i;
    for (family = 0; family < sizeof(families) / sizeof(*families); family++) {
        server_metrics_family(out, families[family].name, "gauge", families[family].help);
        for (i = 0; i < count; i++) {
            const struct server_drift_gauges *of = &models[i];
            const double values[] = {of->drifted, of->share, of->reference_rows, of->current_rows,
                                     of->accuracy};
            begin_gauge(out, families[family].name, of->model);
            write_value(out, values[family]);
        }
    }
    for (family = 0; family < 2; family++) {
        server_metrics_family(out, columns[family], "gauge", column_help[family]);
        for (i = 0; i < count; i++)
            write_columns(out, columns[family], &models[i], family == 1);
    }
}

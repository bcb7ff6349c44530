/* drift_html.c: a report as a page; see drift_report.h. */
#include <math.h>
#include <stdlib.h>

#include "server/drift_range.h"
#include "server/drift_report.h"
#include "server/drift_svg.h"
#include "server/timestamp.h"

enum { DATE = 10, MINUTE = 16 }; /* characters of 2026-01-31, and of 2026-01-31T12:00 */

static const char style[] =
    ":root{color-scheme:light dark;--text:#1c2430;--soft:#5b6675;--page:#fff;--card:#f5f7fa;"
    "--edge:#d8dee6;--reference:#7d8fa6;--current:#d9730d;--alarm:#c4314b;--good:#2b7a4b;"
    "--l0:#d9730d;--l1:#2f6fbf;--l2:#2b7a4b;--l3:#8a4fb5;--l4:#8b6b1f}"
    "@media(prefers-color-scheme:dark){:root{--text:#e4e8ee;--soft:#9aa5b4;--page:#14181e;"
    "--card:#1d232b;--edge:#343d49;--reference:#8fa3bd;--current:#f0943a;--alarm:#ef6b81;"
    "--good:#62c18a;--l0:#f0943a;--l1:#6aa7f0;--l2:#62c18a;--l3:#c08be8;--l4:#d0ac54}}"
    "@media print{:root{color-scheme:light;--text:#000;--soft:#444;--page:#fff;--card:#fff;"
    "--edge:#bbb;--reference:#7d8fa6;--current:#d9730d;--alarm:#c4314b;--good:#2b7a4b;"
    "--l0:#d9730d;--l1:#2f6fbf;--l2:#2b7a4b;--l3:#8a4fb5;--l4:#8b6b1f}}"
    "body{margin:0 auto;max-width:820px;padding:24px 20px 48px;background:var(--page);"
    "color:var(--text);font:15px/1.5 system-ui,sans-serif}"
    "h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:34px 0 10px}"
    "p{margin:6px 0}.soft{color:var(--soft)}"
    ".verdict{border-left:5px solid var(--good);background:var(--card);padding:10px 16px;"
    "margin:16px 0}.verdict.drifted{border-color:var(--alarm)}.verdict b{font-size:17px}"
    "table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}"
    "th,td{text-align:right;padding:5px 6px;border-bottom:1px solid var(--edge);"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left;padding-left:0}"
    "th{font-weight:600;color:var(--soft);font-size:13px}.wide{overflow-x:auto}"
    ".yes{color:var(--alarm);font-weight:600}.no{color:var(--good)}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:14px}"
    "figure{margin:0 0 14px}.cards figure{background:var(--card);padding:10px 12px;margin:0}"
    "figcaption{font-weight:600;font-size:14px;margin-bottom:4px}"
    "svg{display:block;max-width:100%;height:auto}"
    "svg text{font:11px system-ui,sans-serif;fill:var(--soft)}"
    ".reference{fill:var(--reference);background:var(--reference)}"
    ".current{fill:var(--current);background:var(--current)}"
    ".area{fill-opacity:.4;stroke-width:1.3}path.reference{stroke:var(--reference)}"
    "path.current{stroke:var(--current)}.axis{stroke:var(--edge);fill:none}"
    ".alarm{fill:var(--alarm);fill-opacity:.14}.line{fill:none;stroke-width:1.8}"
    ".key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 3px 0 12px;"
    "vertical-align:-1px}"
    "path.line0{stroke:var(--l0)}path.line1{stroke:var(--l1)}path.line2{stroke:var(--l2)}"
    "path.line3{stroke:var(--l3)}path.line4{stroke:var(--l4)}"
    ".dot.line0,.key.line0{fill:var(--l0);background:var(--l0)}"
    ".dot.line1,.key.line1{fill:var(--l1);background:var(--l1)}"
    ".dot.line2,.key.line2{fill:var(--l2);background:var(--l2)}"
    ".dot.line3,.key.line3{fill:var(--l3);background:var(--l3)}"
    ".dot.line4,.key.line4{fill:var(--l4);background:var(--l4)}"
    "@media print{body{padding:0}h2{margin-top:20px;break-after:avoid}table{font-size:11px}"
    "th,td{padding:4px 3px}.wide{overflow:visible}figure,tr,.verdict{break-inside:avoid}"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

static const struct {
    const char *title;
    enum server_drift_unit unit;
} shown[SERVER_DRIFT_COLUMNS] = {
    [SERVER_DRIFT_LABEL] = {"Predicted label", SERVER_DRIFT_PERCENT},
    [SERVER_DRIFT_CONFIDENCE] = {"Confidence", SERVER_DRIFT_PLAIN},
    [SERVER_DRIFT_ENTROPY] = {"Entropy of the scores", SERVER_DRIFT_PLAIN},
    [SERVER_DRIFT_TOKENS] = {"Tokens of a text", SERVER_DRIFT_PLAIN},
    [SERVER_DRIFT_UNKNOWN] = {"Share of [UNK] tokens", SERVER_DRIFT_PERCENT},
    [SERVER_DRIFT_EMBEDDING] = {"Embedding", SERVER_DRIFT_PERCENT},
};

static const char *const test_titles[SERVER_DRIFT_TESTS] = {
    [SERVER_DRIFT_KS] = "Kolmogorov-Smirnov p",
    [SERVER_DRIFT_CHI_SQUARED] = "chi-squared p",
    [SERVER_DRIFT_Z] = "z-test p",
    [SERVER_DRIFT_WASSERSTEIN] = "Wasserstein",
    [SERVER_DRIFT_JENSEN_SHANNON] = "Jensen-Shannon",
    [SERVER_DRIFT_PSI] = "PSI",
};

/* A time to the minute, or a day. */
static void write_time(FILE *out, int64_t at_ns, int characters)
{
    char text[SERVER_TIMESTAMP_SIZE];
    server_timestamp_write(at_ns, text);
    text[DATE] = characters == DATE ? '\0' : ' ';
    fprintf(out, "%.*s", characters, text);
}

static void write_side(FILE *out, const char *colour, const char *name, size_t rows,
                       struct server_drift_range range)
{
    fprintf(out, "<p><span class=\"key %s\" style=\"margin-left:0\"></span>%s: %zu predictions",
            colour, name, rows);
    if (range.from != SERVER_DRIFT_NEVER) {
        fputs(", ", out);
        write_time(out, range.from, MINUTE);
        fputs(" to ", out);
        write_time(out, range.to, MINUTE);
        fputs(" UTC", out);
    }
    fputs("</p>\n", out);
}

static void write_verdict(FILE *out, const struct server_drift_report *report)
{
    int first = server_drift_first_day(report);
    fprintf(out, "<div class=\"verdict%s\"><b>%s</b>\n<p>%d of %d columns drifted",
            report->drifted ? " drifted" : "",
            report->drifted ? "The predictions have drifted" : "No drift", report->confirmed,
            report->counted);
    fputs("; half of the columns make it drift.", out);
    if (first >= 0) {
        fputs(" First day on which they did: ", out);
        write_time(out, server_drift_day_start(report->days[first].day), DATE);
        fputs(".", out);
    }
    fputs("</p>\n", out);
    if (!report->same_model)
        fputs("<p>The two sides were not predicted by one and the same model.</p>\n", out);
    fputs("</div>\n", out);
    write_side(out, "reference", "Reference", report->reference_rows, report->reference_range);
    write_side(out, "current", "Current", report->current_rows, report->current_range);
}

static void write_cell(FILE *out, double value, enum server_drift_unit unit)
{
    fputs("<td>", out);
    server_drift_write_number(out, value, unit);
    fputs("</td>", out);
}

static void write_columns(FILE *out, const struct server_drift_report *report)
{
    const struct server_drift_finding *embedding = &report->columns[SERVER_DRIFT_EMBEDDING];
    int i;
    fputs("<section><h2>Columns</h2>\n<div class=\"wide\"><table>\n"
          "<tr><th>column</th><th>drifted</th><th>reference</th><th>current</th><th>test</th>"
          "<th>score</th><th>threshold</th><th>PSI</th></tr>\n",
          out);
    for (i = 0; i < SERVER_DRIFT_COLUMNS; i++) {
        const struct server_drift_finding *found = &report->columns[i];
        bool share = i == SERVER_DRIFT_EMBEDDING;
        if (!found->present)
            continue;
        fprintf(out, "<tr><td>%s</td><td class=\"%s\">%s</td>", shown[i].title,
                found->confirmed ? "yes" : "no", server_drift_word(found));
        write_cell(out, found->reference_mean, shown[i].unit);
        write_cell(out, found->current_mean, shown[i].unit);
        fprintf(out, "<td>%s</td>", test_titles[found->test]);
        write_cell(out, found->score, share ? SERVER_DRIFT_PERCENT : SERVER_DRIFT_PLAIN);
        fprintf(out, "<td>%s ",
                share                                  ? "&gt;"
                : server_drift_is_p_value(found->test) ? "&lt;"
                                                       : "&ge;");
        server_drift_write_number(out, found->threshold,
                                  share ? SERVER_DRIFT_PERCENT : SERVER_DRIFT_PLAIN);
        fputs("</td>", out);
        write_cell(out, found->psi, SERVER_DRIFT_PLAIN);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n<p class=\"soft\">Reference and current are means. ", out);
    if (embedding->present) {
        fprintf(out,
                "Of the embedding, the score is the share of its %d dimensions that drifted; the "
                "cosine distance between the means is ",
                embedding->dimensions);
        server_drift_write_number(out, embedding->cosine_distance, SERVER_DRIFT_PLAIN);
        fputs(".", out);
    }
    fputs("</p></section>\n", out);
}

static void write_distributions(FILE *out, const struct server_drift_report *report)
{
    int i;
    fputs("<section><h2>Distributions <span class=\"key reference\"></span>reference "
          "<span class=\"key current\"></span>current</h2>\n<div class=\"cards\">\n",
          out);
    for (i = SERVER_DRIFT_CONFIDENCE; i < SERVER_DRIFT_EMBEDDING; i++) {
        if (!report->columns[i].present)
            continue;
        fprintf(out, "<figure><figcaption>%s</figcaption>\n", shown[i].title);
        server_drift_draw_bins(out, shown[i].title, &report->columns[i].bins, shown[i].unit);
        fputs("</figure>\n", out);
    }
    fputs("</div></section>\n<section><h2>Predicted labels</h2>\n", out);
    server_drift_draw_labels(out, report);
    if (report->label_count > SERVER_DRIFT_TOP_LABELS)
        fprintf(out, "<p class=\"soft\">The %d most frequent of %d labels.</p>\n",
                SERVER_DRIFT_TOP_LABELS, report->label_count);
    fputs("</section>\n", out);
}

/* ---- days ---- */

/* One number of each day. */
typedef double day_value(const struct server_drift_report *report, int day, int which);

static double share_drifted(const struct server_drift_report *report, int day, int which)
{
    const struct server_drift_day_finding *found = &report->days[day];
    (void)which;
    return found->compared && found->columns > 0 ? (double)found->confirmed / found->columns : NAN;
}

static double mean_value(const struct server_drift_report *report, int day, int which)
{
    return report->days[day].mean[which];
}

static double label_share(const struct server_drift_report *report, int day, int which)
{
    return (double)report->days[day].labels[which] / (double)report->days[day].rows;
}

static double quality_value(const struct server_drift_report *report, int day, int which)
{
    const struct server_drift_quality *quality = &report->days[day].quality;
    const double values[] = {quality->accuracy, quality->precision, quality->recall, quality->f1};
    return values[which];
}

/* Draws lines of which line k is value(..., first + k). Nothing is drawn when memory runs out. */
static void draw(FILE *out, const struct server_drift_report *report,
                 struct server_drift_lines lines, day_value *value, int first)
{
    size_t days = (size_t)report->day_count;
    double *values = calloc(days * SERVER_DRIFT_LINES, sizeof(*values));
    int k, i;
    if (!values)
        return;
    for (k = 0; k < lines.count; k++) {
        lines.values[k] = values + (size_t)k * days;
        for (i = 0; i < report->day_count; i++)
            values[(size_t)k * days + (size_t)i] = value(report, i, first + k);
    }
    server_drift_draw_days(out, report, &lines);
    free(values);
}

static void draw_labels(FILE *out, const struct server_drift_report *report)
{
    struct server_drift_lines lines = {.title = "Shares of labels", .unit = SERVER_DRIFT_PERCENT};
    for (; lines.count < SERVER_DRIFT_LINES && lines.count < report->label_count; lines.count++)
        lines.names[lines.count] = report->labels[lines.count].label;
    draw(out, report, lines, label_share, 0);
}

static void write_days(FILE *out, const struct server_drift_report *report)
{
    int i;
    if (report->day_count < 2)
        return;
    fputs("<section><h2>Day by day</h2>\n<p class=\"soft\">Each day, in UTC, beside the whole "
          "reference. Days that drifted are shaded.</p>\n",
          out);
    draw(out, report,
         (struct server_drift_lines){.title = "Share of columns that drifted",
                                     .unit = SERVER_DRIFT_PERCENT,
                                     .count = 1,
                                     .names = {"drifted"},
                                     .high = 1},
         share_drifted, 0);
    draw_labels(out, report);
    for (i = SERVER_DRIFT_CONFIDENCE; i < SERVER_DRIFT_EMBEDDING; i++) {
        if (report->columns[i].present)
            draw(out, report,
                 (struct server_drift_lines){
                     .title = shown[i].title, .unit = shown[i].unit, .count = 1, .names = {"mean"}},
                 mean_value, i);
    }
    if (report->current_quality.answered > 0)
        draw(out, report,
             (struct server_drift_lines){.title = "Where feedback says what was right",
                                         .unit = SERVER_DRIFT_PERCENT,
                                         .count = 4,
                                         .names = {"accuracy", "precision", "recall", "F1"}},
             quality_value, 0);
    fputs("</section>\n", out);
}

static void write_quality_row(FILE *out, const char *name,
                              const struct server_drift_quality *quality)
{
    if (quality->answered == 0)
        return;
    fprintf(out, "<tr><td>%s</td><td>%zu</td>", name, quality->answered);
    write_cell(out, quality->accuracy, SERVER_DRIFT_PERCENT);
    write_cell(out, quality->precision, SERVER_DRIFT_PERCENT);
    write_cell(out, quality->recall, SERVER_DRIFT_PERCENT);
    write_cell(out, quality->f1, SERVER_DRIFT_PERCENT);
    fputs("</tr>\n", out);
}

static void write_quality(FILE *out, const struct server_drift_report *report)
{
    if (report->reference_quality.answered + report->current_quality.answered == 0)
        return;
    fputs(
        "<section><h2>Feedback</h2>\n<div class=\"wide\"><table>\n<tr><th></th>"
        "<th>predictions</th><th>accuracy</th><th>precision</th><th>recall</th><th>F1</th></tr>\n",
        out);
    write_quality_row(out, "Reference", &report->reference_quality);
    write_quality_row(out, "Current", &report->current_quality);
    fputs("</table></div>\n<p class=\"soft\">Precision, recall and F1 are means over the labels."
          "</p></section>\n",
          out);
}

void server_drift_write_html(FILE *out, const struct server_drift_report *report)
{
    fprintf(out,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
            "<title>Drift: %s</title>\n<style>%s</style></head><body>\n<h1>Drift report</h1>\n",
            report->drifted ? "found" : "none", style);
    write_verdict(out, report);
    write_columns(out, report);
    write_distributions(out, report);
    write_quality(out, report);
    write_days(out, report);
    fputs("<p class=\"soft\">distild " DISTILD_VERSION "</p>\n</body></html>\n", out);
}

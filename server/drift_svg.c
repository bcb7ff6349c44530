/* drift_svg.c: see drift_svg.h. */
#include "server/drift_svg.h"

#include <math.h>
#include <string.h>

#include "server/drift_range.h"
#include "server/html.h"
#include "server/timestamp.h"

enum {
    DATE = 10,
    BINS_WIDTH = 340,
    BINS_HEIGHT = 130,
    DAYS_WIDTH = 760,
    DAYS_HEIGHT = 170,
    LEFT = 52, /* for the numbers of an axis */
    TOP = 10,
    BELOW = 22 /* for what stands under it */
};

void server_drift_write_number(FILE *out, double value, enum server_drift_unit unit)
{
    double size = fabs(value);
    if (!isfinite(value))
        fputs("\xE2\x80\x93", out);
    else if (unit == SERVER_DRIFT_PERCENT)
        fprintf(out, size < 0.1 && size > 0 ? "%.2f%%" : "%.1f%%", 100 * value);
    else if (size >= 1000)
        fprintf(out, "%.0f", value);
    else if (size != 0 && size < 0.0001)
        fprintf(out, "%.1e", value);
    else
        fprintf(out, "%.*f", size < 0.1 ? 4 : size < 10 ? 3 : 1, value);
}

static void begin_picture(FILE *out, int width, int height, const char *title)
{
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" aria-label=\"", width,
            height, width);
    server_html_write_text(out, title);
    fputs("\">\n", out);
}

static void draw_text(FILE *out, double x, double y, const char *anchor, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    server_html_write_text(out, text);
    fputs("</text>\n", out);
}

static void draw_number(FILE *out, double x, double y, const char *anchor, double value,
                        enum server_drift_unit unit)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    server_drift_write_number(out, value, unit);
    fputs("</text>\n", out);
}

/* ---- histograms ---- */

static size_t total(const size_t *counts, int n)
{
    size_t sum = 0;
    int i;
    for (i = 0; i < n; i++)
        sum += counts[i];
    return sum > 0 ? sum : 1;
}

/* A filled outline: up at the left edge of each bin, down at the right edge of the last. */
static void draw_outline(FILE *out, const char *colour, const size_t *counts, int n, double highest)
{
    double width = (double)(BINS_WIDTH - LEFT) / n, all = (double)total(counts, n);
    double floor = BINS_HEIGHT - BELOW;
    int i;
    fprintf(out, "<path class=\"area %s\" d=\"M%d %.1f", colour, LEFT, floor);
    for (i = 0; i < n; i++) {
        double share = (double)counts[i] / all;
        fprintf(out, "V%.1fH%.1f", floor - share / highest * (floor - TOP), LEFT + (i + 1) * width);
    }
    fprintf(out, "V%.1fZ\"/>\n", floor);
}

void server_drift_draw_bins(FILE *out, const char *title, const struct server_drift_bins *bins,
                            enum server_drift_unit unit)
{
    double highest = 0, floor = BINS_HEIGHT - BELOW;
    int n = bins->count, i;
    for (i = 0; i < n; i++) {
        highest = fmax(highest, (double)bins->reference[i] / (double)total(bins->reference, n));
        highest = fmax(highest, (double)bins->current[i] / (double)total(bins->current, n));
    }
    begin_picture(out, BINS_WIDTH + 8, BINS_HEIGHT, title);
    draw_outline(out, "reference", bins->reference, n, highest);
    draw_outline(out, "current", bins->current, n, highest);
    fprintf(out, "<path class=\"axis\" d=\"M%d %.1fH%d\"/>\n", LEFT, floor, BINS_WIDTH);
    draw_number(out, LEFT - 6, TOP + 8, "end", highest, SERVER_DRIFT_PERCENT);
    draw_text(out, LEFT - 6, floor, "end", "0%");
    draw_number(out, LEFT, BINS_HEIGHT - 6, "start", bins->edges[0], unit);
    draw_number(out, (LEFT + BINS_WIDTH) / 2.0, BINS_HEIGHT - 6, "middle",
                (bins->edges[0] + bins->edges[n]) / 2, unit);
    draw_number(out, BINS_WIDTH, BINS_HEIGHT - 6, "end", bins->edges[n], unit);
    fputs("</svg>\n", out);
}

/* ---- labels ---- */

static void draw_bar(FILE *out, const char *colour, double x, double y, double length, double share)
{
    fprintf(out,
            "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"11\" rx=\"1\"/>\n",
            colour, x, y, fmax(length, 1));
    draw_number(out, x + length + 5, y + 9.5, "start", share, SERVER_DRIFT_PERCENT);
}

void server_drift_draw_labels(FILE *out, const struct server_drift_report *report)
{
    enum { NAME = 150, ROW = 34, ROOM = 60 };
    int n = report->label_count < SERVER_DRIFT_TOP_LABELS ? report->label_count
                                                          : SERVER_DRIFT_TOP_LABELS;
    double most = 0, scale;
    int i;
    for (i = 0; i < n; i++) {
        most = fmax(most, (double)report->labels[i].reference / (double)report->reference_rows);
        most = fmax(most, (double)report->labels[i].current / (double)report->current_rows);
    }
    scale = (DAYS_WIDTH - NAME - ROOM) / fmax(most, 1e-9);
    begin_picture(out, DAYS_WIDTH, n * ROW + 4, "Shares of labels");
    for (i = 0; i < n; i++) {
        const struct server_drift_share *share = &report->labels[i];
        double a = (double)share->reference / (double)report->reference_rows;
        double b = (double)share->current / (double)report->current_rows, y = i * ROW + 4;
        char name[28];
        size_t length = strlen(share->label);
        snprintf(name, sizeof(name), "%.20s%s", share->label, length > 20 ? "\xE2\x80\xA6" : "");
        fputs("<g><title>", out);
        server_html_write_text(out, share->label);
        fputs("</title>\n", out);
        draw_text(out, NAME - 8, y + 16, "end", name);
        draw_bar(out, "reference", NAME, y, a * scale, a);
        draw_bar(out, "current", NAME, y + 13, b * scale, b);
        fputs("</g>\n", out);
    }
    fputs("</svg>\n", out);
}

/* ---- days ---- */

struct frame {
    const struct server_drift_report *report;
    double low, high;
    int64_t first;
    double step; /* width of a day */
};

static double x_of(const struct frame *frame, int64_t day)
{
    return LEFT + ((double)(day - frame->first) + 0.5) * frame->step;
}

static double y_of(const struct frame *frame, double value)
{
    double floor = DAYS_HEIGHT - BELOW;
    return floor - (value - frame->low) / (frame->high - frame->low) * (floor - TOP);
}

static struct frame frame_of(const struct server_drift_report *report,
                             const struct server_drift_lines *lines)
{
    const struct server_drift_day_finding *days = report->days;
    struct frame frame = {.report = report, .low = lines->low, .high = lines->high};
    int64_t span = days[report->day_count - 1].day - days[0].day + 1;
    double margin;
    int i, k;
    frame.first = days[0].day;
    frame.step = (double)(DAYS_WIDTH - LEFT - 8) / (double)span;
    if (frame.low < frame.high)
        return frame;
    frame.low = HUGE_VAL;
    frame.high = -HUGE_VAL;
    for (k = 0; k < lines->count; k++) {
        for (i = 0; i < report->day_count; i++) {
            if (!isfinite(lines->values[k][i]))
                continue;
            frame.low = fmin(frame.low, lines->values[k][i]);
            frame.high = fmax(frame.high, lines->values[k][i]);
        }
    }
    if (!(frame.low < frame.high)) {
        frame.low = isfinite(frame.low) ? frame.low - 0.5 : 0;
        frame.high = frame.low + 1;
    }
    margin = 0.08 * (frame.high - frame.low);
    frame.low = frame.low >= 0 ? fmax(frame.low - margin, 0) : frame.low - margin;
    frame.high += margin;
    return frame;
}

static void draw_grid(FILE *out, const struct frame *frame, enum server_drift_unit unit)
{
    const struct server_drift_report *report = frame->report;
    double floor = DAYS_HEIGHT - BELOW;
    int i, last = report->day_count - 1;
    for (i = 0; i <= last; i++) {
        if (report->days[i].drifted)
            fprintf(
                out, "<rect class=\"alarm\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%.1f\"/>\n",
                x_of(frame, report->days[i].day) - frame->step / 2, TOP, frame->step, floor - TOP);
    }
    for (i = 0; i <= 2; i++) {
        double value = frame->low + (frame->high - frame->low) * i / 2;
        fprintf(out, "<path class=\"axis\" d=\"M%d %.1fH%d\"/>\n", LEFT, y_of(frame, value),
                DAYS_WIDTH - 8);
        draw_number(out, LEFT - 6, y_of(frame, value) + 4, "end", value, unit);
    }
    for (i = 0; i <= 2; i++) {
        const char *anchors[] = {"start", "middle", "end"};
        const double ends[] = {LEFT, LEFT + (DAYS_WIDTH - LEFT - 8) / 2.0, DAYS_WIDTH - 8};
        int64_t span = report->days[last].day - frame->first;
        char text[SERVER_TIMESTAMP_SIZE];
        if ((i == 1 && span < 4) || (i == 2 && span < 1))
            continue;
        server_timestamp_write(server_drift_day_start(frame->first + span * i / 2), text);
        text[DATE] = '\0';
        draw_text(out, ends[i], DAYS_HEIGHT - 6, anchors[i], text);
    }
}

static void draw_line(FILE *out, const struct frame *frame, const struct server_drift_lines *lines,
                      int line)
{
    const struct server_drift_report *report = frame->report;
    const double *values = lines->values[line];
    bool pen = false;
    int i;
    fprintf(out, "<path class=\"line line%d\" d=\"", line);
    for (i = 0; i < report->day_count; i++) {
        if (isfinite(values[i]))
            fprintf(out, "%c%.1f %.1f", pen ? 'L' : 'M', x_of(frame, report->days[i].day),
                    y_of(frame, values[i]));
        pen = isfinite(values[i]);
    }
    fputs("\"/>\n", out);
    for (i = 0; i < report->day_count; i++) {
        char day[SERVER_TIMESTAMP_SIZE];
        if (!isfinite(values[i]))
            continue;
        server_timestamp_write(server_drift_day_start(report->days[i].day), day);
        fprintf(out, "<circle class=\"dot line%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"><title>%.10s ",
                line, x_of(frame, report->days[i].day), y_of(frame, values[i]), day);
        server_html_write_text(out, lines->names[line]);
        fputs(" ", out);
        server_drift_write_number(out, values[i], lines->unit);
        fputs("</title></circle>\n", out);
    }
}

void server_drift_draw_days(FILE *out, const struct server_drift_report *report,
                            const struct server_drift_lines *lines)
{
    struct frame frame = frame_of(report, lines);
    int i;
    fputs("<figure><figcaption>", out);
    server_html_write_text(out, lines->title);
    for (i = 0; lines->count > 1 && i < lines->count; i++) {
        fprintf(out, " <span class=\"key line%d\"></span>", i);
        server_html_write_text(out, lines->names[i]);
    }
    fputs("</figcaption>\n", out);
    begin_picture(out, DAYS_WIDTH, DAYS_HEIGHT, lines->title);
    draw_grid(out, &frame, lines->unit);
    for (i = 0; i < lines->count; i++)
        draw_line(out, &frame, lines, i);
    fputs("</svg></figure>\n", out);
}

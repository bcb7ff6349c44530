/* drift_svg.h: the pictures of a drift report, as SVG within a page. Colours are classes of the page's
 * style: reference, current, line0 to line4, axis, alarm. */
#ifndef SERVER_DRIFT_SVG_H
#define SERVER_DRIFT_SVG_H

#include <stdio.h>

#include "server/drift.h"

enum { SERVER_DRIFT_LINES = 5 }; /* of a picture of days, at most */

/* How the numbers of an axis are written. */
enum server_drift_unit { SERVER_DRIFT_PLAIN, SERVER_DRIFT_PERCENT };

/* A number with about three digits, or as a percentage. */
void server_drift_write_number(FILE *out, double value, enum server_drift_unit unit);

/* Two histograms over each other, each as shares of its rows. */
void server_drift_draw_bins(FILE *out, const char *title, const struct server_drift_bins *bins,
                            enum server_drift_unit unit);

/* Shares of labels, a pair of bars for each of at most SERVER_DRIFT_TOP_LABELS. */
void server_drift_draw_labels(FILE *out, const struct server_drift_report *report);

/* Lines over the report's days, with the days that drifted marked. */
struct server_drift_lines {
    const char *title;
    enum server_drift_unit unit;
    int count; /* of lines */
    const char *names[SERVER_DRIFT_LINES];
    const double *values[SERVER_DRIFT_LINES]; /* (days) each; NaN leaves a gap */
    double low, high;                         /* of the axis; low >= high: what the values take */
};

void server_drift_draw_days(FILE *out, const struct server_drift_report *report,
                            const struct server_drift_lines *lines);

#endif

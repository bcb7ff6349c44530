/* drift.h: whether predictions have changed: two sets of rows compared column by column and day by day.
 * docs/drift.md says what is counted, and by which rule. */
#ifndef SERVER_DRIFT_H
#define SERVER_DRIFT_H

#include "server/drift_columns.h"
#include "server/drift_rows.h"

enum { SERVER_DRIFT_MIN_ROWS = 200, SERVER_DRIFT_TOP_LABELS = 12 };

/* A label's share of the rows. */
struct server_drift_share {
    const char *label;
    size_t reference, current; /* rows */
    int seen;                  /* its place among the labels as they were first seen */
};

/* How right the predictions were for which feedback has come: precision, recall and F1 are means over
 * the labels that were predicted or right, 0 where they would be 0 / 0. NaN where there is none. */
struct server_drift_quality {
    size_t answered;
    double accuracy, precision, recall, f1;
};

/* One day of the current rows. */
struct server_drift_day_finding {
    int64_t day; /* since 1970, UTC */
    size_t rows;
    bool compared;          /* there were enough rows */
    int confirmed, columns; /* columns confirmed, and all, of those that count */
    bool drifted;
    double mean[SERVER_DRIFT_COLUMNS]; /* of the numbers; NaN elsewhere */
    size_t *labels;                    /* (label_count) rows of each, in the report's order */
    struct server_drift_quality quality;
};

struct server_drift_report {
    size_t reference_rows, current_rows;
    struct server_drift_range reference_range,
        current_range; /* of the rows' times; SERVER_DRIFT_NEVER
                                                                 where they have none */
    struct server_drift_finding columns[SERVER_DRIFT_COLUMNS];
    int counted, drifted_columns, confirmed; /* columns that count, and what came of them */
    double share;                            /* that drifted of those that count */
    bool drifted;                            /* half of those that count are confirmed */
    bool same_model;                         /* both sides are of one model, and of the same */
    int label_count;
    struct server_drift_share *labels; /* (label_count), by falling count */
    int day_count;
    struct server_drift_day_finding *days; /* (day_count), those with rows, rising */
    struct server_drift_quality reference_quality, current_quality;
};

/* Compares. DISTIL_INVALID says what is missing: where a side has under min_rows rows, or the two have
 * no column in common. The labels' names are those of the rows. To be freed with
 * server_drift_report_free. */
distil_status server_drift_compare(const struct server_drift_rows *reference,
                                   const struct server_drift_rows *current, size_t min_rows,
                                   struct server_drift_report *report, distil_error *error);
void server_drift_report_free(struct server_drift_report *report);

#endif

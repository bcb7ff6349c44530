/* metrics.h: how good a classifier is, counted as scikit-learn counts (zero_division=0). */
#ifndef TOOLS_METRICS_H
#define TOOLS_METRICS_H

#include "weights/distil_status.h"

struct tool_scores {
    double precision, recall, f1;
};

struct tool_metrics {
    int labels;
    long rows;    /* predictions counted */
    long *matrix; /* (labels, labels): rows are the true labels, columns the predicted ones */
    double accuracy;
    struct tool_scores *label; /* (labels) */
    long *support;             /* (labels): rows whose true label it is */
    struct tool_scores micro, macro, weighted;
};

distil_status tool_metrics_create(struct tool_metrics *metrics, int labels, distil_error *error);
void tool_metrics_free(struct tool_metrics *metrics);
/* Both labels must be in 0..labels-1. */
void tool_metrics_add(struct tool_metrics *metrics, int expected, int predicted);
/* Fills everything after matrix. The macro average is over the labels that stand in the data or in
 * a prediction. */
void tool_metrics_finish(struct tool_metrics *metrics);

#endif

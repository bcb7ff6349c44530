/* logistic.h: multinomial logistic regression: which label a vector has, learnt from labelled ones.
 *
 * Minimises the sum of -log p(label) over rows, times C, plus half the squares of the weights (not of the biases), as
 * scikit-learn's LogisticRegression does: larger C regularises less. C is chosen by cross-validation, for the least loss on rows
 * that were held out. */
#ifndef TOOLS_LOGISTIC_H
#define TOOLS_LOGISTIC_H

#include "kernels/kernels.h"
#include "weights/distil_status.h"

enum { TOOL_LOGISTIC_TRIED = 16, TOOL_LOGISTIC_FOLDS_MAX = 10 };

/* Rows in folds: those of fold f are rows fold_start[f]..fold_start[f + 1], each fold with its share of every label. */
struct tool_logistic_rows {
    long rows;
    int width, labels;
    const float *features;  /* (rows, width) */
    const int *label;       /* (rows) from 0 */
    int folds;              /* 2..TOOL_LOGISTIC_FOLDS_MAX */
    const long *fold_start; /* (folds + 1) */
};

struct tool_logistic_options {
    double c; /* 0: by cross-validation */
    int threads;
    const struct kern_table *kernels;
    /* Told how much of the work is done, 0 to 1. May be NULL. */
    void (*progress)(void *context, double share);
    void *context;
};

/* What cross-validation found for one C: means over the rows held out. */
struct tool_logistic_trial {
    double c, loss, accuracy;
};

struct tool_logistic {
    int width, labels;
    float *weights; /* (labels, width) */
    float *bias;    /* (labels) */
    double c;
    int iterations; /* of the last fit, on all rows */
    int tried;
    struct tool_logistic_trial trial[TOOL_LOGISTIC_TRIED];
};

/* The order in which rows are to lie, made of their labels alone and always the same: position[row] is where row goes.
 * fold_start (folds + 1) is filled in. */
distil_status tool_logistic_arrange(const int *label, long rows, int labels, int folds,
                                    long *position, long *fold_start, distil_error *error);

distil_status tool_logistic_fit(struct tool_logistic *model, const struct tool_logistic_rows *rows,
                                const struct tool_logistic_options *options, distil_error *error);
void tool_logistic_free(struct tool_logistic *model);

#endif

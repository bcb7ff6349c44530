/* evaluation.h: what measuring any kind of model has in common, and the kinds that are not classifiers. */
#ifndef TOOLS_EVALUATION_H
#define TOOLS_EVALUATION_H

#include <stdbool.h>
#include <stdio.h>

#include "tools/dataset.h"
#include "tools/metrics.h"
#include "tools/model.h"

/* A measurement under way. */
struct tool_evaluation {
    const char *data;         /* path of what it is measured on */
    const char *score_column; /* of pairs; NULL: score */
    long batch;               /* texts to compute together */
    distil_model *model;
    distil_session *session;
    const distil_info *info;
    long rows, truncated; /* measured; texts that were cut at the window */
    double seconds;       /* spent computing */
};

/* Begins a JSON object with what was measured and on which machine; a comma and more fields are to follow. */
void tool_evaluation_head(FILE *out, const struct tool_evaluation *evaluation);
/* "ROWS things in S s (N/s), PRECISION on CPU, N threads". */
void tool_evaluation_line(const struct tool_evaluation *evaluation, const char *things);

/* Classifies every text of a data set and compares. metrics: zeroed, and to be freed also after an error. DISTIL_TASK for a
 * model that gives numbers; errors of tool_dataset_read. */
distil_status tool_labels_measure(struct tool_evaluation *evaluation,
                                  const struct tool_dataset_options *how,
                                  struct tool_metrics *metrics, distil_error *error);
void tool_labels_write(FILE *out, const struct tool_evaluation *evaluation,
                       const struct tool_metrics *metrics);
void tool_labels_print(const struct tool_evaluation *evaluation,
                       const struct tool_metrics *metrics);

/* How an answerer did, as SQuAD counts: shares of the questions, and the mean of F1 over them. */
struct tool_squad {
    long answerable, impossible; /* questions */
    double exact, f1;            /* of all questions */
    double answerable_exact, answerable_f1, impossible_exact;
};

/* Answers every question of a file in SQuAD's format, version 1.1 or 2.0, and compares. Where some questions have no answer,
 * "no answer" takes its place among the answers. DISTIL_FORMAT names what is wrong where in the file. */
distil_status tool_squad_measure(struct tool_evaluation *evaluation, struct tool_squad *squad,
                                 distil_error *error);
void tool_squad_write(FILE *out, const struct tool_evaluation *evaluation,
                      const struct tool_squad *squad);
void tool_squad_print(const struct tool_evaluation *evaluation, const struct tool_squad *squad);
/* Exact match, 0 or 1, and F1 of an answer and a right one, without case, punctuation and articles. False where memory
 * runs out. */
bool tool_squad_compare(const char *found, size_t found_length, const char *right,
                        size_t right_length, double *exact, double *f1);

/* How an encoder did: the correlation of the cosines of pairs with their scores. */
struct tool_pairs {
    double spearman, pearson;
};

/* Embeds both texts of every pair: lines with tabs under a header that names sentence1, sentence2 and score. DISTIL_FORMAT
 * names the first bad line. */
distil_status tool_pairs_measure(struct tool_evaluation *evaluation, struct tool_pairs *pairs,
                                 distil_error *error);
void tool_pairs_write(FILE *out, const struct tool_evaluation *evaluation,
                      const struct tool_pairs *pairs);
void tool_pairs_print(const struct tool_evaluation *evaluation, const struct tool_pairs *pairs);
/* Pearson's correlation of x and y (n), and that of their ranks, of which equal values share the mean; NaN where one of
 * them is constant. False where memory runs out. */
bool tool_pairs_correlate(const double *x, const double *y, size_t n, struct tool_pairs *pairs);

#endif

/* gate.h: the accuracy gate of `distild evaluate --tests`: a model must score on given data what it is known to score. */
#ifndef TOOLS_GATE_H
#define TOOLS_GATE_H

#include <cjson/cJSON.h>

#include "tools/model.h"

struct tool_gate {
    const char *path;      /* of the tests; - is standard input */
    const char *catalogue; /* of recommendations; NULL: none */
    const char *output;    /* where what came of it is written as JSON; NULL or "-": nowhere */
    struct tool_model_settings model;
    double tolerance; /* negative: tool_gate_tolerance's */
    bool json;        /* print JSON */
};

/* How far a score may be off by rounding alone. In fp32: 1e-5. In other precisions a score may be 0.005 worse; an accuracy over
 * rows also moves by chance: at most one label in a hundred is another (the tests hold the precisions to that), to the better
 * or the worse alike, which makes sqrt(0.01 / rows) one standard deviation, of which three are allowed. */
double tool_gate_tolerance(const char *precision, bool accuracy, int rows);

/* Runs it, prints what came of it, and returns an exit status: TOOL_BELOW where the score is off. */
int tool_gate_run(const struct tool_gate *gate);

/* The tests in their file: rows and what each should come out as. */
struct tool_gate_rows {
    const cJSON *data, *target; /* arrays of as many values */
    int count;
};

/* DISTIL_FORMAT names what is missing or wrong in the object. where: "" or such as "learn.". */
distil_status tool_gate_rows_read(struct tool_gate_rows *rows, const cJSON *object,
                                  const char *where, distil_error *error);
/* 1 minus the squares of what is missed, over those of what differs from the mean; of constant targets 1 where all
 * are met, else 0. (scikit-learn's r2_score.) */
double tool_gate_r2(const double *expected, const double *predicted, int count);

/* What the recommender's estimator, having learned from the rows of the field "learn", predicts for
 * those of the tests: rows are objects of age, gender, occupation and movie, targets are scores. */
distil_status tool_gate_recommend(const struct tool_gate *gate, const cJSON *root,
                                  const struct tool_gate_rows *rows, double *score,
                                  distil_error *error);

#endif

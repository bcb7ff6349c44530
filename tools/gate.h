/* gate.h: the accuracy gate of `distild evaluate --tests`: a model must score on given data what it is known to score. */
#ifndef TOOLS_GATE_H
#define TOOLS_GATE_H

#include <cjson/cJSON.h>

#include "tools/model.h"

struct tool_gate {
    const char *path;      /* of the tests; - is standard input */
    const char *catalogue; /* of recommendations; NULL: none */
    struct tool_model_settings model;
    double tolerance; /* negative: TOOL_GATE_EXACT in fp32, else TOOL_GATE_ROUNDED */
    bool json;        /* print JSON */
};

#define TOOL_GATE_EXACT 1e-5
#define TOOL_GATE_ROUNDED 5e-3

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

/* dataset.h: labelled texts, to measure a model or to make one of, from TSV or JSON lines. */
#ifndef TOOLS_DATASET_H
#define TOOLS_DATASET_H

#include "engine/distil.h"
#include "tools/input.h"

struct tool_row {
    size_t text;   /* where its text starts in the arena */
    size_t length; /* in bytes */
    int label;
    long line; /* of the file */
};

/* Zero-initialise. */
struct tool_dataset {
    char *arena;
    size_t used, capacity;
    struct tool_row *rows;
    long count, row_capacity;
    /* Of a data set that says itself which labels there are: */
    char **labels; /* (label_count), in order: numbers by value, names by their bytes */
    int label_count;
};

enum { TOOL_LABELS_MAX = 1000 };

struct tool_dataset_options {
    bool jsonl;
    const char *text_column;  /* NULL: sentence, text or inputs */
    const char *label_column; /* NULL: label */
    /* A label is a number, and the label "POSITIVE" from this one on and
     * "NEGATIVE" below it. NULL: every label is one of its own. */
    const double *positive_from;
};

/* Reads every row of path ("-": standard input). A label is the name of one of the model's, else
 * its number, else its name in other case. The first line of a TSV file is a header when it names
 * the columns; without one the columns are text and label. Empty lines are passed over. Without a model the labels are those
 * that are found, and a text that is empty is an error.
 * DISTIL_FORMAT names the first bad line and what was wrong with it. */
distil_status tool_dataset_read(struct tool_dataset *dataset, const char *path,
                                const struct tool_dataset_options *options,
                                const distil_model *model, distil_error *error);
void tool_dataset_free(struct tool_dataset *dataset);

#endif

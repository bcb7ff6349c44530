/* dataset.h: labelled texts for evaluation, from TSV or JSON lines. */
#ifndef TOOLS_DATASET_H
#define TOOLS_DATASET_H

#include "engine/distil.h"
#include "tools/input.h"

struct tool_row {
    size_t text;   /* where its text starts in the arena */
    size_t length; /* in bytes */
    int label;
};

/* Zero-initialise. */
struct tool_dataset {
    char *arena;
    size_t used, capacity;
    struct tool_row *rows;
    long count, row_capacity;
};

struct tool_dataset_options {
    bool jsonl;
    const char *text_column;  /* NULL: sentence, text or inputs */
    const char *label_column; /* NULL: label */
};

/* Reads every row of path ("-": standard input). A label is the name of one of the model's, else
 * its number, else its name in other case. The first line of a TSV file is a header when it names
 * the columns; without one the columns are text and label. Empty lines are passed over.
 * DISTIL_FORMAT names the first bad line and what was wrong with it. */
distil_status tool_dataset_read(struct tool_dataset *dataset, const char *path,
                                const struct tool_dataset_options *options,
                                const distil_model *model, distil_error *error);
void tool_dataset_free(struct tool_dataset *dataset);

#endif

/* shapes.h: the batches that programs are timed on. */
#ifndef TOOLS_SHAPES_H
#define TOOLS_SHAPES_H

#include "engine/distil.h"

struct tool_shape {
    char name[32];       /* as it was written: "8x128", "mix32" */
    int texts;           /* 1..4096 */
    int *tokens;         /* (texts): how many each has */
    long total;          /* tokens of all */
    double square_total; /* sum of tokens^2, for attention's share */
};

/* One of `BATCHxTOKENS` and `mix32`: 32 texts of 8 to 512 tokens in an order that is shuffled, but
 * always the same. DISTIL_INVALID where it is neither, or a text is longer than the window. */
distil_status tool_shape_parse(struct tool_shape *shape, const char *text, size_t length,
                               int window, distil_error *error);
void tool_shape_free(struct tool_shape *shape);

/* Random tokens for the shape, seeded, so that every run times the same. texts: (shape->texts), to
 * be freed one by one. */
distil_status tool_shape_texts(const struct tool_shape *shape, const distil_model *model,
                               distil_tokens **texts, distil_error *error);

/* Arithmetic that classifying the shape takes, in operations (a multiply-add is two): every product
 * and attention, of the last layer only what the first tokens need. */
double tool_shape_operations(const struct tool_shape *shape, const distil_info *info);

#endif

/* batches.h: texts computed together as they arrive: a batch is what has come meanwhile, so that nobody waits for more. */
#ifndef TOOLS_BATCHES_H
#define TOOLS_BATCHES_H

#include "engine/distil.h"
#include "tools/texts.h"

/* Zero-initialise. */
struct tool_batches {
    struct tool_texts texts;
    distil_model *model;           /* the caller's */
    long most;                     /* texts of a batch */
    struct tool_text *slots;       /* (most) */
    distil_tokens **tokens;        /* (most): tokens[i] belongs to slots[i] */
    const distil_tokens **encoded; /* (most): those of slots without a problem, in order */
    long done;                     /* texts of the batches before */
};

/* Makes room for batches of texts from batches->texts, which are open. */
distil_status tool_batches_create(struct tool_batches *batches, distil_model *model, long most,
                                  distil_error *error);
/* Computes and gives what became of slots 0..n-1, of which batches->encoded has so many. */
typedef distil_status tool_batch_compute(void *context, int n, int encoded, distil_error *error);
/* Calls compute for each batch until the texts end. label: what is done, as "predicting"; shown: whether that may be told
 * on the terminal. */
distil_status tool_batches_run(struct tool_batches *batches, const char *label, bool shown,
                               tool_batch_compute *compute, void *context, distil_error *error);
/* Marks the text of a slot as one for which the model computed a value that is not a number. */
void tool_batches_not_finite(struct tool_batches *batches, int slot);
/* Closes the texts too. */
void tool_batches_free(struct tool_batches *batches);

#endif

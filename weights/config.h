/* config.h: config.json of a HuggingFace directory. */
#ifndef WEIGHTS_CONFIG_H
#define WEIGHTS_CONFIG_H

#include "weights/arena.h"
#include "weights/json.h"
#include "weights/weights.h"

/* Bounds on what a file may ask for, far above any encoder and far below what sizes can overflow.
 */
enum {
    WEIGHTS_MAX_HIDDEN = 1 << 16,
    WEIGHTS_MAX_FFN = 1 << 18,
    WEIGHTS_MAX_LAYERS = 256,
    WEIGHTS_MAX_VOCAB = 1 << 24,
    WEIGHTS_MAX_WINDOW = 1 << 17,
    WEIGHTS_MAX_LABELS = 1 << 16
};

struct weights_source_config {
    const char *architecture; /* "DistilBertForSequenceClassification", in the arena */
    int token_types;          /* rows of BERT's token type table */
};

/* Labels and strings are put in the arena. */
distil_status weights_read_config(struct weights_config *config,
                                  struct weights_source_config *source, struct weights_arena *arena,
                                  const char *path, distil_error *error);

/* What must hold between the fields wherever they came from. */
distil_status weights_check_config(const struct weights_config *config, const char *where,
                                   distil_error *error);

#endif

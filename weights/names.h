/* names.h: the one table of an encoder's tensors: the name that a model file gives each, where it
 * stands in struct weights_model, its shape, and what HuggingFace calls it in DistilBERT and BERT
 * checkpoints. */
#ifndef WEIGHTS_NAMES_H
#define WEIGHTS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "weights/weights.h"

enum weights_part {
    WEIGHTS_PART_ENCODER,
    WEIGHTS_PART_TOKEN_TYPE, /* BERT only */
    WEIGHTS_PART_LAYER,      /* once for each layer */
    WEIGHTS_PART_HEAD_DENSE, /* sequence classification */
    WEIGHTS_PART_HEAD        /* every task */
};

/* One tensor of one model. */
struct weights_slot {
    enum weights_part part;
    int layer;     /* -1 outside the layers */
    size_t offset; /* within struct weights_layer or struct weights_model */
    bool vector;   /* one row, stored with one dimension */
    long rows, cols;
    char name[64];      /* canonical: "layers.0.attention.query.weight" */
    const char *source; /* HuggingFace's, '#' standing for the layer and a leading '@' for the base
                           model's prefix; NULL where the architecture has none */
};

/* Slots of a configuration, in canonical order; those of a missing head are left out. */
int weights_slot_count(const struct weights_config *config);
/* Fills *slot for 0 <= i < weights_slot_count(config). */
void weights_slot_at(struct weights_slot *slot, const struct weights_config *config, int i);

/* The slot's field. */
struct weights_tensor *weights_slot_tensor(struct weights_model *model,
                                           const struct weights_slot *slot);
const struct weights_tensor *weights_slot_tensor_const(const struct weights_model *model,
                                                       const struct weights_slot *slot);

/* slot->source spelt out with the prefix ("bert." or "") into buffer. Returns buffer. */
enum { WEIGHTS_SOURCE_NAME = 128 };
const char *weights_source_name(const struct weights_slot *slot, const char *prefix,
                                char buffer[WEIGHTS_SOURCE_NAME]);

#endif

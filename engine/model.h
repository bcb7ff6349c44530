/* model.h: a model ready to compute: packed weights, tokenizer, labels. Immutable. */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include <stdbool.h>

#include "engine/distil.h"
#include "engine/tokenizer.h"
#include "kernels/kernels.h"
#include "weights/weights.h"

struct engine_norm {
    const float *gamma, *beta; /* (hidden) */
};

struct engine_layer {
    struct kern_weights qkv;    /* (3 hidden, hidden): query, key, value above one another */
    struct kern_weights output; /* (hidden, hidden) */
    struct engine_norm attention_norm;
    struct kern_weights up;   /* (ffn, hidden) */
    struct kern_weights down; /* (hidden, ffn) */
    struct engine_norm output_norm;
};

struct distil_model {
    struct weights_model *weights; /* mapped: the word embeddings are read where they lie */
    struct kern_table kernels;
    enum kern_scheme scheme; /* of the encoder's products */
    struct engine_tokenizer *tokenizer;
    struct engine_layer *layers;
    float *position;                /* (window, hidden) */
    struct kern_weights head_dense; /* (hidden, hidden); n = 0 where the head has none */
    struct kern_weights head;       /* (labels, hidden); n = 0 without a head */
    void *memory;                   /* packed weights and positions */
    size_t memory_size;
    distil_info info;
};

#endif

/* head.h: an encoder made into a classifier. */
#ifndef WEIGHTS_HEAD_H
#define WEIGHTS_HEAD_H

#include "weights/weights.h"

/* A linear layer on embeddings, whose logits are those of labels that exclude each other. */
struct weights_new_head {
    int labels;
    const char *const *names;     /* (labels) */
    const float *weight;          /* (labels, hidden) */
    const float *bias;            /* (labels) */
    enum weights_pooling pooling; /* how it was given the embeddings it learnt from */
    bool normalize;
};

/* Gives an opened encoder the head, to be written with it. Everything is copied. DISTIL_TASK where the model has one. */
distil_status weights_set_head(struct weights_model *model, const struct weights_new_head *head,
                               distil_error *error);

#endif

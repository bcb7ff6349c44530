/* model.h: a model as the server holds it: opened, named, and described once for all answers. */
#ifndef SERVER_MODEL_H
#define SERVER_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/distil.h"
#include "server/server.h"

struct server_model {
    const char *name;
    distil_model *model;
    const distil_info *info;
    /* Labels by which a two-way sentiment model is known; both -1 for every other model. */
    int positive, negative;
    atomic_ullong *predictions; /* (label_count): texts answered with each label */
};

distil_status server_model_open(struct server_model *model,
                                const struct server_model_options *options, distil_error *error);
/* Counts the labels that logits (label_count) come out as: the likeliest, or where labels do not
 * exclude each other all that are more likely than not. */
void server_model_count(const struct server_model *model, const float *logits);
void server_model_close(struct server_model *model);

#endif

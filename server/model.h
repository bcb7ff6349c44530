/* model.h: a model as the server holds it: opened, named, described once for all answers, with what
 * computing it takes. */
#ifndef SERVER_MODEL_H
#define SERVER_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/distil.h"
#include "server/cost.h"
#include "server/options.h"
#include "server/queue.h"

/* Of a model that was given no name. */
#define SERVER_DEFAULT_MODEL "default"

enum { SERVER_TASKS = DISTIL_TASK_ANSWER + 1 };
/* What a task is called in answers. */
const char *server_model_task(distil_task task);
const char *server_model_pooling(distil_pooling pooling);

/* What computing a batch on a lane takes. */
struct server_seat {
    distil_session *session;
    float *output; /* what the model makes of a batch: one text's after another's */
    float *first;  /* of a classifier, what the logits of a batch were made of: (texts, hidden) */
};

struct server_model {
    const char *name;
    distil_model *model;
    const distil_info *info;
    /* Labels by which a two-way sentiment model is known; both -1 for every other model. */
    int positive, negative;
    atomic_ullong *predictions; /* (label_count): texts answered with each label */

    int lane_count;
    struct server_seat *seats; /* (lane_count) */
    /* Of the queue, which guards them. */
    struct server_cost *costs; /* (kinds of lanes) */
    struct server_flow flows[SERVER_FLOWS];
};

/* Opens the model, with a seat for batches of batch_texts on each lane, verifies it where the options
 * ask for that, and tests it on all cores. On failure nothing is left open. */
distil_status server_model_open(struct server_model *model,
                                const struct server_model_options *options,
                                const struct server_lanes *lanes, int batch_texts,
                                distil_error *error);
/* Floats that the model makes of a text: a classifier its logits and behind them the projection of
 * what they were made of (projection.h), an encoder an embedding, an answerer two logits for each
 * token. */
size_t server_model_width(const struct server_model *model, const distil_tokens *text);
/* Computes a batch into seat->output. Embeddings are as pooled. */
distil_status server_model_compute(const struct server_model *model, const struct server_seat *seat,
                                   const distil_tokens *const *texts, int count,
                                   distil_error *error);
/* The label of the highest of scores (label_count); of equal ones the first. */
int server_model_best(const struct server_model *model, const float *scores);
/* Counts the labels that logits (label_count) come out as: the likeliest, or where labels do not
 * exclude each other all that are more likely than not. */
void server_model_count(const struct server_model *model, const float *logits);
/* Moves what was counted over from the model that this one replaces, as far as their labels are the
 * same. */
void server_model_inherit(struct server_model *model, struct server_model *before);
void server_model_close(struct server_model *model);

#endif

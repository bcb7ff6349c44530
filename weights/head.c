#include "weights/head.h"

#include <string.h>

#include "weights/file.h"
#include "weights/private.h"

/* A copy of floats as a matrix of the model's; data is NULL without memory. */
static struct weights_tensor copy_of(struct weights_model *model, const float *values, long rows,
                                     long cols)
{
    const size_t count = (size_t)rows * (size_t)cols;
    float *copy = weights_arena_alloc(&model->private_->arena, count, sizeof *copy);
    if (copy)
        memcpy(copy, values, count * sizeof *copy);
    return (struct weights_tensor){.dtype = WEIGHTS_F32, .rows = rows, .cols = cols, .data = copy};
}

distil_status weights_set_head(struct weights_model *model, const struct weights_new_head *head,
                               distil_error *error)
{
    struct weights_arena *arena = &model->private_->arena;
    struct weights_config *config = &model->config;
    if (config->task != WEIGHTS_TASK_NONE)
        return distil_fail(error, DISTIL_TASK, "%s: expected an encoder, found a model with a head",
                           model->path);
    char **labels = weights_arena_alloc(arena, (size_t)head->labels, sizeof *labels);
    const struct weights_linear linear = {
        .weight = copy_of(model, head->weight, head->labels, config->hidden),
        .bias = copy_of(model, head->bias, 1, head->labels)};
    bool complete = labels && linear.weight.data && linear.bias.data;
    for (int i = 0; i < head->labels && complete; i++)
        complete = (labels[i] = weights_arena_copy(arena, head->names[i])) != NULL;
    if (!complete)
        return weights_no_memory(model->path, error);
    config->task = WEIGHTS_TASK_SEQUENCE_CLASSIFICATION;
    config->problem = WEIGHTS_SINGLE_LABEL;
    config->head_input = WEIGHTS_HEAD_EMBEDDING;
    config->pooling = head->pooling;
    config->normalize = head->normalize;
    config->label_count = head->labels;
    config->labels = labels;
    model->head = linear;
    model->golden = (struct weights_golden){0};
    return DISTIL_OK;
}

/* model.c: see model.h. */
#include "server/model.h"

#include <stdlib.h>
#include <string.h>

/* A model whose labels are exactly NEGATIVE and POSITIVE answers in terms of sentiment. */
static void find_sentiment(struct server_model *model)
{
    int i;
    model->positive = model->negative = -1;
    if (model->info->label_count != 2 || model->info->problem != DISTIL_SOFTMAX)
        return;
    for (i = 0; i < 2; i++) {
        const char *label = distil_label(model->model, i);
        const char *other = distil_label(model->model, 1 - i);
        if (strcmp(label, "POSITIVE") == 0 && strcmp(other, "NEGATIVE") == 0) {
            model->positive = i;
            model->negative = 1 - i;
        }
    }
}

distil_status server_model_open(struct server_model *model,
                                const struct server_model_options *options, distil_error *error)
{
    distil_status status = distil_model_open(options->path, &options->engine, &model->model, error);
    if (status)
        return status;
    model->name = options->name ? options->name : "default";
    model->info = distil_model_info(model->model);
    find_sentiment(model);
    model->predictions = calloc((size_t)model->info->label_count + 1, sizeof(atomic_ullong));
    if (!model->predictions)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the model's counters");
    return DISTIL_OK;
}

void server_model_count(const struct server_model *model, const float *logits)
{
    int best = 0, i;
    for (i = 0; i < model->info->label_count; i++) {
        if (model->info->problem == DISTIL_SIGMOID && logits[i] >= 0)
            atomic_fetch_add_explicit(&model->predictions[i], 1, memory_order_relaxed);
        if (logits[i] > logits[best])
            best = i;
    }
    if (model->info->problem != DISTIL_SIGMOID)
        atomic_fetch_add_explicit(&model->predictions[best], 1, memory_order_relaxed);
}

void server_model_close(struct server_model *model)
{
    if (!model)
        return;
    distil_model_free(model->model);
    free(model->predictions);
    model->predictions = NULL;
    model->model = NULL;
    model->info = NULL;
}

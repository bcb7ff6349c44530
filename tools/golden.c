#include "tools/golden.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/distil.h"

/* Few and short: they are computed at every start. */
static const char *const texts[] = {"a charming and often affecting journey",
                                    "cold, slow and sad."};
enum { TEXTS = sizeof texts / sizeof *texts };

/* How many values the model makes of a text; 0 where what it makes is not recorded. */
static int width_of(const distil_info *info, const distil_tokens *tokens)
{
    switch (info->task) {
    case DISTIL_TASK_NONE:
        return info->hidden;
    case DISTIL_TASK_CLASSIFY:
        return info->label_count;
    case DISTIL_TASK_ANSWER:
        return info->label_count * distil_tokens_count(tokens);
    case DISTIL_TASK_TOKENS:
        break;
    }
    return 0;
}

static distil_status compute(distil_session *session, distil_task task,
                             const distil_tokens *const *tokens, float *values, distil_error *error)
{
    if (task == DISTIL_TASK_CLASSIFY)
        return distil_logits(session, tokens, TEXTS, values, error);
    if (task == DISTIL_TASK_ANSWER)
        return distil_spans(session, tokens, TEXTS, values, error);
    return distil_embed(session, tokens, TEXTS, values, error);
}

static distil_status record(const distil_model *model, distil_session *session,
                            struct weights_golden *golden, distil_error *error)
{
    const distil_info *info = distil_model_info(model);
    distil_tokens *tokens[TEXTS] = {NULL};
    int *widths = calloc(TEXTS, sizeof *widths);
    float *values = NULL;
    size_t total = 0;
    distil_status status = DISTIL_OK;
    for (int i = 0; i < TEXTS && !status && widths; i++) {
        status = distil_encode(model, texts[i], strlen(texts[i]), NULL, 0, DISTIL_TRUNCATE_RIGHT,
                               &tokens[i], error);
        widths[i] = status ? 0 : width_of(info, tokens[i]);
        total += (size_t)widths[i];
    }
    if (!status)
        values = calloc(total + 1, sizeof *values);
    if (!status && (!widths || !values))
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for the golden texts");
    if (!status && total > 0)
        status = compute(session, info->task, (const distil_tokens *const *)tokens, values, error);
    for (int i = 0; i < TEXTS; i++)
        distil_tokens_free(tokens[i]);
    *golden = (struct weights_golden){.count = total > 0 && !status ? TEXTS : 0,
                                      .texts = texts,
                                      .widths = widths,
                                      .values = values};
    return status;
}

distil_status tool_golden_compute(const char *path, struct weights_golden *golden,
                                  distil_error *error)
{
    const distil_options options = {.precision = "fp32", .cpu = "scalar"};
    distil_model *model = NULL;
    distil_session *session = NULL;
    *golden = (struct weights_golden){0};
    distil_status status = distil_model_open(path, &options, &model, error);
    if (!status)
        status = distil_session_create(model, 0, &session, error);
    if (!status)
        status = record(model, session, golden, error);
    distil_session_free(session);
    distil_model_free(model);
    return status;
}

void tool_golden_free(struct weights_golden *golden)
{
    union {
        const int *from;
        int *to;
    } widths = {golden->widths};
    union {
        const float *from;
        float *to;
    } values = {golden->values};
    free(widths.to);
    free(values.to);
    *golden = (struct weights_golden){0};
}

enum weights_dtype tool_lossless_dtype(const struct weights_model *model)
{
    enum weights_dtype dtype = model->word.dtype;
    for (int i = 0; i < model->config.layers; i++) {
        if (model->layers[i].query.weight.dtype != dtype)
            return WEIGHTS_F32;
    }
    return dtype == WEIGHTS_BF16 ? WEIGHTS_F32 : dtype;
}

distil_status tool_golden_write(const struct weights_model *model, const char *path,
                                enum weights_dtype dtype, weights_progress *progress, void *context,
                                distil_error *error)
{
    struct weights_golden golden = {0};
    char first[PATH_MAX];
    if (model->config.task == WEIGHTS_TASK_TOKEN_CLASSIFICATION)
        return weights_write(model, path, dtype, NULL, progress, context, error);
    if (snprintf(first, sizeof first, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof first)
        return distil_fail(error, DISTIL_INVALID, "%s: the path is too long", path);
    distil_status status = weights_write(model, first, dtype, NULL, NULL, NULL, error);
    if (!status)
        status = tool_golden_compute(first, &golden, error);
    if (!status || status == DISTIL_NOT_FINITE)
        status = weights_write(model, path, dtype, golden.count > 0 ? &golden : NULL, progress,
                               context, error);
    unlink(first);
    tool_golden_free(&golden);
    return status;
}

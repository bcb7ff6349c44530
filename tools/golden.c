#include "tools/golden.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/distil.h"
#include "tools/output.h"

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

/* What a model makes of the golden texts. Zero-initialise; values are to be freed. */
struct recorded {
    int widths[TEXTS];
    float *values; /* NULL where it is not recorded */
};

static distil_status record(const distil_model *model, distil_session *session,
                            struct recorded *recorded, distil_error *error)
{
    const distil_info *info = distil_model_info(model);
    distil_tokens *tokens[TEXTS] = {NULL};
    size_t total = 0;
    distil_status status = DISTIL_OK;
    for (int i = 0; i < TEXTS && !status; i++) {
        status = distil_encode(model, texts[i], strlen(texts[i]), NULL, 0, DISTIL_TRUNCATE_RIGHT,
                               &tokens[i], error);
        if (!status)
            total += (size_t)(recorded->widths[i] = width_of(info, tokens[i]));
    }
    if (!status && total > 0) {
        recorded->values = calloc(total, sizeof *recorded->values);
        status = recorded->values
                     ? compute(session, info->task, (const distil_tokens *const *)tokens,
                               recorded->values, error)
                     : distil_fail(error, DISTIL_NO_MEMORY, "no memory for the golden texts");
    }
    for (int i = 0; i < TEXTS; i++)
        distil_tokens_free(tokens[i]);
    return status;
}

/* Records what the model file at path makes of them, in fp32 by the scalar kernels, which give the same on every machine. */
static distil_status record_file(const char *path, struct recorded *recorded, distil_error *error)
{
    const distil_options options = {.precision = "fp32", .cpu = "scalar"};
    distil_model *model = NULL;
    distil_session *session = NULL;
    distil_status status = distil_model_open(path, &options, &model, error);
    if (!status)
        status = distil_session_create(model, 0, &session, error);
    if (!status)
        status = record(model, session, recorded, error);
    distil_session_free(session);
    distil_model_free(model);
    return status;
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
    struct recorded recorded = {.values = NULL};
    char first[PATH_MAX];
    if (model->config.task == WEIGHTS_TASK_TOKEN_CLASSIFICATION)
        return weights_write(model, path, dtype, NULL, progress, context, error);
    if (snprintf(first, sizeof first, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof first)
        return distil_fail(error, DISTIL_INVALID, "%s: the path is too long", path);
    distil_status status = tool_can_save(path, error); /* a message names it, and not the first */
    if (status)
        return status;
    status = weights_write(model, first, dtype, NULL, NULL, NULL, error);
    if (!status)
        status = record_file(first, &recorded, error);
    if (!status || status == DISTIL_NOT_FINITE) {
        const struct weights_golden golden = {
            .count = TEXTS, .texts = texts, .widths = recorded.widths, .values = recorded.values};
        status = weights_write(model, path, dtype, status || !recorded.values ? NULL : &golden,
                               progress, context, error);
    }
    unlink(first);
    free(recorded.values);
    return status;
}

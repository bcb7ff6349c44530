#include "tools/golden.h"

#include <stdlib.h>
#include <string.h>

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
        const void *from;
        void *to;
    } widths = {golden->widths}, values = {golden->values};
    free(widths.to);
    free(values.to);
    *golden = (struct weights_golden){0};
}

#include "tools/golden.h"

#include <stdlib.h>
#include <string.h>

#include "engine/distil.h"

/* Few and short: they are computed at every start. */
static const char *const texts[] = {"a charming and often affecting journey",
                                    "cold, slow and sad."};
enum { TEXTS = sizeof texts / sizeof *texts };

static distil_status compute(const distil_model *model, distil_session *session, float *logits,
                             distil_error *error)
{
    distil_tokens *tokens[TEXTS] = {NULL};
    distil_status status = DISTIL_OK;
    for (int i = 0; i < TEXTS && !status; i++)
        status = distil_encode(model, texts[i], strlen(texts[i]), NULL, 0, DISTIL_TRUNCATE_RIGHT,
                               &tokens[i], error);
    if (!status)
        status = distil_logits(session, (const distil_tokens *const *)tokens, TEXTS, logits, error);
    for (int i = 0; i < TEXTS; i++)
        distil_tokens_free(tokens[i]);
    return status;
}

distil_status tool_golden_compute(const char *path, struct weights_golden *golden,
                                  distil_error *error)
{
    const distil_options options = {.precision = "fp32", .cpu = "scalar"};
    distil_model *model = NULL;
    distil_session *session = NULL;
    float *logits = NULL;
    *golden = (struct weights_golden){0};
    distil_status status = distil_model_open(path, &options, &model, error);
    if (status || distil_model_info(model)->task != DISTIL_TASK_CLASSIFY)
        goto done;
    status = distil_session_create(model, 0, &session, error);
    if (status)
        goto done;
    logits = calloc(TEXTS, (size_t)distil_model_info(model)->label_count * sizeof *logits);
    status = logits ? compute(model, session, logits, error)
                    : distil_fail(error, DISTIL_NO_MEMORY, "no memory for the golden texts");
    if (!status)
        *golden = (struct weights_golden){.count = TEXTS, .texts = texts, .logits = logits};
    else
        free(logits);
done:
    distil_session_free(session);
    distil_model_free(model);
    return status;
}

void tool_golden_free(struct weights_golden *golden)
{
    union {
        const float *from;
        float *to;
    } logits = {golden->logits};
    free(logits.to);
    *golden = (struct weights_golden){0};
}

/* What a machine must be able to compute before anybody relies on it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"

/* Texts of models that bring none. */
static const char *const own_texts[] = {"a charming and often affecting journey",
                                        "cold, slow and sad."};
enum { OWN_TEXTS = sizeof own_texts / sizeof *own_texts };

/* How far a logit may be from fp32's, as a part of 1 and the largest logit of its text: several times
 * what docs/precisions.md measured, and a fraction of what a wrong product makes. */
static double tolerance(const distil_model *model)
{
    if (strcmp(model->info.precision, "int8") == 0)
        return 0.4;
    return strcmp(model->info.precision, "bf16") == 0 ? 0.1 : 0.002;
}

/* Whether the values (n) of text i are what was expected of them. */
static distil_status compare(const distil_model *model, const char *text, const float *found,
                             const float *expected, long n, double allowed, distil_error *error)
{
    double largest = 0;
    for (long k = 0; k < n; k++)
        largest = fmax(largest, fabs((double)expected[k]));
    for (long k = 0; k < n; k++) {
        double difference = fabs((double)found[k] - (double)expected[k]);
        if (!(difference <= allowed * (1 + largest)))
            return distil_fail(error, DISTIL_SELF_TEST,
                               "%s: self-test: \"%.60s\", value %ld: expected %.4f, found %.4f (%s "
                               "on %s)",
                               model->info.path, text, k, (double)expected[k], (double)found[k],
                               model->info.precision, model->info.cpu);
    }
    return DISTIL_OK;
}

static distil_status encode_all(const distil_model *model, const char *const *texts, int count,
                                distil_tokens **tokens, distil_error *error)
{
    distil_status status = DISTIL_OK;
    for (int i = 0; i < count && !status; i++)
        status = distil_encode(model, texts[i], strlen(texts[i]), NULL, 0, DISTIL_TRUNCATE_RIGHT,
                               &tokens[i], error);
    return status;
}

static distil_status test_golden(distil_session *session, distil_tokens **tokens, float *logits,
                                 distil_error *error)
{
    const distil_model *model = session->model;
    const struct weights_golden *golden = &model->weights->golden;
    int labels = model->info.label_count;
    distil_status status =
        distil_logits(session, (const distil_tokens *const *)tokens, golden->count, logits, error);
    for (int i = 0; i < golden->count && !status; i++)
        status = compare(model, golden->texts[i], logits + (long)i * labels,
                         golden->logits + (long)i * labels, labels, tolerance(model), error);
    return status;
}

/* The hidden states of all texts together, then of each alone. */
static distil_status test_alike(distil_session *session, distil_tokens **tokens, float *together,
                                float *alone, distil_error *error)
{
    const distil_model *model = session->model;
    distil_status status = distil_hidden_states(session, (const distil_tokens *const *)tokens,
                                                OWN_TEXTS, together, error);
    for (int i = 0; i < OWN_TEXTS && !status; i++) {
        long values = (long)distil_tokens_count(tokens[i]) * model->info.hidden;
        status = distil_hidden_states(session, (const distil_tokens *const *)&tokens[i], 1, alone,
                                      error);
        if (!status)
            status = compare(model, own_texts[i], together, alone, values, 0.002, error);
        together += values;
    }
    return status;
}

distil_status distil_self_test(distil_session *session, distil_error *error)
{
    const distil_model *model = session->model;
    const struct weights_golden *golden = &model->weights->golden;
    bool known = golden->count > 0 && model->info.task == DISTIL_TASK_CLASSIFY;
    const char *const *texts = known ? golden->texts : own_texts;
    int count = known ? golden->count : OWN_TEXTS;
    distil_tokens **tokens = calloc((size_t)count, sizeof(distil_tokens *));
    size_t values = known ? (size_t)count * (size_t)model->info.label_count : 0;
    float *found = NULL;
    distil_status status = DISTIL_NO_MEMORY;
    if (tokens)
        status = encode_all(model, texts, count, tokens, error);
    for (int i = 0; i < count && !status && !known; i++)
        values += (size_t)distil_tokens_count(tokens[i]) * (size_t)model->info.hidden;
    if (!status)
        found = malloc(2 * values * sizeof *found);
    if (!tokens || (!status && !found))
        status = distil_fail(error, DISTIL_NO_MEMORY, "%s: no memory for the self-test",
                             model->info.path);
    else if (!status)
        status = known ? test_golden(session, tokens, found, error)
                       : test_alike(session, tokens, found, found + values, error);
    for (int i = 0; tokens && i < count; i++)
        distil_tokens_free(tokens[i]);
    free(tokens);
    free(found);
    return status;
}

/* What a machine must be able to compute before anybody relies on it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"

/* Texts of models that bring none. */
static const char *const own_texts[] = {"a charming and often affecting journey",
                                        "cold, slow and sad."};
enum { OWN_TEXTS = sizeof own_texts / sizeof *own_texts };

/* How far a logit may be from fp32's, as a part of 1 and the largest logit of its text, and an embedding, as a part of its
 * length: several times what docs/precisions.md measured, and a fraction of what a wrong product makes. */
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

/* The same of an embedding, whose values are small and count together. */
static distil_status compare_embeddings(const distil_model *model, const char *text,
                                        const float *found, const float *expected,
                                        distil_error *error)
{
    double length = 0, difference = 0;
    for (int k = 0; k < model->info.hidden; k++) {
        length += pow((double)expected[k], 2);
        difference += pow((double)found[k] - (double)expected[k], 2);
    }
    if (difference <= pow(tolerance(model), 2) * length)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_SELF_TEST,
                       "%s: self-test: \"%.60s\": expected an embedding within %.3f of its length "
                       "from the one recorded, found %.4f (%s on %s)",
                       model->info.path, text, tolerance(model), sqrt(difference / length),
                       model->info.precision, model->info.cpu);
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

/* What the model makes of the golden texts, as its file has it. */
static distil_status compute_golden(distil_session *session, const distil_tokens *const *tokens,
                                    float *values, distil_error *error)
{
    const struct weights_model *weights = session->model->weights;
    const struct weights_config *config = &weights->config;
    const int count = weights->golden.count;
    switch (session->model->info.task) {
    case DISTIL_TASK_CLASSIFY:
        return distil_logits(session, tokens, count, values, error);
    case DISTIL_TASK_ANSWER:
        return distil_spans(session, tokens, count, values, error);
    case DISTIL_TASK_NONE:
    case DISTIL_TASK_TOKENS:
        break;
    }
    return engine_embed(session, tokens, count, (distil_pooling)config->pooling, config->normalize,
                        values, error);
}

static distil_status test_golden(distil_session *session, distil_tokens **tokens, float *values,
                                 distil_error *error)
{
    const distil_model *model = session->model;
    const struct weights_golden *golden = &model->weights->golden;
    const float *expected = golden->values;
    distil_status status =
        compute_golden(session, (const distil_tokens *const *)tokens, values, error);
    for (int i = 0; i < golden->count && !status; i++) {
        const char *text = golden->texts[i];
        status = model->info.task == DISTIL_TASK_NONE
                     ? compare_embeddings(model, text, values, expected, error)
                     : compare(model, text, values, expected, golden->widths[i], tolerance(model),
                               error);
        values += golden->widths[i];
        expected += golden->widths[i];
    }
    return status;
}

/* An answerer's values follow from how its tokenizer cuts the texts. */
static distil_status check_widths(const distil_model *model, distil_tokens **tokens,
                                  distil_error *error)
{
    const struct weights_golden *golden = &model->weights->golden;
    for (int i = 0; i < golden->count && model->info.task == DISTIL_TASK_ANSWER; i++) {
        int expected = model->info.label_count * distil_tokens_count(tokens[i]);
        if (golden->widths[i] != expected)
            return distil_fail(error, DISTIL_SELF_TEST,
                               "%s: self-test: \"%.60s\": expected %d values, found %d: its tokens "
                               "are others",
                               model->info.path, golden->texts[i], golden->widths[i], expected);
    }
    return DISTIL_OK;
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

/* Values of all texts together. */
static size_t count_values(const distil_model *model, bool known, distil_tokens **tokens)
{
    const struct weights_golden *golden = &model->weights->golden;
    size_t values = 0;
    for (int i = 0; i < golden->count && known; i++)
        values += (size_t)golden->widths[i];
    for (int i = 0; i < OWN_TEXTS && !known; i++)
        values += (size_t)distil_tokens_count(tokens[i]) * (size_t)model->info.hidden;
    return values;
}

distil_status distil_self_test(distil_session *session, distil_error *error)
{
    const distil_model *model = session->model;
    const struct weights_golden *golden = &model->weights->golden;
    bool known = golden->count > 0 && model->info.task != DISTIL_TASK_TOKENS;
    const char *const *texts = known ? golden->texts : own_texts;
    int count = known ? golden->count : OWN_TEXTS;
    distil_tokens **tokens = calloc((size_t)count, sizeof(distil_tokens *));
    size_t values = 0;
    float *found = NULL;
    distil_status status = DISTIL_NO_MEMORY;
    if (tokens)
        status = encode_all(model, texts, count, tokens, error);
    if (!status && known)
        status = check_widths(model, tokens, error);
    if (!status) {
        values = count_values(model, known, tokens);
        found = malloc(2 * values * sizeof *found);
    }
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

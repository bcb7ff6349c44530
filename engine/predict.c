/* From encoded texts to answers: what the public header offers on a session. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/forward.h"
#include "engine/tokens.h"

/* Fills the chunk with texts from `first` on, one or as many as fit; returns the index after the last. */
static int fill_chunk(distil_session *session, const distil_tokens *const *texts, int first, int n)
{
    struct engine_chunk *chunk = &session->chunk;
    long at = 0;
    int i = first;
    for (; i < n; i++) {
        const struct engine_encoding *text = &texts[i]->encoding;
        if (i > first && at + text->count > session->chunk_tokens)
            break;
        memcpy(chunk->ids + at, text->ids, (size_t)text->count * sizeof *text->ids);
        memcpy(chunk->types + at, text->types, (size_t)text->count);
        for (int j = 0; j < text->count; j++)
            chunk->positions[at + j] = j;
        chunk->start[i - first] = at;
        at += text->count;
    }
    chunk->start[i - first] = at;
    chunk->texts = i - first;
    chunk->tokens = at;
    return i;
}

/* Whether none of n floats is infinite or NaN: none has all bits of the exponent. Written without a
 * branch, for the compiler to use vectors. */
static bool all_finite(const float *values, long n)
{
    const uint32_t exponent = 0x7F800000;
    int bad = 0;
    for (long i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return !bad;
}

/* Returns the first row with a value that is not finite; count where there is none. */
static long copy_rows(float *out, const struct kern_rows *rows, long count, long width)
{
    long first = count;
    for (long i = 0; i < count; i++) {
        memcpy(out + i * width, rows->f32 + i * rows->stride, (size_t)width * sizeof *out);
        if (first == count && !all_finite(out + i * width, width))
            first = i;
    }
    return first;
}

/* The text of a chunk that token `at` belongs to. */
static int text_of(const struct engine_chunk *chunk, long at)
{
    int i = 0;
    while (chunk->start[i + 1] <= at)
        i++;
    return i;
}

static distil_status not_finite(const distil_session *session, const char *what, int text,
                                distil_error *error)
{
    return distil_fail(error, DISTIL_NOT_FINITE,
                       "%s: text %d of the batch: expected finite %s, found one that is not a "
                       "number or infinite: the weights overflow",
                       session->model->info.path, text, what);
}

/* distil_logits_first, where first may be NULL; messages count the texts from `number`. */
static distil_status logits_of(distil_session *session, const distil_tokens *const *texts, int n,
                               int number, float *logits, float *first_states, distil_error *error)
{
    const distil_info *info = &session->model->info;
    int bad = n; /* the first text without an answer */
    if (info->task != DISTIL_TASK_CLASSIFY)
        return distil_fail(error, DISTIL_TASK, "%s has no text classification head", info->path);
    for (int first = 0; first < n;) {
        int next = fill_chunk(session, texts, first, n);
        engine_forward(session, ENGINE_LOGITS);
        long row = copy_rows(logits + (long)first * info->label_count, &session->work.logits,
                             next - first, info->label_count);
        if (bad == n && row < next - first)
            bad = first + (int)row;
        /* the head has left them where the last layer wrote them */
        if (first_states)
            copy_rows(first_states + (long)first * info->hidden, &session->work.x, next - first,
                      info->hidden);
        first = next;
    }
    return bad < n ? not_finite(session, "logits", number + bad, error) : DISTIL_OK;
}

distil_status distil_logits(distil_session *session, const distil_tokens *const *texts, int n,
                            float *logits, distil_error *error)
{
    return logits_of(session, texts, n, 0, logits, NULL, error);
}

distil_status distil_logits_first(distil_session *session, const distil_tokens *const *texts, int n,
                                  float *logits, float *first, distil_error *error)
{
    return logits_of(session, texts, n, 0, logits, first, error);
}

/* An output with a row for each token. */
static distil_status by_token(distil_session *session, const distil_tokens *const *texts, int n,
                              enum engine_output output, float *values, distil_error *error)
{
    const distil_info *info = &session->model->info;
    const struct engine_chunk *chunk = &session->chunk;
    const bool spans = output == ENGINE_SPANS;
    const struct kern_rows *rows = spans ? &session->work.logits : &session->work.x;
    const long width = spans ? info->label_count : info->hidden;
    int bad = n;
    for (int first = 0; first < n;) {
        int next = fill_chunk(session, texts, first, n);
        engine_forward(session, output);
        long row = copy_rows(values, rows, chunk->tokens, width);
        if (bad == n && row < chunk->tokens)
            bad = first + text_of(chunk, row);
        values += chunk->tokens * width;
        first = next;
    }
    return bad < n ? not_finite(session, spans ? "logits" : "hidden states", bad, error)
                   : DISTIL_OK;
}

distil_status distil_hidden_states(distil_session *session, const distil_tokens *const *texts,
                                   int n, float *hidden, distil_error *error)
{
    return by_token(session, texts, n, ENGINE_HIDDEN, hidden, error);
}

void distil_normalize(float *vector, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)vector[i] * (double)vector[i];
    /* the floor is torch's */
    const float scale = (float)(1 / fmax(sqrt(sum), 1e-12));
    for (int i = 0; i < n; i++)
        vector[i] *= scale;
}

distil_status engine_embed(distil_session *session, const distil_tokens *const *texts, int n,
                           distil_pooling pooling, int normalize, float *embeddings,
                           distil_error *error)
{
    const enum engine_output output = pooling == DISTIL_POOLING_CLS   ? ENGINE_FIRST
                                      : pooling == DISTIL_POOLING_MAX ? ENGINE_MAX
                                                                      : ENGINE_MEAN;
    const struct kern_rows *rows =
        output == ENGINE_FIRST ? &session->work.x : &session->work.pooled;
    const int hidden = session->model->info.hidden;
    int bad = n;
    for (int first = 0; first < n;) {
        int next = fill_chunk(session, texts, first, n);
        engine_forward(session, output);
        long row = copy_rows(embeddings + (long)first * hidden, rows, next - first, hidden);
        if (bad == n && row < next - first)
            bad = first + (int)row;
        for (long i = first; i < next && normalize; i++)
            distil_normalize(embeddings + i * hidden, hidden);
        first = next;
    }
    return bad < n ? not_finite(session, "embeddings", bad, error) : DISTIL_OK;
}

distil_status distil_embed(distil_session *session, const distil_tokens *const *texts, int n,
                           float *embeddings, distil_error *error)
{
    const distil_info *info = &session->model->info;
    return engine_embed(session, texts, n, info->pooling, info->normalize, embeddings, error);
}

distil_status distil_pool(distil_session *session, const distil_tokens *const *texts, int n,
                          float *embeddings, distil_error *error)
{
    return engine_embed(session, texts, n, session->model->info.pooling, 0, embeddings, error);
}

distil_status distil_spans(distil_session *session, const distil_tokens *const *texts, int n,
                           float *logits, distil_error *error)
{
    const distil_info *info = &session->model->info;
    if (info->task != DISTIL_TASK_ANSWER)
        return distil_fail(error, DISTIL_TASK, "%s has no question answering head", info->path);
    return by_token(session, texts, n, ENGINE_SPANS, logits, error);
}

void distil_scores(const distil_model *model, const float *logits, float *scores)
{
    int n = model->info.label_count;
    float highest = -INFINITY, sum = 0;
    switch (model->info.problem) {
    case DISTIL_REGRESSION:
        memmove(scores, logits, (size_t)n * sizeof *scores);
        return;
    case DISTIL_SIGMOID:
        for (int i = 0; i < n; i++)
            scores[i] = 1.0F / (1.0F + expf(-logits[i]));
        return;
    case DISTIL_SOFTMAX:
        for (int i = 0; i < n; i++)
            highest = fmaxf(highest, logits[i]);
        for (int i = 0; i < n; i++)
            sum += scores[i] = expf(logits[i] - highest);
        for (int i = 0; i < n; i++)
            scores[i] /= sum;
        return;
    }
}

static distil_prediction decide(const distil_model *model, const distil_tokens *tokens,
                                float *logits)
{
    distil_prediction prediction = {.tokens = tokens->encoding.count,
                                    .truncated = tokens->encoding.truncated};
    distil_scores(model, logits, logits);
    for (int i = 1; i < model->info.label_count; i++)
        if (logits[i] > logits[prediction.label])
            prediction.label = i;
    prediction.score = logits[prediction.label];
    return prediction;
}

distil_status distil_predict(distil_session *session, const char *const *texts, int n,
                             distil_prediction *predictions, distil_error *error)
{
    const distil_model *model = session->model;
    for (int first = 0; first < n;) {
        int count = n - first < ENGINE_PREDICT_BATCH ? n - first : ENGINE_PREDICT_BATCH;
        distil_status status = DISTIL_OK;
        for (int i = 0; i < count && !status; i++)
            status = distil_encode(model, texts[first + i], strlen(texts[first + i]), NULL, 0,
                                   DISTIL_TRUNCATE_RIGHT, &session->batch_tokens[i], error);
        if (!status)
            status = logits_of(session, (const distil_tokens *const *)session->batch_tokens, count,
                               first, session->batch_logits, NULL, error);
        if (status)
            return status;
        for (int i = 0; i < count; i++)
            predictions[first + i] =
                decide(model, session->batch_tokens[i],
                       session->batch_logits + (long)i * model->info.label_count);
        first += count;
    }
    return DISTIL_OK;
}

/* fake_engine.c: a stand-in for the engine behind distil.h, so that the server's behaviour under
 * load can be tested without a model, and slowed down at will.
 *
 * The model's path says what it is, or with ":file=PATH" the first line of a file: "fake", then any
 * of ":slow=MILLISECONDS" (for each batch), ":read=MILLISECONDS" (for each text of over 1,000 bytes),
 * ":gate" (batches wait while fake_shut), ":reading-gate" (such texts do), ":fail" (computing fails),
 * ":loading-gate" (loading does),
 * ":salt=NUMBER" (other logits, and another digest), ":broken" (does not load), ":corrupt" (does not
 * verify), ":wrong" (fails its self-test), ":multi" (three labels, sigmoid), ":topics" (three labels, softmax),
 * ":headless" (embeds; with ":unit" normalised), ":answers" (two logits a token). A token is a run of bytes without white space; a text's logits follow from its bytes
 * alone. */
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distil.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

enum { WINDOW = 16, LABELS = 3, HIDDEN = 3, VOCAB = 1000 };

struct distil_model {
    char path[200];
    distil_info info;
    char digest[20];
    int slow_ms, read_ms, salt;
    int fails, gated, reading_gated;
};

struct distil_tokens {
    int count, full_count;
    unsigned hash;
};

static atomic_int computed, passes, open_models;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    int shut, waiting;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};

void fake_shut(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.shut = 1;
    pthread_mutex_unlock(&gate.lock);
}

void fake_open(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.shut = 0;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
}

int fake_at_gate(void)
{
    int waiting;
    pthread_mutex_lock(&gate.lock);
    waiting = gate.waiting;
    pthread_mutex_unlock(&gate.lock);
    return waiting;
}

static void pass_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    while (gate.shut)
        pthread_cond_wait(&gate.opened, &gate.lock);
    gate.waiting--;
    pthread_mutex_unlock(&gate.lock);
}

int fake_passes(void)
{
    return atomic_load(&passes);
}

int fake_computed_texts(void)
{
    return atomic_load(&computed);
}

int fake_open_models(void)
{
    return atomic_load(&open_models);
}

struct distil_session {
    const struct distil_model *model;
};

distil_status distil_model_open(const char *path, const distil_options *options,
                                distil_model **model, distil_error *error)
{
    distil_model *m;
    const char *slow, *read, *salt;
    char line[200] = "";
    (void)options;
    if (path && strncmp(path, "fake:file=", 10) == 0) {
        FILE *file = fopen(path + 10, "r");
        path = file && fgets(line, sizeof(line), file) ? line : NULL;
        line[strcspn(line, "\n")] = '\0';
        if (file)
            fclose(file);
    }
    if (!path || strncmp(path, "fake", 4) != 0 || strstr(path, ":broken"))
        return distil_fail(error, DISTIL_NOT_FOUND, "%s: no such model", path ? path : "(none)");
    if (strstr(path, ":loading-gate"))
        pass_gate();
    m = calloc(1, sizeof(*m));
    if (!m)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    snprintf(m->path, sizeof(m->path), "%s", path);
    slow = strstr(path, ":slow=");
    m->slow_ms = slow ? atoi(slow + 6) : 0;
    read = strstr(path, ":read=");
    m->read_ms = read ? atoi(read + 6) : 0;
    m->fails = strstr(path, ":fail") != NULL;
    m->gated = strstr(path, ":gate") != NULL;
    m->reading_gated = strstr(path, ":reading-gate") != NULL;
    salt = strstr(path, ":salt=");
    m->salt = salt ? atoi(salt + 6) : 0;
    if (salt)
        snprintf(m->digest, sizeof(m->digest), "%d", m->salt);
    m->info.digest = m->digest;
    m->info.path = m->path;
    m->info.precision = "fp32";
    m->info.cpu = "scalar";
    m->info.task = strstr(path, ":headless")  ? DISTIL_TASK_NONE
                   : strstr(path, ":answers") ? DISTIL_TASK_ANSWER
                                              : DISTIL_TASK_CLASSIFY;
    m->info.hidden = HIDDEN;
    m->info.normalize = strstr(path, ":unit") != NULL;
    m->info.vocab = VOCAB;
    m->info.problem = strstr(path, ":multi") ? DISTIL_SIGMOID : DISTIL_SOFTMAX;
    m->info.label_count = strstr(path, ":multi") || strstr(path, ":topics") ? LABELS : 2;
    m->info.window = WINDOW;
    atomic_fetch_add(&open_models, 1);
    *model = m;
    return DISTIL_OK;
}

distil_status distil_model_verify(const distil_model *model, distil_error *error)
{
    if (strstr(model->path, ":corrupt"))
        return distil_fail(error, DISTIL_FORMAT, "%s: the digest differs", model->path);
    return DISTIL_OK;
}

int distil_model_same_file(const distil_model *a, const distil_model *b)
{
    return strcmp(a->path, b->path) == 0;
}

distil_status distil_self_test(distil_session *session, distil_error *error)
{
    if (strstr(session->model->path, ":wrong"))
        return distil_fail(error, DISTIL_SELF_TEST, "%s: self-test: other logits",
                           session->model->path);
    return DISTIL_OK;
}

void distil_model_free(distil_model *model)
{
    if (!model)
        return;
    atomic_fetch_sub(&open_models, 1);
    free(model);
}

const distil_info *distil_model_info(const distil_model *model)
{
    return &model->info;
}

const char *distil_label(const distil_model *model, int i)
{
    static const char *const sentiment[] = {"NEGATIVE", "POSITIVE"};
    static const char *const topics[] = {"red", "green", "blue"};
    return model->info.label_count == 2 ? sentiment[i] : topics[i];
}

static int scan(const char *text, size_t length, unsigned *hash)
{
    int words = 0, inside = 0;
    size_t i;
    for (i = 0; i < length; i++) {
        int space = isspace((unsigned char)text[i]);
        *hash = (*hash ^ (unsigned char)text[i]) * 16777619U;
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

distil_status distil_encode(const distil_model *model, const char *text, size_t length,
                            const char *pair, size_t pair_length, distil_truncation truncation,
                            distil_tokens **tokens, distil_error *error)
{
    if (length > 1000) {
        if (model->reading_gated)
            pass_gate();
        pause_ms(model->read_ms);
    }
    if (!*tokens && !(*tokens = calloc(1, sizeof(**tokens))))
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    (*tokens)->hash = 2166136261U;
    (*tokens)->full_count = 2 + scan(text, length, &(*tokens)->hash);
    if (pair)
        (*tokens)->full_count += 1 + scan(pair, pair_length, &(*tokens)->hash);
    (*tokens)->count = (*tokens)->full_count < WINDOW ? (*tokens)->full_count : WINDOW;
    if ((*tokens)->full_count > WINDOW && truncation == DISTIL_TRUNCATE_NONE)
        return distil_fail(error, DISTIL_TOO_LONG, "%d tokens", (*tokens)->full_count);
    return DISTIL_OK;
}

distil_status distil_tokens_from_ids(const distil_model *model, const int32_t *ids, int count,
                                     distil_tokens **tokens, distil_error *error)
{
    int i;
    if (count < 1 || count > model->info.window)
        return distil_fail(error, DISTIL_INVALID, "expected 1 to %d tokens, found %d",
                           model->info.window, count);
    if (!*tokens && !(*tokens = calloc(1, sizeof(**tokens))))
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    (*tokens)->hash = 0;
    for (i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= VOCAB)
            return distil_fail(error, DISTIL_INVALID,
                               "token %d: expected an id from 0 to %d, found %d", i, VOCAB - 1,
                               (int)ids[i]);
        (*tokens)->hash += (unsigned)ids[i];
    }
    (*tokens)->count = (*tokens)->full_count = count;
    return DISTIL_OK;
}

void distil_tokens_free(distil_tokens *tokens)
{
    free(tokens);
}

int distil_tokens_count(const distil_tokens *tokens)
{
    return tokens->count;
}

int distil_tokens_unknown(const distil_model *model, const distil_tokens *tokens)
{
    (void)model;
    return tokens->hash % 3 == 0;
}

int distil_tokens_truncated(const distil_tokens *tokens)
{
    return tokens->full_count > tokens->count;
}

int distil_tokens_full_count(const distil_tokens *tokens)
{
    return tokens->full_count;
}

distil_status distil_session_create(const distil_model *model, int threads,
                                    distil_session **session, distil_error *error)
{
    (void)threads;
    *session = calloc(1, sizeof(**session));
    if (!*session)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    (*session)->model = model;
    return DISTIL_OK;
}

void distil_session_free(distil_session *session)
{
    free(session);
}

int distil_session_threads(const distil_session *session)
{
    (void)session;
    return 1;
}

distil_status distil_logits(distil_session *session, const distil_tokens *const *texts, int n,
                            float *logits, distil_error *error)
{
    int labels = session->model->info.label_count, i, k;
    atomic_fetch_add(&computed, n);
    atomic_fetch_add(&passes, 1);
    if (session->model->gated)
        pass_gate();
    if (session->model->slow_ms)
        pause_ms(session->model->slow_ms);
    if (session->model->fails)
        return distil_fail(error, DISTIL_NO_MEMORY, "made to fail");
    for (i = 0; i < n; i++)
        for (k = 0; k < labels; k++)
            logits[i * labels + k] =
                (float)((texts[i]->hash + (unsigned)session->model->salt * 77U) >> (8 * k) & 0xFF) /
                    64.0F -
                2.0F;
    return DISTIL_OK;
}

distil_status distil_logits_first(distil_session *session, const distil_tokens *const *texts, int n,
                                  float *logits, float *first, distil_error *error)
{
    memset(first, 0, (size_t)n * (size_t)session->model->info.hidden * sizeof(float));
    return distil_logits(session, texts, n, logits, error);
}

/* Embeddings count up from the text's hash; hidden states there are none. */
distil_status distil_pool(distil_session *session, const distil_tokens *const *texts, int n,
                          float *embeddings, distil_error *error)
{
    int hidden = session->model->info.hidden, i, k;
    atomic_fetch_add(&computed, n);
    if (session->model->fails)
        return distil_fail(error, DISTIL_NO_MEMORY, "made to fail");
    for (i = 0; i < n; i++)
        for (k = 0; k < hidden; k++)
            embeddings[i * hidden + k] = (float)(texts[i]->hash % 7 + (unsigned)k);
    return DISTIL_OK;
}

void distil_normalize(float *vector, int n)
{
    float sum = 0;
    int i;
    for (i = 0; i < n; i++)
        sum += vector[i] * vector[i];
    for (i = 0; i < n; i++)
        vector[i] /= sqrtf(sum);
}

/* The start of token k is k, its end -k. */
distil_status distil_spans(distil_session *session, const distil_tokens *const *texts, int n,
                           float *logits, distil_error *error)
{
    int i, k;
    atomic_fetch_add(&computed, n);
    if (session->model->fails)
        return distil_fail(error, DISTIL_NO_MEMORY, "made to fail");
    for (i = 0; i < n; i++) {
        for (k = 0; k < texts[i]->count; k++) {
            *logits++ = (float)k;
            *logits++ = (float)-k;
        }
    }
    return DISTIL_OK;
}

void distil_scores(const distil_model *model, const float *logits, float *scores)
{
    int labels = model->info.label_count, i;
    float sum = 0;
    for (i = 0; i < labels; i++) {
        float e = expf(logits[i]);
        scores[i] = model->info.problem == DISTIL_SIGMOID ? e / (1 + e) : e;
        sum += e;
    }
    for (i = 0; i < labels && model->info.problem == DISTIL_SOFTMAX; i++)
        scores[i] /= sum;
}

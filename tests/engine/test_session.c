/* What a session promises whatever the model: the same text gives the same bits in any batch and on
 * any number of threads, batches larger than a chunk are answered whole, and computing allocates
 * nothing. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distil.h"
#include "tests/suite.h"

enum { TEXTS = 160, MOST_LABELS = 8 };

/* The linker sends every allocation of the program through these (--wrap). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static long allocations;

static void count_allocation(void)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
}

void *__wrap_malloc(size_t size)
{
    count_allocation();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    count_allocation();
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    count_allocation();
    return __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    count_allocation();
    return __real_aligned_alloc(alignment, size);
}

static const char *const models[] = {"distilbert-single", "distilbert-multi", "bert-single"};
#ifndef LEVEL_NAMES
#define LEVEL_NAMES "scalar", "openblas", "avx2", "avx512", "vnni", "amx", "neon", "dotprod"
#endif
static const char *const levels[] = {LEVEL_NAMES};
static const char *const precisions[] = {"fp32", "bf16", "int8"};
enum { MODELS = 3, LEVELS = sizeof levels / sizeof *levels, PRECISIONS = 3 };
#ifdef MODELS_IN_TURN
enum { CASES = LEVELS * PRECISIONS };
#else
enum { CASES = MODELS * LEVELS * PRECISIONS };
#endif

/* All models at each level and precision, or one of them in turn. */
static const char *model_of(int i)
{
    return models[CASES == LEVELS * PRECISIONS ? (i + i / PRECISIONS) % MODELS
                                               : i / PRECISIONS / LEVELS];
}

/* Case i; NULL where this machine lacks the level. */
static distil_model *open_case(int i)
{
    char path[1024];
    distil_error error;
    distil_model *model = NULL;
    const distil_options options = {.cpu = levels[i / PRECISIONS % LEVELS],
                                    .precision = precisions[i % PRECISIONS]};
    snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", getenv("DISTILD_SOURCE_DIR"),
             model_of(i));
    distil_status status = distil_model_open(path, &options, &model, &error);
    if (status == DISTIL_UNSUPPORTED)
        return NULL;
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_str_eq(distil_model_info(model)->cpu, options.cpu);
    ck_assert_str_eq(distil_model_info(model)->precision, options.precision);
    return model;
}

/* OpenBLAS sums in an order of its own that depends on the batch. At the bf16 and int8 precisions
 * that is the classification head alone, which stays in float. */
static int same_hidden_promised(int i)
{
    return strcmp(levels[i / PRECISIONS % LEVELS], "openblas") != 0 || i % PRECISIONS != 0;
}

static int same_logits_promised(int i)
{
    return strcmp(levels[i / PRECISIONS % LEVELS], "openblas") != 0;
}

struct texts {
    distil_tokens *tokens[TEXTS];
    long total;
};

/* Seeded random ids, lengths from 1 to the window, short ones more often. */
static void make_texts(const distil_model *model, struct texts *texts)
{
    const distil_info *info = distil_model_info(model);
    int32_t ids[1024];
    unsigned seed = 12345;
    memset(texts, 0, sizeof *texts);
    for (int i = 0; i < TEXTS; i++) {
        int span = i % 10 == 0 ? info->window : info->window / 4 + 1;
        int count = 1 + (int)((seed = seed * 1103515245U + 12345U) >> 8) % span;
        for (int j = 0; j < count; j++)
            ids[j] = (int32_t)(((seed = seed * 1103515245U + 12345U) >> 8) % (unsigned)info->vocab);
        ck_assert_int_eq(distil_tokens_from_ids(model, ids, count, &texts->tokens[i], NULL),
                         DISTIL_OK);
        texts->total += count;
    }
}

static void free_texts(struct texts *texts)
{
    for (int i = 0; i < TEXTS; i++)
        distil_tokens_free(texts->tokens[i]);
}

static distil_session *make_session(const distil_model *model, int threads)
{
    distil_session *session;
    distil_error error;
    ck_assert_msg(distil_session_create(model, threads, &session, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_int_eq(distil_session_threads(session), threads);
    return session;
}

static void assert_same(const float *a, const float *b, long n, int exact)
{
    if (exact) {
        ck_assert_int_eq(memcmp(a, b, (size_t)n * sizeof *a), 0);
        return;
    }
    for (long i = 0; i < n; i++)
        ck_assert_float_eq_tol(a[i], b[i], 1e-5F);
}

START_TEST(test_same_text_same_bits)
{
    distil_model *model = open_case(_i);
    if (!model)
        return;
    const distil_info *info = distil_model_info(model);
    struct texts texts;
    make_texts(model, &texts);
    ck_assert_int_gt(texts.total, 1024); /* more than one chunk */
    static float whole[TEXTS * MOST_LABELS], other[TEXTS * MOST_LABELS];
    const distil_tokens *const *all = (const distil_tokens *const *)texts.tokens;
    int labels = info->label_count;

    distil_session *one = make_session(model, 1);
    ck_assert_int_eq(distil_logits(one, all, TEXTS, whole, NULL), DISTIL_OK);
    for (int i = 0; i < TEXTS; i++)
        ck_assert_int_eq(distil_logits(one, all + i, 1, other + (long)i * labels, NULL), DISTIL_OK);
    assert_same(whole, other, (long)TEXTS * labels, same_logits_promised(_i));
    for (int threads = 2; threads <= 3; threads++) {
        distil_session *more = make_session(model, threads);
        memset(other, 0, sizeof other);
        ck_assert_int_eq(distil_logits(more, all, TEXTS, other, NULL), DISTIL_OK);
        assert_same(whole, other, (long)TEXTS * labels, same_logits_promised(_i));
        distil_session_free(more);
    }
    distil_session_free(one);
    free_texts(&texts);
    distil_model_free(model);
}
END_TEST

static const char *const poolings[] = {"mean", "cls", "max"};
enum { POOLINGS = 3 };

/* Embeddings of all texts together, alone, and on more threads; the cases take turns with the poolings. */
START_TEST(test_embeddings_in_batches)
{
    distil_model *probe = open_case(_i);
    if (!probe)
        return;
    const int pooling = (_i + _i / PRECISIONS) % POOLINGS;
    const distil_info *info = distil_model_info(probe);
    const distil_options options = {
        .cpu = info->cpu, .precision = info->precision, .pooling = poolings[pooling]};
    distil_model *model;
    ck_assert_int_eq(distil_model_open(info->path, &options, &model, NULL), DISTIL_OK);
    distil_model_free(probe);
    info = distil_model_info(model);
    ck_assert_int_eq((int)info->pooling, pooling);
    struct texts texts;
    make_texts(model, &texts);
    const long values = (long)TEXTS * info->hidden;
    float *whole = malloc((size_t)values * sizeof(float));
    float *other = malloc((size_t)values * sizeof(float));
    const distil_tokens *const *all = (const distil_tokens *const *)texts.tokens;

    distil_session *one = make_session(model, 1), *three = make_session(model, 3);
    ck_assert_int_eq(distil_embed(one, all, TEXTS, whole, NULL), DISTIL_OK);
    for (int i = 0; i < TEXTS; i += 10) {
        const float *embedding = whole + (long)i * info->hidden;
        ck_assert_int_eq(distil_embed(one, all + i, 1, other, NULL), DISTIL_OK);
        assert_same(embedding, other, info->hidden, same_hidden_promised(_i));
    }
    ck_assert_int_eq(distil_embed(three, all, TEXTS, other, NULL), DISTIL_OK);
    assert_same(whole, other, values, same_hidden_promised(_i));
    distil_session_free(one);
    distil_session_free(three);
    free(whole);
    free(other);
    free_texts(&texts);
    distil_model_free(model);
}
END_TEST

/* What an embedding is, from the hidden states that it is made of. */
START_TEST(test_poolings_and_length)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", getenv("DISTILD_SOURCE_DIR"), models[0]);
    for (int pooling = 0; pooling < POOLINGS; pooling++) {
        const distil_options options = {
            .precision = "fp32", .pooling = poolings[pooling], .normalize = 1};
        distil_model *model;
        distil_tokens *text = NULL;
        float hidden[3][64], pooled[64], normalized[64];
        const int32_t ids[3] = {2, 7, 3};
        ck_assert_int_eq(distil_model_open(path, &options, &model, NULL), DISTIL_OK);
        const int width = distil_model_info(model)->hidden;
        ck_assert_int_eq(width, 32);
        ck_assert_int_eq(distil_tokens_from_ids(model, ids, 3, &text, NULL), DISTIL_OK);
        distil_session *session = make_session(model, 2);
        const distil_tokens *const *texts = (const distil_tokens *const *)&text;
        float *const states = hidden[0];
        ck_assert_int_eq(distil_hidden_states(session, texts, 1, states, NULL), DISTIL_OK);
        ck_assert_int_eq(distil_pool(session, texts, 1, pooled, NULL), DISTIL_OK);
        ck_assert_int_eq(distil_embed(session, texts, 1, normalized, NULL), DISTIL_OK);
        double length = 0;
        for (int i = 0; i < width; i++) {
            const float a = states[i], b = states[width + i], c = states[2 * width + i];
            const float largest = a > b ? (a > c ? a : c) : (b > c ? b : c);
            const float expected = pooling == 0 ? (a + b + c) / 3 : pooling == 1 ? a : largest;
            ck_assert_float_eq_tol(pooled[i], expected, 1e-5F);
            length += (double)pooled[i] * (double)pooled[i];
        }
        for (int i = 0; i < width; i++)
            ck_assert_float_eq_tol(normalized[i], pooled[i] / (float)sqrt(length), 1e-5F);
        distil_tokens_free(text);
        distil_session_free(session);
        distil_model_free(model);
    }
    float zeros[3] = {0, 0, 0};
    distil_normalize(zeros, 3);
    ck_assert(zeros[0] == 0 && zeros[1] == 0 && zeros[2] == 0);
}
END_TEST

START_TEST(test_first_states_beside_logits)
{
    distil_model *model = open_case(_i);
    if (!model)
        return;
    const distil_info *info = distil_model_info(model);
    struct texts texts;
    make_texts(model, &texts);
    static float logits[TEXTS * MOST_LABELS], alone[TEXTS * MOST_LABELS];
    float *first = calloc((size_t)TEXTS * (size_t)info->hidden, sizeof(float));
    float *states = malloc((size_t)texts.total * (size_t)info->hidden * sizeof(float));
    const distil_tokens *const *all = (const distil_tokens *const *)texts.tokens;
    distil_session *session = make_session(model, 2);
    ck_assert_int_eq(distil_logits(session, all, TEXTS, alone, NULL), DISTIL_OK);
    ck_assert_int_eq(distil_logits_first(session, all, TEXTS, logits, first, NULL), DISTIL_OK);
    ck_assert_mem_eq(logits, alone, (size_t)(TEXTS * info->label_count) * sizeof(float));
    ck_assert_int_eq(distil_hidden_states(session, all, TEXTS, states, NULL), DISTIL_OK);
    const float *at = states;
    for (int i = 0; i < TEXTS; i++) {
        const float *row = first + (long)i * info->hidden;
        for (int k = 0; k < info->hidden; k++)
            ck_assert_float_eq_tol(row[k], at[k], 1e-4F);
        at += (long)distil_tokens_count(all[i]) * info->hidden;
    }
    free(first);
    free(states);
    distil_session_free(session);
    free_texts(&texts);
    distil_model_free(model);
}
END_TEST

START_TEST(test_hidden_states_in_batches)
{
    distil_model *model = open_case(_i);
    if (!model)
        return;
    const distil_info *info = distil_model_info(model);
    struct texts texts;
    make_texts(model, &texts);
    size_t size = (size_t)texts.total * (size_t)info->hidden * sizeof(float);
    float *whole = malloc(size), *alone = malloc(size);
    const distil_tokens *const *all = (const distil_tokens *const *)texts.tokens;

    distil_session *session = make_session(model, 2);
    ck_assert_int_eq(distil_hidden_states(session, all, TEXTS, whole, NULL), DISTIL_OK);
    float *at = alone;
    for (int i = 0; i < TEXTS; i++) {
        ck_assert_int_eq(distil_hidden_states(session, all + i, 1, at, NULL), DISTIL_OK);
        at += (long)distil_tokens_count(all[i]) * info->hidden;
    }
    assert_same(whole, alone, texts.total * info->hidden, same_hidden_promised(_i));
    free(whole);
    free(alone);
    distil_session_free(session);
    free_texts(&texts);
    distil_model_free(model);
}
END_TEST

START_TEST(test_computing_allocates_nothing)
{
    distil_model *model = open_case(_i);
    if (!model)
        return;
    const distil_info *info = distil_model_info(model);
    struct texts texts;
    make_texts(model, &texts);
    float *hidden = malloc((size_t)texts.total * (size_t)info->hidden * sizeof(float));
    static float logits[TEXTS * MOST_LABELS];
    const distil_tokens *const *all = (const distil_tokens *const *)texts.tokens;
    distil_session *session = make_session(model, 2);

    /* Check itself allocates, so what is found is asserted afterwards. */
    long before = __atomic_load_n(&allocations, __ATOMIC_RELAXED);
    distil_status batch = distil_logits(session, all, TEXTS, logits, NULL);
    distil_status single = distil_logits(session, all, 1, logits, NULL);
    distil_status states = distil_hidden_states(session, all, TEXTS, hidden, NULL);
    distil_status embeddings = distil_embed(session, all, TEXTS, hidden, NULL);
    long after = __atomic_load_n(&allocations, __ATOMIC_RELAXED);
    ck_assert_int_eq(batch, DISTIL_OK);
    ck_assert_int_eq(single, DISTIL_OK);
    ck_assert_int_eq(states, DISTIL_OK);
    ck_assert_int_eq(embeddings, DISTIL_OK);
    ck_assert_int_eq(after, before);
    ck_assert_int_gt(before, 0); /* the wrap counts */
    free(hidden);
    distil_session_free(session);
    free_texts(&texts);
    distil_model_free(model);
}
END_TEST

START_TEST(test_refusals)
{
    distil_error error;
    distil_model *model;
    const distil_options bad_cpu = {.cpu = "z80"}, bad_precision = {.precision = "fp8"};
    const distil_options bad_pooling = {.pooling = "median"};
    ck_assert_int_eq(distil_model_open("/nonexistent", NULL, &model, &error), DISTIL_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "/nonexistent"));
    ck_assert_int_eq(distil_model_open("/nonexistent", &bad_cpu, &model, &error), DISTIL_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "z80"));
    ck_assert_int_eq(distil_model_open("/nonexistent", &bad_precision, &model, &error),
                     DISTIL_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "fp8"));

    model = open_case(0);
    if (!model)
        return; /* a level that this machine cannot even emulate */
    const distil_info *info = distil_model_info(model);
    int32_t ids[2] = {0, info->vocab};
    distil_tokens *tokens = NULL;
    distil_model *other;
    distil_session *session = make_session(model, 1);
    ck_assert_int_eq(distil_model_open(info->path, &bad_pooling, &other, &error), DISTIL_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "median"));
    ck_assert_int_eq(distil_spans(session, NULL, 0, NULL, &error), DISTIL_TASK);
    ck_assert_ptr_nonnull(strstr(error.message, "no question answering head"));
    distil_session_free(session);
    ck_assert_int_eq(distil_tokens_from_ids(model, ids, 2, &tokens, &error), DISTIL_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "token 1"));
    ck_assert_int_eq(distil_tokens_from_ids(model, ids, 0, &tokens, &error), DISTIL_INVALID);
    ck_assert_int_eq(distil_tokens_from_ids(model, ids, info->window + 1, &tokens, &error),
                     DISTIL_INVALID);
    ck_assert_ptr_null(distil_label(model, -1));
    ck_assert_ptr_null(distil_label(model, info->label_count));
    distil_tokens_free(tokens);
    distil_model_free(model);
    distil_model_free(NULL);
    distil_session_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("session");
    TCase *tests = tcase_create("session");
    tcase_set_timeout(tests, 100);
    tcase_add_loop_test(tests, test_same_text_same_bits, 0, CASES);
    tcase_add_loop_test(tests, test_first_states_beside_logits, 0, CASES);
    tcase_add_loop_test(tests, test_hidden_states_in_batches, 0, CASES);
    tcase_add_loop_test(tests, test_embeddings_in_batches, 0, CASES);
    tcase_add_test(tests, test_poolings_and_length);
    tcase_add_loop_test(tests, test_computing_allocates_nothing, 0, CASES);
    tcase_add_test(tests, test_refusals);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

/* test_outputs.c: holds embeddings and the logits of answers' spans to what `transformers` gives on the same checkpoint.
 *
 *   test_outputs MODEL FIXTURE [OPTIONS as comparison.h has them]
 *
 * FIXTURE and the cases are made by tests/golden/make_outputs.py. Texts are computed one at a time and all together. In bf16
 * and int8 embeddings are held to a cosine, and ends of answers to fp32's.
 */
#include <check.h>
#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/engine/comparison.h"
#include "tests/golden/fixture.h"
#include "tests/suite.h"

/* Cosines to fp32's embeddings that the trained encoder keeps, with room to what has been seen. */
#define BF16_COSINE 0.999
#define INT8_COSINE 0.99

static const char *const poolings[] = {"mean", "cls", "max"};
enum { POOLINGS = 3 };

/* Read only, once main has filled them. */
static struct comparison comparison;
static struct fixture_outputs fixture;

/* The scalar specification is slow, and avx512 is vnni's in fp32: of a large model they do the texts that come first. */
static int texts_for(const char *level, int hidden)
{
    const int repeated = strcmp(level, "avx512") == 0 && kern_level_available(KERN_VNNI);
    const long most = strcmp(level, "scalar") == 0 || repeated ? 6L * 1000 * 1000 : LONG_MAX;
    return comparison_texts(&comparison, fixture.offsets, fixture.texts, hidden, most);
}

/* A model at a level with a pooling, or its own for NULL. */
static int open_at(struct subject *subject, const char *level, const char *precision,
                   const char *pooling)
{
    const distil_options options = {
        .precision = precision, .cpu = level, .pooling = pooling, .normalize = pooling ? -1 : 0};
    return subject_open(subject, comparison.model, &options, fixture.ids, fixture.offsets,
                        fixture.texts);
}

/* What the model makes of texts first..last-1, and how many values that is. */
static float *compute(const struct subject *subject, int first, int last, long *values)
{
    const distil_info *info = distil_model_info(subject->model);
    const distil_tokens *const *texts = (const distil_tokens *const *)(subject->texts + first);
    const int spans = info->task == DISTIL_TASK_ANSWER;
    distil_error error;
    *values = spans ? 2L * (fixture.offsets[last] - fixture.offsets[first])
                    : (long)(last - first) * info->hidden;
    float *out = malloc((size_t)*values * sizeof *out);
    ck_assert_ptr_nonnull(out);
    distil_status status = spans ? distil_spans(subject->session, texts, last - first, out, &error)
                                 : distil_embed(subject->session, texts, last - first, out, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    return out;
}

/* NaN is as far off as can be. */
static double largest_difference(const float *found, const float *expected, long n)
{
    double worst = 0;
    for (long i = 0; i < n; i++) {
        double difference = fabs((double)found[i] - (double)expected[i]);
        worst = difference <= worst ? worst : isnan(difference) ? INFINITY : difference;
    }
    return worst;
}

/* Where the fixture has the outputs of text `first` on. */
static const float *expected_from(const struct subject *subject, int pooling, int first)
{
    const distil_info *info = distil_model_info(subject->model);
    if (info->task == DISTIL_TASK_ANSWER)
        return fixture.spans + 2L * fixture.offsets[first];
    return fixture.pooled[pooling] + (long)first * info->hidden;
}

/* Test i is a level with a pooling; an answerer has none, and is computed once. */
START_TEST(fp32_alone_and_together)
{
    const char *level = kern_level_name((enum kern_level)(_i / POOLINGS));
    const int pooling = _i % POOLINGS;
    struct subject subject;
    double alone = 0, together;
    long values;
    if ((fixture.spans && pooling > 0) || !open_at(&subject, level, "fp32", poolings[pooling]))
        return;
    const double bound = comparison_bound(&comparison, subject.model);
    const int texts = texts_for(level, distil_model_info(subject.model)->hidden);
    ck_assert_int_gt(texts, 0);
    for (int i = 0; i < texts; i++) {
        float *found = compute(&subject, i, i + 1, &values);
        alone = fmax(alone, largest_difference(found, expected_from(&subject, pooling, i), values));
        free(found);
    }
    float *found = compute(&subject, 0, texts, &values);
    together = largest_difference(found, expected_from(&subject, pooling, 0), values);
    free(found);
    printf("fp32 %-8s %s: %d texts, largest difference alone %.2e, together %.2e\n", level,
           fixture.spans ? "spans" : poolings[pooling], texts, alone, together);
    subject_close(&subject);
    ck_assert_double_le(alone, bound);
    ck_assert_double_le(together, bound);
}
END_TEST

/* ---- from the text to what the whole model gives ---- */

static cJSON *read_cases(void)
{
    long size = 0;
    char *text = fixture_read(comparison.cases, &size);
    cJSON *cases = text ? cJSON_ParseWithLength(text, (size_t)size) : NULL;
    free(text);
    ck_assert_msg(cJSON_IsArray(cases), "%s cannot be read", comparison.cases);
    return cases;
}

static const char *string_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static void check_case(const struct subject *subject, const cJSON *item, double bound)
{
    const char *text = string_of(item, "text"), *pair = string_of(item, "pair");
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(item, "ids"), *value;
    const cJSON *outputs = cJSON_GetObjectItemCaseSensitive(item, "outputs");
    const int spans = distil_model_info(subject->model)->task == DISTIL_TASK_ANSWER;
    distil_tokens *tokens = NULL;
    distil_error error;
    int at = 0;
    ck_assert_int_eq(distil_encode(subject->model, text, strlen(text), pair,
                                   pair ? strlen(pair) : 0, DISTIL_TRUNCATE_RIGHT, &tokens, &error),
                     DISTIL_OK);
    ck_assert_int_eq(distil_tokens_count(tokens), cJSON_GetArraySize(ids));
    cJSON_ArrayForEach(value, ids)
        ck_assert_int_eq(distil_tokens_ids(tokens)[at++], value->valueint);
    int count = cJSON_GetArraySize(outputs);
    ck_assert_int_eq(count, spans ? 2 * distil_tokens_count(tokens)
                                  : distil_model_info(subject->model)->hidden);
    float *found = malloc((size_t)count * sizeof *found);
    const distil_tokens *const *texts = (const distil_tokens *const *)&tokens;
    ck_assert_ptr_nonnull(found);
    ck_assert_int_eq(spans ? distil_spans(subject->session, texts, 1, found, &error)
                           : distil_embed(subject->session, texts, 1, found, &error),
                     DISTIL_OK);
    at = 0;
    cJSON_ArrayForEach(value, outputs)
    {
        ck_assert_msg(fabs((double)found[at] - value->valuedouble) <= bound,
                      "%s: value %d: expected %g, found %g", text, at, value->valuedouble,
                      (double)found[at]);
        at++;
    }
    free(found);
    distil_tokens_free(tokens);
}

START_TEST(from_the_text)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    const cJSON *item;
    if (!comparison.cases || !open_at(&subject, level, "fp32", NULL))
        return;
    cJSON *cases = read_cases();
    ck_assert_int_gt(cJSON_GetArraySize(cases), 0);
    cJSON_ArrayForEach(item, cases)
        check_case(&subject, item, comparison_bound(&comparison, subject.model));
    cJSON_Delete(cases);
    subject_close(&subject);
}
END_TEST

/* ---- bf16 and int8 ---- */

static double cosine(const float *a, const float *b, long n)
{
    double ab = 0, aa = 0, bb = 0;
    for (long i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* The token that most likely begins (side 0) or ends (1) an answer; where it is not clear, -1. */
static int best_of(const float *spans, int tokens, int side)
{
    int best = 0;
    for (int i = 1; i < tokens; i++)
        if (spans[2L * i + side] > spans[2L * best + side])
            best = i;
    for (int i = 0; i < tokens; i++)
        if (i != best && spans[2L * i + side] > spans[2L * best + side] - 1)
            return -1;
    return best;
}

/* Of an embedding the cosine, of spans whether the clear beginnings and ends are the same (1 or 0). */
static double likeness(const struct subject *subject, int i, const float *found)
{
    const float *expected = expected_from(subject, 0, i);
    const int tokens = fixture.offsets[i + 1] - fixture.offsets[i];
    if (!fixture.spans)
        return cosine(found, expected, distil_model_info(subject->model)->hidden);
    for (int side = 0; side < 2; side++) {
        int wanted = best_of(expected, tokens, side), best = 0;
        for (int k = 1; k < tokens; k++)
            if (found[2L * k + side] > found[2L * best + side])
                best = k;
        if (wanted >= 0 && best != wanted)
            return 0;
    }
    return 1;
}

static void check_reduced(int index, const char *precision, double bound)
{
    const char *level = kern_level_name((enum kern_level)index);
    struct subject subject;
    double worst = 1, sum = 0;
    long values;
    if (!open_at(&subject, level, precision, poolings[0]))
        return;
    const int texts = texts_for(level, distil_model_info(subject.model)->hidden);
    ck_assert_int_gt(texts, 0);
    for (int i = 0; i < texts; i++) {
        float *found = compute(&subject, i, i + 1, &values);
        double like = likeness(&subject, i, found);
        worst = fmin(worst, like);
        sum += like;
        free(found);
    }
    printf("%s %-8s: %d texts, likeness to fp32: mean %.5f, least %.5f\n", precision, level, texts,
           sum / texts, worst);
    if (fixture.spans) /* a text or two may turn */
        ck_assert_double_ge(sum, texts - 2);
    else
        ck_assert_double_ge(worst, bound);
    subject_close(&subject);
}

START_TEST(reduced_bf16)
{
    check_reduced(_i, "bf16", BF16_COSINE);
}
END_TEST

START_TEST(reduced_int8)
{
    check_reduced(_i, "int8", INT8_COSINE);
}
END_TEST

/* ---- the program ---- */

static int run(void)
{
    Suite *suite = suite_create("outputs");
    TCase *cases = tcase_create("outputs");
    tcase_set_timeout(cases, 240);
    tcase_add_loop_test(cases, fp32_alone_and_together, FIRST_LEVEL * POOLINGS,
                        KERN_LEVELS * POOLINGS);
    tcase_add_loop_test(cases, from_the_text, FIRST_LEVEL, KERN_LEVELS);
    if (comparison.reduced) {
        tcase_add_loop_test(cases, reduced_bf16, FIRST_LEVEL, KERN_LEVELS);
        tcase_add_loop_test(cases, reduced_int8, FIRST_LEVEL, KERN_LEVELS);
    }
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}

int main(int argc, char **argv)
{
    int status = comparison_begin(&comparison, argc, argv);
    if (status)
        return status;
    status = fixture_outputs_open(&fixture, comparison.fixture) ? run() : EXIT_FAILURE;
    fixture_outputs_close(&fixture);
    comparison_end(&comparison);
    return status;
}

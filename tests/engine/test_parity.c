/* test_parity.c: holds the forward pass to what `transformers` answers on the same checkpoint.
 *
 *   test_parity MODEL FIXTURE [OPTIONS as comparison.h has them]
 *
 * FIXTURE and the cases are made by tests/golden/make_parity.py. In bf16 logits and hidden states are held to a bound of
 * their own, in int8 labels to those of fp32.
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

/* int8: logits of the trained model move by up to 0.3, so labels are compared where fp32 is surer
 * than this. */
#define INT8_MARGIN 0.6
/* bf16: what the trained model may be off by, more than twice what it has been. */
#define BF16_LOGITS 0.1
#define BF16_HIDDEN 0.1

/* Read only, once main has filled them. */
static struct comparison comparison;
static struct fixture fixture;

static int open_at(struct subject *subject, const char *level, const char *precision)
{
    const distil_options options = {.precision = precision, .cpu = level};
    if (!subject_open(subject, comparison.model, &options, fixture.ids, fixture.offsets,
                      fixture.texts))
        return 0;
    ck_assert_int_eq(distil_model_info(subject->model)->hidden, fixture.hidden);
    ck_assert_int_eq(distil_model_info(subject->model)->label_count, fixture.labels);
    return 1;
}

/* NaN is as far off as can be. */
static double further(double worst, double found, double expected)
{
    double difference = fabs(found - expected);
    return difference <= worst ? worst : isnan(difference) ? INFINITY : difference;
}

/* Texts first..last-1 of the fixture in one call each for logits and hidden states; raises worst[0]
 * and worst[1] to the largest differences seen. */
static void compare_batch(const struct subject *subject, int first, int last, double worst[2])
{
    const distil_tokens *const *texts = (const distil_tokens *const *)(subject->texts + first);
    int32_t start = fixture.offsets[first], end = fixture.offsets[last];
    float *logits = malloc(sizeof(float) * (size_t)(last - first) * (size_t)fixture.labels);
    float *hidden = malloc(sizeof(float) * (size_t)(end - start) * (size_t)fixture.hidden);
    distil_error error;
    ck_assert(logits && hidden);

    distil_status status = distil_logits(subject->session, texts, last - first, logits, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    for (long i = 0; i < (long)(last - first) * fixture.labels; i++)
        worst[0] = further(worst[0], logits[i], fixture.logits[(long)first * fixture.labels + i]);

    status = distil_hidden_states(subject->session, texts, last - first, hidden, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    for (long row = 0; row < fixture.row_count; row++) {
        if (fixture.rows[row] < start || fixture.rows[row] >= end)
            continue;
        const float *found = hidden + (long)(fixture.rows[row] - start) * fixture.hidden;
        for (int i = 0; i < fixture.hidden; i++)
            worst[1] = further(worst[1], found[i], fixture.states[row * fixture.hidden + i]);
    }
    free(logits);
    free(hidden);
}

/* How many of the fixture's texts a level computes. The scalar specification is slow, so of a large
 * model it does the short ones that come first; so does avx512 where vnni, which has the same float
 * kernels, does them all. */
static int texts_for(const char *level, const char *precision)
{
    const int repeated = strcmp(level, "avx512") == 0 && strcmp(precision, "fp32") == 0 &&
                         kern_level_available(KERN_VNNI);
    const long most = strcmp(level, "scalar") == 0 || repeated ? 12L * 1000 * 1000 : LONG_MAX;
    return comparison_texts(&comparison, fixture.offsets, fixture.texts, fixture.hidden, most);
}

START_TEST(fp32_one_by_one)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    double worst[2] = {0, 0};
    if (!open_at(&subject, level, "fp32"))
        return;
    int texts = texts_for(level, "fp32");
    ck_assert_int_gt(texts, 0);
    for (int i = 0; i < texts; i++)
        compare_batch(&subject, i, i + 1, worst);
    printf("fp32 %-8s one by one: %3d texts, largest difference: logits %.2e, hidden states %.2e\n",
           level, texts, worst[0], worst[1]);
    ck_assert_double_le(worst[0], comparison_bound(&comparison, subject.model));
    ck_assert_double_le(worst[1], comparison_bound(&comparison, subject.model));
    subject_close(&subject);
}
END_TEST

START_TEST(fp32_mixed_batches)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    double worst[2] = {0, 0};
    if (!open_at(&subject, level, "fp32"))
        return;
    /* Of 1, 2, 3 ... texts; the larger ones have more tokens than are computed at once. */
    int texts = texts_for(level, "fp32");
    for (int first = 0, size = 1; first < texts; first += size++)
        compare_batch(&subject, first, first + size < texts ? first + size : texts, worst);
    printf("fp32 %-8s in batches: %3d texts, largest difference: logits %.2e, hidden states %.2e\n",
           level, texts, worst[0], worst[1]);
    ck_assert_double_le(worst[0], comparison_bound(&comparison, subject.model));
    ck_assert_double_le(worst[1], comparison_bound(&comparison, subject.model));
    subject_close(&subject);
}
END_TEST

START_TEST(bf16_mixed_batches)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    double worst[2] = {0, 0};
    if (!open_at(&subject, level, "bf16"))
        return;
    int texts = texts_for(level, "bf16");
    ck_assert_int_gt(texts, 0);
    for (int first = 0, size = 1; first < texts; first += size++)
        compare_batch(&subject, first, first + size < texts ? first + size : texts, worst);
    printf("bf16 %-8s in batches: %3d texts, largest difference: logits %.3f, hidden states %.3f\n",
           level, texts, worst[0], worst[1]);
    ck_assert_double_le(worst[0], BF16_LOGITS);
    ck_assert_double_le(worst[1], BF16_HIDDEN);
    subject_close(&subject);
}
END_TEST

static int best_of(const float *logits)
{
    int best = 0;
    for (int i = 1; i < fixture.labels; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static float margin_of(const float *logits)
{
    int best = best_of(logits);
    float margin = INFINITY;
    for (int i = 0; i < fixture.labels; i++)
        if (i != best && logits[best] - logits[i] < margin)
            margin = logits[best] - logits[i];
    return margin;
}

START_TEST(int8_labels)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    double worst = 0;
    int agreed = 0, sure = 0;
    if (!open_at(&subject, level, "int8"))
        return;
    int texts = texts_for(level, "int8");
    ck_assert_int_gt(texts, 0);
    float *logits = malloc(sizeof(float) * (size_t)texts * (size_t)fixture.labels);
    distil_error error;
    ck_assert_ptr_nonnull(logits);
    distil_status status = distil_logits(
        subject.session, (const distil_tokens *const *)subject.texts, texts, logits, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    for (int i = 0; i < texts; i++) {
        const float *found = logits + (long)i * fixture.labels,
                    *expected = fixture.logits + (long)i * fixture.labels;
        for (int j = 0; j < fixture.labels; j++)
            worst = further(worst, found[j], expected[j]);
        agreed += best_of(found) == best_of(expected);
        if (margin_of(expected) >= (float)INT8_MARGIN) {
            sure++;
            ck_assert_msg(best_of(found) == best_of(expected),
                          "text %d: label %d, expected %d at a margin of %.3f", i, best_of(found),
                          best_of(expected), margin_of(expected));
        }
    }
    printf("int8 %-8s same label on %d of %d texts (%d of them by a margin), largest logit "
           "difference %.3f\n",
           level, agreed, texts, sure, worst);
    ck_assert_int_gt(sure, 0);
    free(logits);
    subject_close(&subject);
}
END_TEST

/* Ids, logits and scores of one entry of cases.json, from its text. */
static void check_case(const struct subject *subject, const cJSON *entry)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "text"));
    const char *pair = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "pair"));
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(entry, "ids");
    const cJSON *logits = cJSON_GetObjectItemCaseSensitive(entry, "logits");
    const cJSON *scores = cJSON_GetObjectItemCaseSensitive(entry, "scores");
    distil_tokens *tokens = NULL;
    distil_error error;
    float found[16];
    ck_assert_ptr_nonnull(text);
    ck_assert_int_le(fixture.labels, 16);
    distil_status status =
        distil_encode(subject->model, text, strlen(text), pair, pair ? strlen(pair) : 0,
                      DISTIL_TRUNCATE_RIGHT, &tokens, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_msg(distil_tokens_count(tokens) == cJSON_GetArraySize(ids),
                  "\"%.40s\": %d tokens, expected %d", text, distil_tokens_count(tokens),
                  cJSON_GetArraySize(ids));
    for (int i = 0; i < distil_tokens_count(tokens); i++)
        ck_assert_int_eq(distil_tokens_ids(tokens)[i], cJSON_GetArrayItem(ids, i)->valueint);

    const distil_tokens *one = tokens;
    status = distil_logits(subject->session, &one, 1, found, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_int_eq(cJSON_GetArraySize(logits), fixture.labels);
    for (int i = 0; i < fixture.labels; i++)
        ck_assert_double_eq_tol(found[i], cJSON_GetArrayItem(logits, i)->valuedouble,
                                comparison_bound(&comparison, subject->model));
    distil_scores(subject->model, found, found);
    for (int i = 0; i < fixture.labels; i++)
        ck_assert_double_eq_tol(found[i], cJSON_GetArrayItem(scores, i)->valuedouble,
                                comparison_bound(&comparison, subject->model));

    if (!pair) { /* the same through the shortest way there is */
        distil_prediction prediction;
        status = distil_predict(subject->session, &text, 1, &prediction, &error);
        ck_assert_msg(status == DISTIL_OK, "%s", error.message);
        ck_assert_int_eq(prediction.label, best_of(found));
        ck_assert_double_eq_tol(prediction.score, found[prediction.label],
                                comparison_bound(&comparison, subject->model));
        ck_assert_int_eq(prediction.tokens, distil_tokens_count(tokens));
        ck_assert_int_eq(prediction.truncated, distil_tokens_truncated(tokens));
    }
    distil_tokens_free(tokens);
}

START_TEST(from_text_to_answer)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    long size;
    if (!open_at(&subject, level, "fp32"))
        return;
    char *json = fixture_read(comparison.cases, &size);
    ck_assert_msg(json != NULL, "%s: cannot be read", comparison.cases);
    cJSON *cases = cJSON_ParseWithLength(json, (size_t)size);
    ck_assert_msg(cJSON_GetArraySize(cases) > 0, "%s: no cases", comparison.cases);
    const cJSON *entry;
    cJSON_ArrayForEach(entry, cases) check_case(&subject, entry);
    cJSON_Delete(cases);
    free(json);
    subject_close(&subject);
}
END_TEST

static int run(void)
{
    Suite *suite = suite_create("parity");
    TCase *numbers = tcase_create("numbers");
    tcase_set_timeout(numbers, 300);
    tcase_add_loop_test(numbers, fp32_one_by_one, FIRST_LEVEL, KERN_LEVELS);
    tcase_add_loop_test(numbers, fp32_mixed_batches, FIRST_LEVEL, KERN_LEVELS);
    if (comparison.reduced) {
        tcase_add_loop_test(numbers, bf16_mixed_batches, FIRST_LEVEL, KERN_LEVELS);
        tcase_add_loop_test(numbers, int8_labels, FIRST_LEVEL, KERN_LEVELS);
    }
    if (comparison.cases)
        tcase_add_loop_test(numbers, from_text_to_answer, FIRST_LEVEL, KERN_LEVELS);
    suite_add_tcase(suite, numbers);
    return run_suite(suite);
}

int main(int argc, char **argv)
{
    int status = comparison_begin(&comparison, argc, argv);
    if (status)
        return status;
    status = fixture_open(&fixture, comparison.fixture) ? run() : EXIT_FAILURE;
    fixture_close(&fixture);
    comparison_end(&comparison);
    return status;
}

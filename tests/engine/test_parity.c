/* test_parity.c: holds the forward pass to what `transformers` answers on the same checkpoint.
 *
 *   test_parity MODEL FIXTURE [--cases FILE] [--reduced] [--store DTYPE] [--tolerance X] [--texts N]
 *               [--split-tolerance X]
 *
 * MODEL is a model file or a HuggingFace directory; "shared:NAME" is the directory NAME under
 * $DISTILD_SHARED, and the program exits with 77 (skipped) where that is missing. FIXTURE and the
 * cases are made by tests/golden/make_parity.py. Every level that this CPU has is held to 1e-4 in
 * fp32; with --cases from the text to the answer, with --reduced in bf16 to a bound of its own and in
 * int8 to the labels of fp32.
 * --store computes with the model file that --dtype DTYPE (fp32, fp16 or int8) converts MODEL to,
 * --texts with the first N texts alone. --split-tolerance is the bound where fp32 is made of bf16
 * products (level amx): for random weights, whose answers are larger than a trained model's.
 */
#include <check.h>
#include <cjson/cJSON.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/distil.h"
#include "kernels/kernels.h"
#include "tests/golden/fixture.h"
#include "weights/weights.h"

/* int8: logits of the trained model move by up to 0.3, so labels are compared where fp32 is surer
 * than this. */
#define INT8_MARGIN 0.6
/* bf16: what the trained model may be off by, more than twice what it has been. */
#define BF16_LOGITS 0.1
#define BF16_HIDDEN 0.1

/* The first level to compute with. */
#ifndef FIRST_LEVEL
#define FIRST_LEVEL KERN_SCALAR
#endif

struct subject {
    distil_model *model;
    distil_session *session;
    distil_tokens **texts; /* (fixture.texts) */
};

/* Read only, once main has filled them. */
static struct fixture fixture;
static char model_path[4096];
static const char *cases_path;
static double tolerance = 1e-4, split_tolerance;
static long most_texts = LONG_MAX;

static double tolerance_of(const struct subject *subject)
{
    const int split = strcmp(distil_model_info(subject->model)->cpu, "amx") == 0;
    return split && split_tolerance > 0 ? split_tolerance : tolerance;
}

/* Opens the model at a level; 0 where this CPU does not have it, unless DISTILD_REQUIRE_LEVELS
 * names it. */
static int subject_open(struct subject *subject, const char *level, const char *precision)
{
    distil_options options = {.precision = precision, .cpu = level};
    distil_error error;
    memset(subject, 0, sizeof *subject);
    distil_status status = distil_model_open(model_path, &options, &subject->model, &error);
    const char *required = getenv("DISTILD_REQUIRE_LEVELS");
    if (status == DISTIL_UNSUPPORTED && !(required && strstr(required, level))) {
        printf("%s %s: skipped: %s\n", precision, level, error.message);
        return 0;
    }
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_str_eq(distil_model_info(subject->model)->cpu, level);
    ck_assert_str_eq(distil_model_info(subject->model)->precision, precision);
    status = distil_session_create(subject->model, 0, &subject->session, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);

    ck_assert_int_eq(distil_model_info(subject->model)->hidden, fixture.hidden);
    ck_assert_int_eq(distil_model_info(subject->model)->label_count, fixture.labels);
    subject->texts = calloc((size_t)fixture.texts, sizeof(distil_tokens *));
    ck_assert_ptr_nonnull(subject->texts);
    for (int i = 0; i < fixture.texts; i++) {
        int32_t start = fixture.offsets[i];
        status = distil_tokens_from_ids(subject->model, fixture.ids + start,
                                        fixture.offsets[i + 1] - start, &subject->texts[i], &error);
        ck_assert_msg(status == DISTIL_OK, "text %d: %s", i, error.message);
    }
    return 1;
}

static void subject_close(struct subject *subject)
{
    for (int i = 0; i < fixture.texts; i++)
        distil_tokens_free(subject->texts[i]);
    free(subject->texts);
    distil_session_free(subject->session);
    distil_model_free(subject->model);
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
    int repeated = strcmp(level, "avx512") == 0 && strcmp(precision, "fp32") == 0 &&
                   kern_level_available(KERN_VNNI);
    long work = 0, most = strcmp(level, "scalar") == 0 || repeated ? 12L * 1000 * 1000 : LONG_MAX;
    int texts = 0;
    while (texts < fixture.texts && texts < most_texts) {
        work += (long)(fixture.offsets[texts + 1] - fixture.offsets[texts]) * fixture.hidden *
                fixture.hidden;
        if (work > most)
            break;
        texts++;
    }
    return texts;
}

START_TEST(fp32_one_by_one)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    double worst[2] = {0, 0};
    if (!subject_open(&subject, level, "fp32"))
        return;
    int texts = texts_for(level, "fp32");
    ck_assert_int_gt(texts, 0);
    for (int i = 0; i < texts; i++)
        compare_batch(&subject, i, i + 1, worst);
    printf("fp32 %-8s one by one: %3d texts, largest difference: logits %.2e, hidden states %.2e\n",
           level, texts, worst[0], worst[1]);
    ck_assert_double_le(worst[0], tolerance_of(&subject));
    ck_assert_double_le(worst[1], tolerance_of(&subject));
    subject_close(&subject);
}
END_TEST

START_TEST(fp32_mixed_batches)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    double worst[2] = {0, 0};
    if (!subject_open(&subject, level, "fp32"))
        return;
    /* Of 1, 2, 3 ... texts; the larger ones have more tokens than are computed at once. */
    int texts = texts_for(level, "fp32");
    for (int first = 0, size = 1; first < texts; first += size++)
        compare_batch(&subject, first, first + size < texts ? first + size : texts, worst);
    printf("fp32 %-8s in batches: %3d texts, largest difference: logits %.2e, hidden states %.2e\n",
           level, texts, worst[0], worst[1]);
    ck_assert_double_le(worst[0], tolerance_of(&subject));
    ck_assert_double_le(worst[1], tolerance_of(&subject));
    subject_close(&subject);
}
END_TEST

START_TEST(bf16_mixed_batches)
{
    const char *level = kern_level_name((enum kern_level)_i);
    struct subject subject;
    double worst[2] = {0, 0};
    if (!subject_open(&subject, level, "bf16"))
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
    if (!subject_open(&subject, level, "int8"))
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
                                tolerance_of(subject));
    distil_scores(subject->model, found, found);
    for (int i = 0; i < fixture.labels; i++)
        ck_assert_double_eq_tol(found[i], cJSON_GetArrayItem(scores, i)->valuedouble,
                                tolerance_of(subject));

    if (!pair) { /* the same through the shortest way there is */
        distil_prediction prediction;
        status = distil_predict(subject->session, &text, 1, &prediction, &error);
        ck_assert_msg(status == DISTIL_OK, "%s", error.message);
        ck_assert_int_eq(prediction.label, best_of(found));
        ck_assert_double_eq_tol(prediction.score, found[prediction.label], tolerance_of(subject));
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
    if (!subject_open(&subject, level, "fp32"))
        return;
    char *json = fixture_read(cases_path, &size);
    ck_assert_msg(json != NULL, "%s: cannot be read", cases_path);
    cJSON *cases = cJSON_ParseWithLength(json, (size_t)size);
    ck_assert_msg(cJSON_GetArraySize(cases) > 0, "%s: no cases", cases_path);
    const cJSON *entry;
    cJSON_ArrayForEach(entry, cases) check_case(&subject, entry);
    cJSON_Delete(cases);
    free(json);
    subject_close(&subject);
}
END_TEST

/* Puts the path of MODEL into model_path; 0 where "shared:" leads nowhere. */
static int find_model(const char *argument)
{
    const char *shared = getenv("DISTILD_SHARED"), *source = getenv("DISTILD_SOURCE_DIR");
    if (strncmp(argument, "shared:", 7) != 0)
        snprintf(model_path, sizeof model_path, "%s", argument);
    else if (shared)
        snprintf(model_path, sizeof model_path, "%s/%s", shared, argument + 7);
    else
        snprintf(model_path, sizeof model_path, "%s/../shared/%s", source ? source : ".",
                 argument + 7);
    return strncmp(argument, "shared:", 7) != 0 || access(model_path, R_OK) == 0;
}

/* Converts the model to a file of that type in the temporary directory, and goes on with the file.
 */
static int store_as(const char *name)
{
    static const enum weights_dtype dtypes[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    const char *directory = getenv("TMPDIR");
    char path[sizeof model_path];
    struct weights_model *model = NULL;
    distil_error error = {.message = "no such type"};
    distil_status status = DISTIL_INVALID;
    snprintf(path, sizeof path, "%s/parity-%ld.distild", directory ? directory : "/tmp",
             (long)getpid());
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(name, weights_dtype_name(dtypes[i])) != 0)
            continue;
        status = weights_open(&model, model_path, &error);
        if (status == DISTIL_OK)
            status = weights_write(model, path, dtypes[i], NULL, NULL, NULL, &error);
        weights_free(model);
    }
    if (status != DISTIL_OK)
        fprintf(stderr, "--store %s: %s\n", name, error.message);
    snprintf(model_path, sizeof model_path, "%s", path);
    return status == DISTIL_OK;
}

static int run(int reduced)
{
    Suite *suite = suite_create("parity");
    TCase *numbers = tcase_create("numbers");
    tcase_set_timeout(numbers, 300);
    tcase_add_loop_test(numbers, fp32_one_by_one, FIRST_LEVEL, KERN_LEVELS);
    tcase_add_loop_test(numbers, fp32_mixed_batches, FIRST_LEVEL, KERN_LEVELS);
    if (reduced) {
        tcase_add_loop_test(numbers, bf16_mixed_batches, FIRST_LEVEL, KERN_LEVELS);
        tcase_add_loop_test(numbers, int8_labels, FIRST_LEVEL, KERN_LEVELS);
    }
    if (cases_path)
        tcase_add_loop_test(numbers, from_text_to_answer, FIRST_LEVEL, KERN_LEVELS);
    suite_add_tcase(suite, numbers);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}

int main(int argc, char **argv)
{
    const char *store = NULL;
    int reduced = 0, usable = argc >= 3;
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--reduced") == 0)
            reduced = 1;
        else if (strcmp(argv[i], "--cases") == 0 && i + 1 < argc)
            cases_path = argv[++i];
        else if (strcmp(argv[i], "--store") == 0 && i + 1 < argc)
            store = argv[++i];
        else if (strcmp(argv[i], "--tolerance") == 0 && i + 1 < argc)
            tolerance = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--split-tolerance") == 0 && i + 1 < argc)
            split_tolerance = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--texts") == 0 && i + 1 < argc)
            most_texts = strtol(argv[++i], NULL, 10);
        else
            usable = 0;
    }
    if (!usable) {
        fprintf(stderr,
                "usage: test_parity MODEL FIXTURE [--cases FILE] [--reduced] [--store DTYPE] "
                "[--tolerance X] [--texts N] [--split-tolerance X]\n");
        return 2;
    }
    if (!find_model(argv[1])) {
        printf("skipped: %s is not there (DISTILD_SHARED names its parent)\n", model_path);
        return 77;
    }
    if (!fixture_open(&fixture, argv[2]))
        return 1;
    int failed = store && !store_as(store) ? 1 : run(reduced);
    if (store)
        unlink(model_path);
    fixture_close(&fixture);
    return failed ? 1 : 0;
}

/* Finite weights whose products overflow: what comes of them is never passed off as an answer. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/distil.h"
#include "tests/suite.h"

enum { HIDDEN = 32, COLUMN = 7, TEXTS = 5, TOKENS = 4, LABELS = 3 };

/* What is made huge: logit 0 of every text, or value COLUMN of every hidden state, is then a number that
 * the weights multiply, so that the right factor overflows in one text alone. */
static const struct place {
    const char *tensor;
    int first, values;
} logit_place = {"\"classifier.weight\"", 0, HIDDEN},
  hidden_place = {"\"distilbert.transformer.layer.1.output_layer_norm.weight\"", COLUMN, 1};

static char directory[] = "/tmp/distild-not-finite-XXXXXX";

static const char *golden(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/tiny/distilbert-single/%s",
             getenv("DISTILD_SOURCE_DIR"), name);
    return path;
}

static const char *const files[] = {"config.json", "vocab.txt", "tokenizer_config.json",
                                    "model.safetensors"};
enum { FILES = sizeof files / sizeof *files };

static const char *target(const char *name)
{
    static char path[sizeof directory + 64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* Copies a file of the tiny checkpoint, with the values of the place, if any, set to value. */
static void copy(const char *name, const struct place *place, float value)
{
    static char bytes[1 << 20];
    FILE *file = fopen(golden(name), "rb");
    ck_assert_msg(file != NULL, "%s", golden(name));
    size_t size = fread(bytes, 1, sizeof bytes - 1, file);
    fclose(file);
    if (place) {
        uint64_t header;
        memcpy(&header, bytes, sizeof header);
        const char *at = memmem(bytes, size, place->tensor, strlen(place->tensor));
        ck_assert_ptr_nonnull(at);
        at = strstr(at, "\"data_offsets\":[");
        ck_assert_ptr_nonnull(at);
        size_t start = strtoul(strchr(at, '[') + 1, NULL, 10);
        for (int i = place->first; i < place->first + place->values; i++)
            memcpy(bytes + 8 + header + start + (size_t)i * sizeof value, &value, sizeof value);
    }
    file = fopen(target(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    for (int i = 0; i < FILES; i++)
        copy(files[i], NULL, 0);
}

static void teardown(void)
{
    for (int i = 0; i < FILES; i++)
        unlink(target(files[i]));
    rmdir(directory);
}

static distil_model *open_with(const char *precision)
{
    distil_model *model;
    distil_error error;
    const distil_options options = {.precision = precision};
    ck_assert_msg(distil_model_open(directory, &options, &model, &error) == DISTIL_OK, "%s",
                  error.message);
    return model;
}

struct run {
    distil_model *model;
    distil_session *session;
    distil_tokens *tokens[TEXTS];
    const distil_tokens *texts[TEXTS];
};

static void start(struct run *run, const char *precision)
{
    memset(run, 0, sizeof *run);
    run->model = open_with(precision);
    ck_assert_int_eq(distil_session_create(run->model, 1, &run->session, NULL), DISTIL_OK);
    for (int i = 0; i < TEXTS; i++) {
        int32_t ids[TOKENS] = {2, 100 + i, 110 + 3 * i, 3};
        ck_assert_int_eq(distil_tokens_from_ids(run->model, ids, TOKENS, &run->tokens[i], NULL),
                         DISTIL_OK);
        run->texts[i] = run->tokens[i];
    }
}

static void stop(struct run *run)
{
    for (int i = 0; i < TEXTS; i++)
        distil_tokens_free(run->tokens[i]);
    distil_session_free(run->session);
    distil_model_free(run->model);
}

static int count_finite(const float *values, int n)
{
    int finite = 0;
    for (int i = 0; i < n; i++)
        finite += isfinite(values[i]) != 0;
    return finite;
}

/* values: (TEXTS, rows, width). Finds the text whose first value of a row is the largest, and the factor
 * that makes it overflow, but no other. */
static float find_factor(const float *values, int rows, int width, int *worst)
{
    float largest[TEXTS] = {0}, second = 0;
    *worst = 0;
    for (int i = 0; i < TEXTS; i++) {
        for (int j = 0; j < rows; j++)
            largest[i] = fmaxf(largest[i], fabsf(values[(i * rows + j) * width]));
        *worst = largest[i] > largest[*worst] ? i : *worst;
    }
    for (int i = 0; i < TEXTS; i++)
        second = i != *worst && largest[i] > second ? largest[i] : second;
    ck_assert_msg(second > 1 && second < largest[*worst], "%g, %g", (double)second,
                  (double)largest[*worst]);
    return FLT_MAX / sqrtf(second * largest[*worst]);
}

static const char *const precisions[] = {"fp32", "bf16", "int8"};

START_TEST(test_refuses_logits)
{
    struct run run;
    float logits[TEXTS * LABELS];
    distil_error error = {.message = ""};
    char message[64];
    int worst;
    copy("model.safetensors", &logit_place, 1);
    start(&run, precisions[_i]);
    ck_assert_int_eq(distil_logits(run.session, run.texts, TEXTS, logits, NULL), DISTIL_OK);
    float factor = find_factor(logits, 1, LABELS, &worst);
    stop(&run);

    copy("model.safetensors", &logit_place, factor);
    start(&run, precisions[_i]);
    ck_assert_int_eq(distil_logits(run.session, run.texts, TEXTS, logits, &error),
                     DISTIL_NOT_FINITE);
    snprintf(message, sizeof message, "text %d of the batch: expected finite logits", worst);
    ck_assert_ptr_nonnull(strstr(error.message, directory));
    ck_assert_msg(strstr(error.message, message) != NULL, "%s", error.message);
    /* The others are answered. */
    ck_assert_int_eq(count_finite(logits, TEXTS * LABELS), TEXTS * LABELS - 1);
    ck_assert(!isfinite(logits[worst * LABELS]));
    ck_assert_int_eq(distil_logits(run.session, run.texts, worst, logits, NULL), DISTIL_OK);
    stop(&run);
}
END_TEST

START_TEST(test_refuses_hidden_states)
{
    struct run run;
    static float hidden[TEXTS * TOKENS * HIDDEN];
    distil_error error = {.message = ""};
    char message[64];
    int worst;
    copy("model.safetensors", &hidden_place, 1);
    start(&run, precisions[_i]);
    ck_assert_int_eq(distil_hidden_states(run.session, run.texts, TEXTS, hidden, NULL), DISTIL_OK);
    float factor = find_factor(hidden + COLUMN, TOKENS, HIDDEN, &worst);
    stop(&run);

    copy("model.safetensors", &hidden_place, factor);
    start(&run, precisions[_i]);
    ck_assert_int_eq(distil_hidden_states(run.session, run.texts, TEXTS, hidden, &error),
                     DISTIL_NOT_FINITE);
    snprintf(message, sizeof message, "text %d of the batch: expected finite hidden states", worst);
    ck_assert_msg(strstr(error.message, message) != NULL, "%s", error.message);
    ck_assert_int_lt(count_finite(hidden, TEXTS * TOKENS * HIDDEN), TEXTS * TOKENS * HIDDEN);
    ck_assert_int_eq(distil_hidden_states(run.session, run.texts, worst, hidden, NULL), DISTIL_OK);
    stop(&run);
}
END_TEST

START_TEST(test_predict_refuses)
{
    const char *text = "the good film";
    struct run run;
    distil_prediction prediction;
    distil_error error = {.message = ""};
    copy("model.safetensors", &logit_place, 3e38F);
    start(&run, "fp32");
    ck_assert_int_eq(distil_predict(run.session, &text, 1, &prediction, &error), DISTIL_NOT_FINITE);
    ck_assert_ptr_nonnull(strstr(error.message, "text 0 of the batch"));
    ck_assert_str_eq(distil_strerror(DISTIL_NOT_FINITE),
                     "the model computed a value that is not a number");
    stop(&run);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("values that are not numbers");
    TCase *tests = tcase_create("overflow");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, test_refuses_logits, 0, 3);
    tcase_add_loop_test(tests, test_refuses_hidden_states, 0, 3);
    tcase_add_test(tests, test_predict_refuses);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

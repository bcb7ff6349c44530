/* The self-test passes wherever the model computes as it should, and names what does not. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/distil.h"
#include "kernels/kernels.h"
#include "tests/suite.h"
#include "weights/weights.h"

static const char *const names[] = {"distilbert-single", "distilbert-multi",
                                    "distilbert-regression", "bert-single"};
static const char *const texts[] = {"the film was good", "no"};
enum { NAMES = sizeof names / sizeof *names, TEXTS = 2, MOST_LABELS = 8 };

static char file[] = "/tmp/distild-self-test-XXXXXX";

static const char *checkpoint(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/tiny/%s", getenv("DISTILD_SOURCE_DIR"), name);
    return path;
}

/* The logits of the texts by the model at path. */
static void compute(const char *path, const char *precision, const char *cpu, float *logits)
{
    const distil_options options = {.precision = precision, .cpu = cpu};
    distil_tokens *tokens[TEXTS] = {NULL};
    distil_model *model;
    distil_session *session;
    distil_error error;
    ck_assert_msg(distil_model_open(path, &options, &model, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_int_le(distil_model_info(model)->label_count, MOST_LABELS);
    ck_assert_int_eq(distil_session_create(model, 1, &session, &error), DISTIL_OK);
    for (int i = 0; i < TEXTS; i++)
        ck_assert_int_eq(distil_encode(model, texts[i], strlen(texts[i]), NULL, 0,
                                       DISTIL_TRUNCATE_RIGHT, &tokens[i], &error),
                         DISTIL_OK);
    ck_assert_int_eq(
        distil_logits(session, (const distil_tokens *const *)tokens, TEXTS, logits, &error),
        DISTIL_OK);
    for (int i = 0; i < TEXTS; i++)
        distil_tokens_free(tokens[i]);
    distil_session_free(session);
    distil_model_free(model);
}

/* Writes the checkpoint as a model file with golden texts. */
static void convert(const char *name, const float *logits)
{
    struct weights_model *weights;
    distil_error error;
    ck_assert_int_eq(weights_open(&weights, checkpoint(name), &error), DISTIL_OK);
    const int labels = weights->config.label_count, widths[TEXTS] = {labels, labels};
    const struct weights_golden golden = {
        .count = TEXTS, .texts = texts, .widths = widths, .values = logits};
    ck_assert_msg(weights_write(weights, file, WEIGHTS_F32, &golden, NULL, NULL, &error) ==
                      DISTIL_OK,
                  "%s", error.message);
    weights_free(weights);
}

static distil_status run(const char *path, const char *precision, const char *cpu, int threads,
                         distil_error *error)
{
    const distil_options options = {.precision = precision, .cpu = cpu};
    distil_model *model;
    distil_session *session;
    ck_assert_msg(distil_model_open(path, &options, &model, error) == DISTIL_OK, "%s",
                  error->message);
    ck_assert_int_eq(distil_session_create(model, threads, &session, error), DISTIL_OK);
    distil_status status = distil_self_test(session, error);
    distil_session_free(session);
    distil_model_free(model);
    return status;
}

/* Every level and precision of this machine, with golden texts and without. */
START_TEST(passes_at_every_level)
{
    static const char *const precisions[] = {"fp32", "bf16", "int8"};
    float logits[TEXTS * MOST_LABELS];
    distil_error error = {.message = ""};
    int tested = 0;
    compute(checkpoint(names[_i]), "fp32", "scalar", logits);
    convert(names[_i], logits);
    for (int level = 0; level < KERN_LEVELS; level++) {
        const char *cpu = kern_level_name((enum kern_level)level);
        if (!kern_level_available((enum kern_level)level))
            continue;
        for (int p = 0; p < 3; p++) {
            for (int threads = 1; threads <= 2; threads++) {
                ck_assert_msg(run(file, precisions[p], cpu, threads, &error) == DISTIL_OK, "%s",
                              error.message);
                ck_assert_msg(run(checkpoint(names[_i]), precisions[p], cpu, threads, &error) ==
                                  DISTIL_OK,
                              "%s", error.message);
                tested++;
            }
        }
    }
    ck_assert_int_ge(tested, 6);
}
END_TEST

START_TEST(names_what_differs)
{
    float logits[TEXTS * MOST_LABELS];
    distil_error error;
    compute(checkpoint("distilbert-single"), "fp32", "scalar", logits);
    for (int p = 0; p < 2; p++) {
        logits[4] += 5; /* of the second text */
        convert("distilbert-single", logits);
        ck_assert_int_eq(run(file, p ? "int8" : "fp32", NULL, 1, &error), DISTIL_SELF_TEST);
        ck_assert_msg(strstr(error.message, "self-test: \"no\", value 1: expected ") != NULL, "%s",
                      error.message);
    }
    logits[4] -= 10;
    logits[4] += 0.05F; /* fp32 is held to much less, int8 is not */
    convert("distilbert-single", logits);
    ck_assert_int_eq(run(file, "fp32", NULL, 1, &error), DISTIL_SELF_TEST);
    ck_assert_int_eq(run(file, "int8", NULL, 1, &error), DISTIL_OK);
}
END_TEST

/* ---- embeddings and spans ---- */

static const char *const others[] = {"bert-mean", "distilbert-cls", "bert-spans",
                                     "distilbert-spans"};
enum { OTHERS = sizeof others / sizeof *others, MOST_VALUES = 512 };

/* The golden values of both texts, and how many each has. */
static void compute_others(const char *path, int widths[TEXTS], float values[MOST_VALUES])
{
    const distil_options options = {.precision = "fp32", .cpu = "scalar"};
    distil_tokens *tokens[TEXTS] = {NULL};
    const distil_tokens *const *all = (const distil_tokens *const *)tokens;
    distil_model *model;
    distil_session *session;
    ck_assert_int_eq(distil_model_open(path, &options, &model, NULL), DISTIL_OK);
    ck_assert_int_eq(distil_session_create(model, 1, &session, NULL), DISTIL_OK);
    const int spans = distil_model_info(model)->task == DISTIL_TASK_ANSWER;
    for (int i = 0; i < TEXTS; i++) {
        ck_assert_int_eq(distil_encode(model, texts[i], strlen(texts[i]), NULL, 0,
                                       DISTIL_TRUNCATE_RIGHT, &tokens[i], NULL),
                         DISTIL_OK);
        widths[i] = spans ? 2 * distil_tokens_count(tokens[i]) : distil_model_info(model)->hidden;
    }
    ck_assert_int_le(widths[0] + widths[1], MOST_VALUES);
    ck_assert_int_eq(spans ? distil_spans(session, all, TEXTS, values, NULL)
                           : distil_embed(session, all, TEXTS, values, NULL),
                     DISTIL_OK);
    for (int i = 0; i < TEXTS; i++)
        distil_tokens_free(tokens[i]);
    distil_session_free(session);
    distil_model_free(model);
}

static distil_status run_other(const char *path, const int *widths, const float *values,
                               const distil_options *options, distil_error *error)
{
    const struct weights_golden golden = {
        .count = TEXTS, .texts = texts, .widths = widths, .values = values};
    struct weights_model *weights;
    distil_model *model;
    distil_session *session;
    ck_assert_int_eq(weights_open(&weights, path, error), DISTIL_OK);
    ck_assert_int_eq(weights_write(weights, file, WEIGHTS_F32, &golden, NULL, NULL, error),
                     DISTIL_OK);
    weights_free(weights);
    ck_assert_msg(distil_model_open(file, options, &model, error) == DISTIL_OK, "%s",
                  error->message);
    ck_assert_int_eq(distil_session_create(model, 2, &session, error), DISTIL_OK);
    distil_status status = distil_self_test(session, error);
    distil_session_free(session);
    distil_model_free(model);
    return status;
}

START_TEST(other_tasks_are_tested_too)
{
    static const char *const precisions[] = {"fp32", "bf16", "int8"};
    char path[1024];
    int widths[TEXTS];
    float values[MOST_VALUES];
    distil_error error = {.message = ""};
    snprintf(path, sizeof path, "%s/tests/golden/tiny-outputs/%s", getenv("DISTILD_SOURCE_DIR"),
             others[_i]);
    compute_others(path, widths, values);
    for (int p = 0; p < 3; p++) {
        /* whatever is asked of it, a model is tested as its file says */
        const distil_options options = {
            .precision = precisions[p], .pooling = "max", .normalize = p - 1};
        ck_assert_msg(run_other(path, widths, values, &options, &error) == DISTIL_OK, "%s",
                      error.message);
    }
    values[widths[0] + 1] += 3; /* of the second text */
    ck_assert_int_eq(run_other(path, widths, values, NULL, &error), DISTIL_SELF_TEST);
    ck_assert_msg(strstr(error.message, "self-test: \"no\"") != NULL, "%s", error.message);
}
END_TEST

START_TEST(spans_of_other_tokens_are_no_use)
{
    char path[1024];
    int widths[TEXTS];
    float values[MOST_VALUES] = {0};
    distil_error error;
    snprintf(path, sizeof path, "%s/tests/golden/tiny-outputs/bert-spans",
             getenv("DISTILD_SOURCE_DIR"));
    compute_others(path, widths, values);
    widths[1] += 2;
    ck_assert_int_eq(run_other(path, widths, values, NULL, &error), DISTIL_SELF_TEST);
    ck_assert_msg(strstr(error.message, "its tokens are others") != NULL, "%s", error.message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("self-test");
    TCase *cases = tcase_create("self-test");
    int fd = mkstemp(file);
    if (fd < 0)
        return EXIT_FAILURE;
    close(fd);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, passes_at_every_level, 0, NAMES);
    tcase_add_test(cases, names_what_differs);
    tcase_add_loop_test(cases, other_tasks_are_tested_too, 0, OTHERS);
    tcase_add_test(cases, spans_of_other_tokens_are_no_use);
    suite_add_tcase(suite, cases);
    const int status = run_suite(suite);
    unlink(file);
    return status;
}

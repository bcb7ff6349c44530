/* An encoder that is given a head: what its file then holds, and what is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "directories.h"
#include "fixture.h"
#include "tests/suite.h"
#include "weights/head.h"

static const char *const names[] = {"no", "perhaps", "y\xc3\xa9s"};
static const float weight[LABELS * HIDDEN] = {0.1F, -0.2F, 0.3F, 1e-6F, 5.5F, 0, 0, 0.7F, -1};
static const float bias[LABELS] = {0.25F, -3, 1e-5F};
static const struct weights_new_head head = {.labels = LABELS,
                                             .names = names,
                                             .weight = weight,
                                             .bias = bias,
                                             .pooling = WEIGHTS_POOLING_MAX,
                                             .normalize = true};

static void write_with_head(enum weights_dtype dtype)
{
    distil_error error = {.message = ""};
    fixture_bert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    ck_assert_msg(weights_set_head(model, &head, &error) == DISTIL_OK, "%s", error.message);
    fixture_convert(output, "x", model, dtype);
    weights_free(model);
}

/* Check's loop variable is the type. */
START_TEST(comes_back_as_it_was)
{
    static const enum weights_dtype dtypes[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    write_with_head(dtypes[_i]);
    struct weights_model *model = fixture_open(fixture_path(output, "x"));
    const struct weights_config *config = &model->config;
    distil_error error = {.message = ""};
    ck_assert_int_eq(config->task, WEIGHTS_TASK_SEQUENCE_CLASSIFICATION);
    ck_assert_int_eq(config->problem, WEIGHTS_SINGLE_LABEL);
    ck_assert_int_eq(config->head_input, WEIGHTS_HEAD_EMBEDDING);
    ck_assert_int_eq(config->pooling, WEIGHTS_POOLING_MAX);
    ck_assert(config->normalize);
    ck_assert_int_eq(config->label_count, LABELS);
    for (int i = 0; i < LABELS; i++)
        ck_assert_str_eq(config->labels[i], names[i]);
    ck_assert_ptr_null(model->head_dense.weight.data);
    ck_assert_int_eq(model->head.weight.dtype, WEIGHTS_F32);
    ck_assert_mem_eq(model->head.weight.data, weight, sizeof weight);
    ck_assert_mem_eq(model->head.bias.data, bias, sizeof bias);
    ck_assert_int_eq(model->layers[0].up.weight.dtype, dtypes[_i]);
    ck_assert_msg(weights_verify(model, &error) == DISTIL_OK, "%s", error.message);
    /* Once more, from the file. */
    fixture_convert(output, "y", model, dtypes[_i]);
    weights_free(model);
    size_t size, again;
    unsigned char *first = fixture_read(fixture_path(output, "x"), &size);
    unsigned char *second = fixture_read(fixture_path(output, "y"), &again);
    ck_assert_uint_eq(size, again);
    ck_assert_mem_eq(first, second, size);
    free(first);
    free(second);
}
END_TEST

START_TEST(replaces_no_head)
{
    distil_error error = {.message = ""};
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    ck_assert_int_eq(weights_set_head(model, &head, &error), DISTIL_TASK);
    ck_assert_ptr_nonnull(strstr(error.message, "expected an encoder, found a model with a head"));
    weights_free(model);
}
END_TEST

/* Edits that keep the length of the header, and what the message must say. */
static const struct {
    const char *from, *to;
    distil_status status;
    const char *message;
} edits[] = {
    {"head_input\\\":\\\"embedding", "head_input\\\":\\\"embeddinG", DISTIL_UNSUPPORTED,
     "head_input"},
    {"head_input\\\":\\\"embedding", "head_inpu_\\\":\\\"embedding", DISTIL_FORMAT,
     "tensor head.dense.weight is missing"},
    {"\\\"task\\\":\\\"sequence-classification\\\"", "\\\"task\\\":\\\"question-answering\\\"     ",
     DISTIL_FORMAT,
     "head_input: embedding goes with sequence-classification, found question-answering"},
    {"pooling\\\":\\\"max", "pooling\\\":\\\"min", DISTIL_UNSUPPORTED, "pooling"},
    {"normalize\\\":true", "normalize\\\":7   ", DISTIL_FORMAT, "normalize"},
    {"format_version\":\"2\"", "format_version\":\"3\"", DISTIL_UNSUPPORTED,
     "needs a newer distild"},
};

START_TEST(refuses_edits)
{
    ck_assert_uint_eq(strlen(edits[_i].from), strlen(edits[_i].to));
    write_with_head(WEIGHTS_F32);
    fixture_patch(output, "x", "y", edits[_i].from, edits[_i].to);
    fixture_refused(fixture_path(output, "y"), edits[_i].status, 1, edits[_i].message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("head");
    TCase *test_case = tcase_create("head");
    tcase_add_checked_fixture(test_case, directories_make, directories_remove);
    tcase_add_loop_test(test_case, comes_back_as_it_was, 0, 3);
    tcase_add_test(test_case, replaces_no_head);
    tcase_add_loop_test(test_case, refuses_edits, 0, sizeof edits / sizeof *edits);
    suite_add_tcase(suite, test_case);
    return run_suite(suite);
}

/* Questions answered by the bundled model in fp32, against what the question-answering pipeline of
 * transformers answered with the same weights (tests/golden/answers.json, made by make_answers.py). */
#include <check.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distil_answer.h"
#include "tests/suite.h"

enum { MOST = 20 };
#ifndef MOST_BYTES
#define MOST_BYTES 100000 /* of a context; sanitizers make long ones slow */
#endif

static char path[1024]; /* of the model */

static cJSON *read_cases(const char *source)
{
    char name[1024];
    long size;
    snprintf(name, sizeof name, "%s/tests/golden/answers.json", source);
    FILE *file = fopen(name, "rb");
    ck_assert_msg(file != NULL, "%s", name);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    char *text = calloc((size_t)size + 1, 1);
    ck_assert_uint_eq(fread(text, 1, (size_t)size, file), (size_t)size);
    fclose(file);
    cJSON *root = cJSON_Parse(text);
    ck_assert_ptr_nonnull(root);
    free(text);
    return root;
}

static double number(const cJSON *object, const char *name, double fallback)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(value) ? value->valuedouble : cJSON_IsTrue(value) ? 1 : fallback;
}

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name)->valuestring;
}

static void check_answer(const char *question, int rank, const distil_answer *found,
                         const cJSON *expected)
{
    const char *text = text_of(expected, "answer");
    double score = number(expected, "score", -1);
    ck_assert_msg(found->length == strlen(text) && memcmp(found->text, text, found->length) == 0,
                  "%s answer %d: expected %s (%.6f), found %.*s (%.6f)", question, rank, text,
                  score, (int)found->length, found->text, (double)found->score);
    ck_assert_msg(fabs((double)found->score - score) <= 1e-4,
                  "%s answer %d: expected the score %.6f, found %.6f", question, rank, score,
                  (double)found->score);
    ck_assert_int_eq(found->start, (int)number(expected, "start", -1));
    ck_assert_int_eq(found->end, (int)number(expected, "end", -1));
}

static void check_case(distil_session *session, const cJSON *test)
{
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(test, "parameters");
    const cJSON *expected = cJSON_GetObjectItemCaseSensitive(test, "answers");
    const char *question = text_of(test, "question"), *context = text_of(test, "context");
    const distil_answer_options options = {
        .max_seq_len = (int)number(parameters, "max_seq_len", 0),
        .doc_stride = (int)number(parameters, "doc_stride", -1),
        .max_answer_len = (int)number(parameters, "max_answer_len", 0),
        .handle_impossible_answer = (int)number(parameters, "handle_impossible_answer", 0)};
    distil_answer answers[MOST];
    distil_error error;
    int count = (int)number(parameters, "top_k", 1);
    ck_assert_int_le(count, MOST);
    distil_status status = distil_answers(session, question, strlen(question), context,
                                          strlen(context), &options, answers, &count, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_int_eq(count, cJSON_GetArraySize(expected));
    for (int i = 0; i < count; i++)
        check_answer(question, i, &answers[i], cJSON_GetArrayItem(expected, i));
}

START_TEST(answers_are_those_of_the_pipeline)
{
    distil_model *model;
    distil_session *session;
    distil_error error;
    const distil_options options = {.precision = "fp32"};
    ck_assert_msg(distil_model_open(path, &options, &model, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_int_eq(distil_session_create(model, 0, &session, &error), DISTIL_OK);
    cJSON *root = read_cases(getenv("DISTILD_SOURCE_DIR"));
    const cJSON *cases = cJSON_GetObjectItemCaseSensitive(root, "cases"), *test;
    ck_assert_int_ge(cJSON_GetArraySize(cases), 20);
    cJSON_ArrayForEach(test, cases)
    {
        if (strlen(text_of(test, "context")) < MOST_BYTES)
            check_case(session, test);
    }
    cJSON_Delete(root);
    distil_session_free(session);
    distil_model_free(model);
}
END_TEST

int main(void)
{
    snprintf(path, sizeof path, "%s/weights/qa-minilm.distild", getenv("DISTILD_SOURCE_DIR"));
    const TTest *const tests[] = {answers_are_those_of_the_pipeline};
    return run_tests("answers_golden", 100, tests, sizeof(tests) / sizeof(*tests));
}

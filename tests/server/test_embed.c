/* test_embed.c: POST /embed, and what other routes make of models that embed or answer, over sockets. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/server_fixture.h"
#include "tests/suite.h"

/* The fake engine's embedding of a text of ids is their sum modulo 7, counting up: 7 is (0, 1, 2). */
#define UNIT "0.4472136,0.8944272" /* (1, 2) and (0, 1, 2) without their zeros */

START_TEST(forms_of_inputs)
{
    static const struct {
        const char *body, *answer;
    } cases[] = {
        {"{\"inputs\":[7]}", "[[0," UNIT "]]"},
        {"{\"inputs\":[[7],[3,4]]}", "[[0," UNIT "],[0," UNIT "]]"},
        {"{\"inputs\":[7],\"normalize\":false}", "[[0,1,2]]"},
        {"{\"inputs\":[8],\"normalize\":false,\"dimensions\":2}", "[[1,2]]"},
        {"{\"inputs\":[8],\"dimensions\":2}", "[[" UNIT "]]"},
        {"{\"inputs\":[8],\"dimensions\":null,\"normalize\":null,\"truncate\":null,"
         "\"prompt_name\":null,\"pooling\":\"mean\",\"model\":null,\"unheard_of\":[1]}",
         "[[0.26726124,0.5345225,0.8017837]]"},
        {"{\"inputs\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,9],\"truncate\":true,\"normalize\":false}",
         "[[2,3,4]]"}, /* 16 ones */
        {"{\"inputs\":[9,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"truncate\":true,\"normalize\":false,"
         "\"truncation_direction\":\"left\"}",
         "[[2,3,4]]"},
    };
    struct fixture f;
    struct reply reply;
    size_t i;
    start(&f,
          "fake:headless:unit"); /* what the model says of normalising is the request's to say */
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        request(f.port, "POST", "/embed", cases[i].body, &reply);
        ck_assert_msg(reply.status == 200 && strcmp(reply.body, cases[i].answer) == 0, "%s: %d %s",
                      cases[i].body, reply.status, reply.body);
    }
    request(f.port, "POST", "/embed", "{\"inputs\":\"a text\"}", &reply);
    expect_reply(&reply, 200, "[[");
    request(f.port, "POST", "/embed", "{\"inputs\":[\"a text\",[7],\"b\"]}", &reply);
    expect_reply(&reply, 200, "],[0," UNIT "],[");
    stop(&f);
}
END_TEST

START_TEST(bad_requests)
{
    static const struct {
        const char *body;
        int status;
        const char *message;
    } cases[] = {
        {"", 400, "the body is empty"},
        {"[1]", 400, "the body must be a JSON object, not an array"},
        {"{}", 422,
         "`inputs` must be a string, an array of token ids, or an array of these, not nothing"},
        {"{\"inputs\":7}", 422, "not a number"},
        {"{\"inputs\":\"\"}", 400, "\"error_type\":\"Empty\""},
        {"{\"inputs\":[]}", 400, "`inputs` cannot be empty"},
        {"{\"inputs\":[\"a\",\"\"]}", 400, "`inputs[1]` cannot be empty"},
        {"{\"inputs\":[\"a\",[]]}", 400, "`inputs[1]` cannot be empty"},
        {"{\"inputs\":[\"a\",7]}", 422,
         "`inputs[1]` must be a string or an array of token ids, not a number"},
        {"{\"inputs\":[7,\"a\"]}", 422, "token 1 must be an id of the vocabulary"},
        {"{\"inputs\":[7.5]}", 422, "a whole number from 0 to 999"},
        {"{\"inputs\":[-1]}", 422, "a whole number from 0 to 999"},
        {"{\"inputs\":[1000]}", 422, "a whole number from 0 to 999"},
        {"{\"inputs\":[1e300]}", 422, "a whole number from 0 to 999"},
        {"{\"inputs\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,9]}", 422,
         "`inputs[0]` must have at most 16 tokens. Given: 17"},
        {"{\"inputs\":[\"x\",\"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\"]}", 422,
         "`inputs[1]` must have at most 16 tokens. Given: 20"},
        {"{\"inputs\":\"x\",\"normalize\":1}", 422, "`normalize` must be a boolean, not a number"},
        {"{\"inputs\":\"x\",\"truncate\":\"yes\"}", 422, "`truncate` must be a boolean"},
        {"{\"inputs\":\"x\",\"truncation_direction\":\"Up\"}", 422, "must be \\\"Left\\\" or"},
        {"{\"inputs\":\"x\",\"dimensions\":0}", 422,
         "`dimensions` must be a whole number from 1 to 3"},
        {"{\"inputs\":\"x\",\"dimensions\":4}", 422, "\"field\":\"dimensions\""},
        {"{\"inputs\":\"x\",\"dimensions\":1.5}", 422, "`dimensions` must be a whole number"},
        {"{\"inputs\":\"x\",\"dimensions\":\"2\"}", 422, "`dimensions` must be a whole number"},
        {"{\"inputs\":\"x\",\"prompt_name\":\"query\"}", 422, "the model has no prompts"},
        {"{\"inputs\":\"x\",\"pooling\":\"cls\"}", 422,
         "`pooling` must be \\\"mean\\\", as the model default was made for, not \\\"cls\\\""},
        {"{\"inputs\":\"x\",\"pooling\":1}", 422, "`pooling` must be a string, not a number"},
        {"{\"inputs\":\"x\",\"model\":5}", 422, "`model` must be a string, not a number"},
        {"{\"inputs\":\"x\",\"model\":\"other\"}", 404, "there is no model named"},
    };
    struct fixture f;
    struct client client;
    struct reply reply;
    size_t i;
    start(&f, "fake:headless");
    ck_assert(client_open(&client, f.port));
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        client_request(&client, "POST", "/embed", cases[i].body, &reply);
        expect_reply(&reply, cases[i].status, cases[i].message);
    }
    client_request(&client, "GET", "/embed", NULL, &reply);
    expect_reply(&reply, 405, "MethodNotAllowed");
    client_close(&client);
    stop(&f);
}
END_TEST

START_TEST(limits_and_failures)
{
    struct fixture f;
    struct reply reply;
    prepare(&f, "fake:headless");
    f.options.max_client_batch = 2;
    launch(&f);
    request(f.port, "POST", "/embed", "{\"inputs\":[\"a\",\"b\"]}", &reply);
    ck_assert_int_eq(reply.status, 200);
    request(f.port, "POST", "/embed", "{\"inputs\":[\"a\",\"b\",\"c\"]}", &reply);
    expect_reply(&reply, 413, "batch size 3 > maximum allowed batch size 2");
    request(f.port, "POST", "/embed", "{\"inputs\":[1,2,3]}", &reply); /* one text of three ids */
    ck_assert_int_eq(reply.status, 200);
    stop(&f);
    start(&f, "fake:headless:fail");
    request(f.port, "POST", "/embed", "{\"inputs\":\"x\"}", &reply);
    expect_reply(&reply, 424, "the model failed");
    stop(&f);
    start(&f, "fake");
    request(f.port, "POST", "/embed", "{\"inputs\":\"x\"}", &reply);
    expect_reply(&reply, 404, "there is no model that can embed texts");
    request(f.port, "POST", "/embed", "{\"inputs\":\"x\",\"model\":\"default\"}", &reply);
    expect_reply(&reply, 424, "so it cannot embed texts");
    stop(&f);
}
END_TEST

/* Each route finds the first model of its task, whatever stands before it. */
START_TEST(models_of_several_tasks)
{
    struct server_model_options models[] = {{.name = "answers", .path = "fake:answers"},
                                            {.name = "raw", .path = "fake:headless"},
                                            {.name = "unit", .path = "fake:headless:unit"},
                                            {.name = "labels", .path = "fake"}};
    struct fixture f;
    struct reply reply;
    prepare(&f, "fake");
    f.options.models = models;
    f.options.model_count = 4;
    launch(&f);
    request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 200, "\"sentiment\":");
    request(f.port, "POST", "/embed", "{\"inputs\":[7],\"model\":\"unit\"}", &reply);
    expect_reply(&reply, 200, "[[0," UNIT "]]");
    request(f.port, "POST", "/predict", "{\"text\":\"x\",\"model\":\"answers\"}", &reply);
    expect_reply(&reply, 424, "the model has no classification head");
    request(f.port, "GET", "/models", NULL, &reply);
    expect_reply(&reply, 200,
                 "{\"name\":\"answers\",\"default\":true,\"task\":\"question-answering\","
                 "\"max_tokens\":16,");
    expect_reply(&reply, 200,
                 "{\"name\":\"raw\",\"default\":true,\"task\":\"embedding\",\"dimensions\":3,"
                 "\"pooling\":\"mean\",\"normalize\":false,");
    expect_reply(&reply, 200, "{\"name\":\"unit\",\"default\":false,");
    expect_reply(&reply, 200, "{\"name\":\"labels\",\"default\":true,");
    request(f.port, "GET", "/metrics", NULL, &reply);
    expect_reply(&reply, 200, "distild_predictions_total{model=\"labels\",label=\"POSITIVE\"}");
    ck_assert_ptr_null(strstr(reply.body, "distild_predictions_total{model=\"answers\""));
    expect_reply(&reply, 200, "distild_model_info{model=\"raw\"");
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        forms_of_inputs,
        bad_requests,
        limits_and_failures,
        models_of_several_tasks,
    };
    return run_tests("embed", 60, tests, sizeof(tests) / sizeof(*tests));
}

/* test_http.c: routes, and the forms of requests for predictions. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/server_fixture.h"
#include "tests/suite.h"

START_TEST(system_routes)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    char value[100];
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    client_request(&client, "GET", "/", NULL, &reply);
    expect_reply(&reply, 200, "\"name\":\"distild\"");
    expect_reply(&reply, 200, "{\"method\":\"POST\",\"path\":\"/predict\"}");
    client_request(&client, "GET", "/health", NULL, &reply);
    expect_reply(&reply, 200, "{\"status\":\"healthy\",\"model_loaded\":true,\"device\":\"cpu\"}");
    reply_header(&reply, "Content-Type", value, sizeof(value));
    ck_assert_str_eq(value, "application/json");
    client_request(&client, "HEAD", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    reply_header(&reply, "Content-Length", value, sizeof(value));
    ck_assert_str_eq(value, "55");
    /* the connection has been kept all the while, and the HEAD had no body */
    client_request(&client, "GET", "/health?verbose=1", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&client);
    stop(&f);
}
END_TEST

START_TEST(text_form)
{
    struct fixture f;
    struct reply reply;
    char expected[100];
    start(&f, "fake");
    expected_sentiment("caf\xC3\xA9 \"quoted\"", expected, sizeof(expected));
    request(f.port, "POST", "/predict", "{\"text\":\"caf\\u00e9 \\\"quoted\\\"\",\"more\":[1]}",
            &reply);
    expect_reply(&reply, 200, expected);
    expect_reply(&reply, 200, "\"text\":\"caf\xC3\xA9 \\\"quoted\\\"\"}");
    expect_reply(&reply, 200, "\"positive_score\":0.");
    expect_reply(&reply, 200, "\"negative_score\":0.");
    request(f.port, "POST", "/predict",
            "{\"text\":\"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\"}", &reply);
    expect_reply(&reply, 200, "\"truncated\":true}");
    stop(&f);
    start(&f, "fake:topics");
    request(f.port, "POST", "/predict", "{\"text\":\"sky\"}", &reply);
    expect_reply(&reply, 200, "{\"label\":\"");
    expect_reply(&reply, 200, "\"scores\":{\"red\":");
    ck_assert_ptr_null(strstr(reply.body, "labels"));
    stop(&f);
    start(&f, "fake:multi");
    request(f.port, "POST", "/predict", "{\"text\":\"sky\"}", &reply);
    expect_reply(&reply, 200, "\"labels\":[");
    stop(&f);
}
END_TEST

START_TEST(inputs_form)
{
    struct fixture f;
    struct reply reply;
    float first, second;
    const char *at;
    start(&f, "fake");
    request(f.port, "POST", "/predict", "{\"inputs\":\"one text\"}", &reply);
    expect_reply(&reply, 200, "[{\"score\":");
    first = strtof(reply.body + strlen("[{\"score\":"), NULL);
    at = strstr(reply.body, "},{\"score\":");
    ck_assert_ptr_nonnull(at);
    second = strtof(at + strlen("},{\"score\":"), NULL);
    ck_assert_float_ge(first, second);
    ck_assert_float_eq_tol(first + second, 1, 1e-6F);
    request(f.port, "POST", "/predict", "{\"inputs\":[\"a pair\",\"of texts\"],\"truncate\":null}",
            &reply);
    expect_reply(&reply, 200, "[{\"score\":");
    request(f.port, "POST", "/predict",
            "{\"inputs\":[[\"one\"],[\"a\",\"pair\"]],\"raw_scores\":true}", &reply);
    expect_reply(&reply, 200, "[[{\"score\":");
    expect_reply(&reply, 200, "}],[{");
    request(f.port, "POST", "/predict",
            "{\"inputs\":\"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\",\"truncate\":true,"
            "\"truncation_direction\":\"Left\"}",
            &reply);
    expect_reply(&reply, 200, "[{\"score\":");
    stop(&f);
}
END_TEST

START_TEST(wrong_requests_are_explained)
{
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *message;
    } cases[] = {
        {"GET", "/nothing", NULL, 404, "there is nothing at /nothing"},
        {"POST", "/predict/", "{}", 404, "NotFound"},
        {"GET", "/health%00x", NULL, 404, "NotFound"},
        {"GET", "/../health", NULL, 404, "NotFound"},
        {"GET", "/predict", NULL, 405, "/predict does not take GET, but POST"},
        {"DELETE", "/health", NULL, 405, "/health does not take DELETE, but GET, HEAD"},
        {"POST", "/predict", "", 400, "the body is empty"},
        {"POST", "/predict", "{\"text\":", 400, "at byte 8"},
        {"POST", "/predict", "[\"x\"]", 400, "must be a JSON object, not an array"},
        {"POST", "/predict", "{}", 400, "`text` is missing: a string is expected"},
        {"POST", "/predict", "{\"Text\":\"x\"}", 400, "`text` is missing"},
        {"POST", "/predict", "{\"text\":null}", 400, "`text` must be a string, not null"},
        {"POST", "/predict", "{\"text\":[\"x\"]}", 400,
         "not an array\",\"error_type\":"
         "\"Validation\",\"field\":\"text\"}"},
        {"POST", "/predict", "{\"text\":\"\"}", 400, "`text` is empty"},
        {"POST", "/predict", "{\"text\":\" \\n\\t \"}", 400,
         "`text` holds nothing that becomes a token"},
        {"POST", "/predict", "{\"text\":\"a\\u0000b\"}", 400, "\\\\u0000"},
        {"POST", "/predict", "{\"text\":\"\\uD800\"}", 400, "surrogate"},
        {"POST", "/predict", "{\"text\":\"\xFF\"}", 400, "malformed UTF-8"},
        {"POST", "/predict", "{\"text\":\"a\",\"text\":\"b\"}", 400, "twice"},
        {"POST", "/predict", "{\"inputs\":7}", 422, "not a number"},
        {"POST", "/predict", "{\"inputs\":null}", 422, "not null"},
        {"POST", "/predict", "{\"inputs\":[7]}", 422, "an array of one or two strings"},
        {"POST", "/predict", "{\"inputs\":[\"a\",\"b\",\"c\"]}", 422, "one or two strings"},
        {"POST", "/predict", "{\"inputs\":[[\"a\"],\"b\"]}", 422, "`inputs[1]` must be an array"},
        {"POST", "/predict", "{\"inputs\":[[\"a\"],[]]}", 422, "`inputs[1]`"},
        {"POST", "/predict", "{\"inputs\":[[\"a\"],[\"\"]]}", 400, "`inputs[1]` cannot be empty"},
        {"POST", "/predict", "{\"inputs\":[]}", 400, "\"error_type\":\"Empty\""},
        {"POST", "/predict", "{\"inputs\":\"\"}", 400, "\"error_type\":\"Empty\""},
        {"POST", "/predict", "{\"inputs\":\"a\",\"truncate\":1}", 422, "`truncate` must be a bool"},
        {"POST", "/predict", "{\"inputs\":\"a\",\"raw_scores\":\"no\"}", 422, "`raw_scores`"},
        {"POST", "/predict", "{\"inputs\":\"a\",\"truncation_direction\":\"Up\"}", 422,
         "\\\"Up\\\""},
        {"POST", "/predict", "{\"inputs\":\"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\"}", 422,
         "`inputs` must have at most 16 tokens. Given: 17"},
    };
    struct fixture f;
    struct client client;
    struct reply reply;
    char allow[40];
    size_t i;
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        client_request(&client, cases[i].method, cases[i].path, cases[i].body, &reply);
        expect_reply(&reply, cases[i].status, cases[i].message);
        expect_reply(&reply, cases[i].status, "{\"error\":\"");
        reply_header(&reply, "Allow", allow, sizeof(allow));
        ck_assert_int_eq(allow[0] != '\0', cases[i].status == 405);
    }
    /* after all of which the same connection answers a good one */
    client_request(&client, "POST", "/predict", "{\"text\":\"good\"}", &reply);
    expect_reply(&reply, 200, "sentiment");
    client_close(&client);
    stop(&f);
    start(&f, "fake:headless");
    request(f.port, "POST", "/predict", "{\"text\":\"x\",\"model\":\"default\"}", &reply);
    expect_reply(&reply, 424, "no classification head");
    request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 404,
                 "{\"error\":\"there is no model that can predict labels: GET /models lists those "
                 "there are\",\"error_type\":\"NotFound\"}");
    stop(&f);
    start(&f, "fake:fail");
    request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 500, "the model failed");
    request(f.port, "POST", "/predict", "{\"inputs\":\"x\"}", &reply);
    expect_reply(&reply, 424, "\"error_type\":\"Backend\"");
    stop(&f);
}
END_TEST

START_TEST(too_many_inputs)
{
    struct fixture f;
    struct reply reply;
    prepare(&f, "fake");
    f.options.max_client_batch = 2;
    launch(&f);
    request(f.port, "POST", "/predict", "{\"inputs\":[[\"a\"],[\"b\"],[\"c\"]]}", &reply);
    expect_reply(&reply, 413, "batch size 3 > maximum allowed batch size 2");
    request(f.port, "POST", "/predict", "{\"inputs\":[[\"a\"],[\"b\"]]}", &reply);
    expect_reply(&reply, 200, "[[");
    stop(&f);
}
END_TEST

START_TEST(a_body_cut_at_every_byte)
{
    const char *body = "{\"text\":\"caf\xC3\xA9 \\u00e9\",\"x\":[1.5,true]}";
    struct fixture f;
    struct client client;
    struct reply reply;
    size_t i;
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    for (i = 0; i <= strlen(body); i++) {
        char cut[100];
        snprintf(cut, sizeof(cut), "%.*s", (int)i, body);
        client_request(&client, "POST", "/predict", cut, &reply);
        ck_assert_int_eq(reply.status, i == strlen(body) ? 200 : 400);
    }
    client_close(&client);
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        system_routes,   text_form,
        inputs_form,     wrong_requests_are_explained,
        too_many_inputs, a_body_cut_at_every_byte,
    };
    return run_tests("http", 30, tests, sizeof(tests) / sizeof(*tests));
}

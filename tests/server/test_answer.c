/* test_answer.c: POST /answer over sockets, with a stand-in for the engine. What the answers are is tested in
 * tests/engine. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/server/server_fixture.h"
#include "tests/suite.h"

#define TEXTS "\"question\":\"who is it\",\"context\":\"caf\xC3\xA9 two three\""

START_TEST(both_forms_are_answered)
{
    static const struct {
        const char *body, *answer;
    } cases[] = {
        {"{" TEXTS "}", "{\"answer\":\"caf\xC3\xA9\",\"score\":0.5,\"start\":0,\"end\":2}"},
        {"{" TEXTS ",\"top_k\":2}",
         "[{\"answer\":\"caf\xC3\xA9\",\"score\":0.5,\"start\":0,\"end\":2},"
         "{\"answer\":\"two\",\"score\":0.33333334,\"start\":0,\"end\":2}]"},
        {"{" TEXTS ",\"top_k\":3,\"handle_impossible_answer\":true}",
         "},{\"answer\":\"\",\"score\":0.4,\"start\":0,\"end\":0},{\"answer\":\"two\""},
        {"{" TEXTS ",\"threshold\":0.6}", "{\"answer\":\"\",\"score\":0.4,\"start\":0,\"end\":0}"},
        {"{" TEXTS ",\"threshold\":0.6,\"top_k\":5}",
         "[{\"answer\":\"\",\"score\":0.4,\"start\":0,\"end\":0}]"},
        {"{" TEXTS ",\"max_answer_len\":7,\"doc_stride\":4,\"max_seq_len\":12}",
         "\"start\":7,\"end\":4}"},
        {"{" TEXTS ",\"top_k\":null,\"threshold\":null,\"doc_stride\":1.0,\"more\":[1]}",
         "\"start\":0,\"end\":1}"},
        {"{\"inputs\":{" TEXTS "}}",
         "{\"answer\":\"caf\xC3\xA9\",\"score\":0.5,\"start\":0,\"end\":2}"},
        {"{\"inputs\":{" TEXTS "},\"parameters\":null}", "{\"answer\":\"caf"},
        {"{\"inputs\":{" TEXTS "},\"parameters\":{\"top_k\":2,\"doc_stride\":3}}",
         "\"end\":3},{\"answer\":\"two\""},
        /* parameters count in their own place alone */
        {"{\"inputs\":{" TEXTS ",\"top_k\":2},\"top_k\":2}", "{\"answer\":\"caf"},
    };
    struct fixture f;
    struct reply reply;
    size_t i;
    start(&f, "fake:answers");
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        request(f.port, "POST", "/answer", cases[i].body, &reply);
        expect_reply(&reply, 200, cases[i].answer);
    }
    stop(&f);
}
END_TEST

START_TEST(wrong_requests_name_the_field)
{
    static const struct {
        const char *body;
        int status;
        const char *type, *field, *message;
    } cases[] = {
        {"", 400, "Validation", NULL, "the body is empty"},
        {"[]", 400, "Validation", NULL, "must be a JSON object, not an array"},
        {"{}", 400, "Validation", "question", "`question` is missing: a string is expected"},
        {"{\"question\":\"x\"}", 400, "Validation", "context", "`context` is missing"},
        {"{\"question\":1,\"context\":\"x\"}", 400, "Validation", "question",
         "must be a string, not a number"},
        {"{\"question\":\"x\",\"context\":[\"x\"]}", 400, "Validation", "context", "not an array"},
        {"{\"question\":\"\",\"context\":\"x\"}", 400, "Empty", "question", "`question` is empty"},
        {"{\"question\":\"x\",\"context\":\"\"}", 400, "Empty", "context", "`context` is empty"},
        {"{\"question\":\" \",\"context\":\"x\"}", 400, "Empty", "question", "becomes a token"},
        {"{\"question\":\"x\",\"context\":\"\\n\"}", 400, "Empty", "context", "becomes a token"},
        {"{" TEXTS ",\"top_k\":0}", 400, "Validation", "top_k",
         "a whole number from 1 to 100, not 0"},
        {"{" TEXTS ",\"top_k\":-1}", 400, "Validation", "top_k", "not -1"},
        {"{" TEXTS ",\"top_k\":1e9}", 400, "Validation", "top_k", "not 1000000000"},
        {"{" TEXTS ",\"top_k\":1.5}", 400, "Validation", "top_k", "not 1.5"},
        {"{" TEXTS ",\"top_k\":\"2\"}", 400, "Validation", "top_k", "not a string"},
        {"{" TEXTS ",\"max_answer_len\":0}", 400, "Validation", "max_answer_len", "from 1 to"},
        {"{" TEXTS ",\"max_answer_len\":true}", 400, "Validation", "max_answer_len",
         "not a boolean"},
        {"{" TEXTS ",\"max_seq_len\":17}", 400, "Validation", "max_seq_len",
         "from 4 to 16, not 17"},
        {"{" TEXTS ",\"max_seq_len\":3}", 400, "Validation", "max_seq_len", "not 3"},
        {"{" TEXTS ",\"max_seq_len\":10,\"doc_stride\":10}", 400, "Validation", "doc_stride",
         "from 0 to 9"},
        {"{" TEXTS ",\"doc_stride\":-1}", 400, "Validation", "doc_stride", "not -1"},
        {"{" TEXTS ",\"handle_impossible_answer\":1}", 400, "Validation",
         "handle_impossible_answer", "must be a boolean, not a number"},
        {"{" TEXTS ",\"threshold\":1.5}", 400, "Validation", "threshold", "from 0 to 1, not 1.5"},
        {"{" TEXTS ",\"threshold\":[]}", 400, "Validation", "threshold",
         "must be a number, not an array"},
        {"{" TEXTS ",\"model\":7}", 400, "Validation", "model", "`model` must be a string"},
        {"{" TEXTS ",\"model\":\"none\"}", 404, "NotFound", "model", "no model named"},
        {"{\"question\":\"1 2 3 4 5 6 7 8 9 10 11\",\"context\":\"x\"}", 400, "Validation",
         "question", "too many tokens"},
        {"{\"inputs\":\"x\"}", 422, "Validation", "inputs", "must be an object"},
        {"{\"inputs\":[]}", 422, "Validation", "inputs", "not an array"},
        {"{\"inputs\":null," TEXTS "}", 422, "Validation", "inputs", "not null"},
        {"{\"inputs\":{\"question\":\"x\"}}", 422, "Validation", "context",
         "`inputs.context` is missing"},
        {"{\"inputs\":{" TEXTS "},\"parameters\":[]}", 422, "Validation", "parameters",
         "must be an object"},
        {"{\"inputs\":{" TEXTS "},\"parameters\":{\"top_k\":-5}}", 422, "Validation", "top_k",
         "not -5"},
        {"{\"inputs\":{\"question\":\"\",\"context\":\"x\"}}", 400, "Empty", "question",
         "is empty"},
    };
    struct fixture f;
    struct reply reply;
    char part[100];
    size_t i;
    start(&f, "fake:answers");
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        request(f.port, "POST", "/answer", cases[i].body, &reply);
        expect_reply(&reply, cases[i].status, cases[i].message);
        snprintf(part, sizeof(part), "\"error_type\":\"%s\"", cases[i].type);
        expect_reply(&reply, cases[i].status, part);
        if (cases[i].field) {
            snprintf(part, sizeof(part), "\"field\":\"%s\"}", cases[i].field);
            expect_reply(&reply, cases[i].status, part);
        }
    }
    ck_assert_int_eq(fake_computed_texts(), 0);
    request(f.port, "POST", "/answer", "{" TEXTS "}", &reply);
    expect_reply(&reply, 200, "caf\xC3\xA9");
    stop(&f);
}
END_TEST

/* "who is it" leaves ten tokens of 16, of which two are the last of the window before: one window is 10
 * words, each further one 8. */
START_TEST(windows_are_computed_and_bounded)
{
    struct fixture f;
    struct reply reply;
    char body[2000] = "{\"question\":\"who is it\",\"context\":\"";
    int i;
    prepare(&f, "fake:answers");
    f.options.max_windows = 3;
    launch(&f);
    for (i = 0; i < 26; i++)
        strcat(body, "word ");
    strcat(body, "\"}");
    request(f.port, "POST", "/answer", body, &reply);
    expect_reply(&reply, 200, "{\"answer\":\"word\"");
    ck_assert_int_eq(fake_computed_texts(), 3);
    strcpy(body + strlen(body) - 2, "more\"}");
    request(f.port, "POST", "/answer", body, &reply);
    expect_reply(&reply, 413,
                 "`context` has 27 tokens, which makes 4 windows: at most 3 are allowed");
    expect_reply(&reply, 413, "\"field\":\"context\"");
    ck_assert_int_eq(fake_computed_texts(), 3);
    stop(&f);
}
END_TEST

START_TEST(models_that_cannot_answer_say_so)
{
    struct fixture f;
    struct reply reply;
    start(&f, "fake");
    request(f.port, "POST", "/answer", "{" TEXTS "}", &reply);
    ck_assert_int_eq(reply.status, 404);
    stop(&f);
    start(&f, "fake:answers:fail");
    request(f.port, "POST", "/answer", "{" TEXTS "}", &reply);
    expect_reply(&reply, 500, "the model failed");
    request(f.port, "POST", "/answer", "{\"inputs\":{" TEXTS "}}", &reply);
    expect_reply(&reply, 424, "the model failed");
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        both_forms_are_answered,
        wrong_requests_name_the_field,
        windows_are_computed_and_bounded,
        models_that_cannot_answer_say_so,
    };
    return run_tests("answer", 60, tests, sizeof(tests) / sizeof(*tests));
}

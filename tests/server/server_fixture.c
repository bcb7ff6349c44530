/* server_fixture.c: see server_fixture.h. */
#include "tests/server/server_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/internal.h"
#include "tests/suite.h"

void prepare(struct fixture *f, const char *model)
{
    f->server = NULL;
    f->model = (struct server_model_options){.path = model};
    f->options = server_options_default();
    f->options.port = 0;
    f->options.models = &f->model;
    f->options.model_count = 1;
    f->options.http_threads = 2;
    f->options.threads = 1; /* a batch at a time, unless a test wants more */
    f->options.log.level = SERVER_LOG_DEBUG;
    f->options.log.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

void begin(struct fixture *f)
{
    distil_error error;
    ck_assert_msg(server_start(&f->options, &f->server, &error) == DISTIL_OK, "%s", error.message);
    f->port = server_port(f->server);
}

void load(struct fixture *f)
{
    distil_error error;
    ck_assert_msg(server_load(f->server, &error) == DISTIL_OK, "%s", error.message);
}

void launch(struct fixture *f)
{
    begin(f);
    load(f);
}

void start(struct fixture *f, const char *model)
{
    prepare(f, model);
    launch(f);
}

void stop(struct fixture *f)
{
    server_free(f->server);
    close(f->options.log.fd);
}

void say_model(const char *path, const char *model)
{
    char temporary[80];
    FILE *file;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    file = fopen(temporary, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s\n", model);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(rename(temporary, path), 0);
}

double closed(int port, const char *reason)
{
    struct reply reply;
    char name[100];
    const char *at;
    snprintf(name, sizeof(name), "\ndistild_connections_closed_total{reason=\"%s\"} ", reason);
    request(port, "GET", "/metrics", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    at = strstr(reply.body, name);
    ck_assert_msg(at != NULL, "there is no %s", name);
    return strtod(at + strlen(name), NULL);
}

double seconds_since(int64_t began)
{
    return (double)(server_now() - began) / 1e9;
}

void wait_for_suspended(const struct fixture *f, int count)
{
    wait_until(atomic_load(&f->server->suspended) == count);
}

void wait_for_in_flight(const struct fixture *f, int count)
{
    wait_until(server_in_flight(f->server) == count);
}

void expect_reply(const struct reply *reply, int status, const char *part)
{
    ck_assert_msg(reply->status == status, "status %d, not %d: %s", reply->status, status,
                  reply->body);
    ck_assert_msg(strstr(reply->body, part) != NULL, "\"%s\" lacks \"%s\"", reply->body, part);
}

void expected_sentiment(const char *text, char *answer, size_t size)
{
    distil_model *model;
    distil_tokens *tokens = NULL;
    distil_session *session;
    float logits[2];
    ck_assert_int_eq(distil_model_open("fake", NULL, &model, NULL), DISTIL_OK);
    ck_assert_int_eq(distil_session_create(model, 1, &session, NULL), DISTIL_OK);
    ck_assert_int_eq(
        distil_encode(model, text, strlen(text), NULL, 0, DISTIL_TRUNCATE_RIGHT, &tokens, NULL),
        DISTIL_OK);
    ck_assert_int_eq(distil_logits(session, (const distil_tokens *const *)&tokens, 1, logits, NULL),
                     DISTIL_OK);
    distil_scores(model, logits, logits);
    snprintf(answer, size, "{\"sentiment\":\"%s\",",
             logits[1] > logits[0] ? "POSITIVE" : "NEGATIVE");
    distil_tokens_free(tokens);
    distil_session_free(session);
    distil_model_free(model);
}

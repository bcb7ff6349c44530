/* test_reload.c: several models, and models that are replaced while clients ask. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/server/server_fixture.h"
#include "tests/suite.h"

enum { LOG_SIZE = 16384 };

/* A server whose model is what a file says, and whose log is read. */
struct swapping {
    struct fixture f;
    char path[64], model[80];
    int log; /* to read from */
    char text[LOG_SIZE];
};

static void set_up(struct swapping *s, const char *model, int threads)
{
    int ends[2], fd;
    memset(s, 0, sizeof(*s));
    snprintf(s->path, sizeof(s->path), "/tmp/distild-reload-XXXXXX");
    fd = mkstemp(s->path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    say_model(s->path, model);
    snprintf(s->model, sizeof(s->model), "fake:file=%s", s->path);
    prepare(&s->f, s->model);
    close(s->f.options.log.fd);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    s->log = ends[0];
    s->f.options.log.fd = ends[1];
    s->f.options.log.level = SERVER_LOG_INFO;
    s->f.options.threads = threads;
    launch(&s->f);
}

static void tear_down(struct swapping *s)
{
    stop(&s->f);
    close(s->log);
    unlink(s->path);
    ck_assert_int_eq(fake_open_models(), 0);
}

/* Whether the log says something by now, counted from the last time that it was asked. */
static bool log_says(struct swapping *s, const char *part)
{
    size_t length = strlen(s->text);
    ssize_t more;
    char *found;
    while (length < LOG_SIZE - 1 &&
           (more = read(s->log, s->text + length, LOG_SIZE - 1 - length)) > 0) {
        length += (size_t)more;
        s->text[length] = '\0';
    }
    found = strstr(s->text, part);
    if (found)
        s->text[0] = '\0';
    return found != NULL;
}

static void wait_for_log(struct swapping *s, const char *part)
{
    long tries;
    for (tries = patience_ms() / 2; tries > 0 && !log_says(s, part); tries--)
        pause_ms(2);
    ck_assert_msg(tries > 0, "the log lacks \"%s\": %s", part, s->text);
}

static void reload(struct swapping *s, const char *model, const char *outcome)
{
    if (model)
        say_model(s->path, model);
    server_reload(s->f.server);
    wait_for_log(s, outcome);
}

/* The whole answer of a model to a text. */
static void answer_of(int port, const char *text, struct reply *reply)
{
    char body[200];
    snprintf(body, sizeof(body), "{\"text\":\"%s\"}", text);
    request(port, "POST", "/predict", body, reply);
    ck_assert_int_eq(reply->status, 200);
}

START_TEST(a_reload_takes_the_new_file)
{
    struct swapping s;
    struct reply before, after, models;
    set_up(&s, "fake:salt=1", 1);
    answer_of(s.f.port, "x", &before);
    reload(&s, "fake:salt=2", "model default was replaced by fake:salt=2, digest 2 in");
    answer_of(s.f.port, "x", &after);
    ck_assert_str_ne(before.body, after.body);
    request(s.f.port, "GET", "/models", NULL, &models);
    expect_reply(&models, 200, "\"digest\":\"2\"");
    ck_assert_int_eq(fake_open_models(), 1);
    reload(&s, "fake:salt=1", "was replaced");
    answer_of(s.f.port, "x", &after);
    ck_assert_str_eq(before.body, after.body);
    tear_down(&s);
}
END_TEST

START_TEST(what_cannot_be_loaded_changes_nothing)
{
    struct swapping s;
    struct reply before, after;
    set_up(&s, "fake:salt=1", 1);
    answer_of(s.f.port, "x", &before);
    reload(&s, "fake:broken",
           "error model default was not replaced and goes on as it was: "
           "fake:broken: no such model");
    reload(&s, "fake:salt=3:corrupt",
           "was not replaced and goes on as it was: "
           "fake:salt=3:corrupt: the digest differs");
    reload(&s, "fake:salt=3:wrong",
           "was not replaced and goes on as it was: "
           "fake:salt=3:wrong: self-test: other logits");
    reload(&s, "fake:salt=3:headless",
           "fake:salt=3:headless: the model is for embedding, and cannot replace one for "
           "sequence-classification");
    unlink(s.path);
    reload(&s, NULL, "was not replaced");
    reload(&s, "fake:salt=1", "model default is unchanged");
    answer_of(s.f.port, "x", &after);
    ck_assert_str_eq(before.body, after.body);
    ck_assert_int_eq(fake_open_models(), 1);
    tear_down(&s);
}
END_TEST

/* A digest is what a file states: neither another file nor a damaged one is taken for the one that is served. */
START_TEST(a_stated_digest_is_not_believed)
{
    struct swapping s;
    struct reply before, after, models;
    set_up(&s, "fake:salt=1:corrupt", 1); /* unread at a start that does not verify */
    answer_of(s.f.port, "x", &before);
    reload(&s, NULL,
           "model default was not replaced and goes on as it was: "
           "fake:salt=1:corrupt: the digest differs");
    answer_of(s.f.port, "x", &after);
    ck_assert_str_eq(before.body, after.body);
    reload(&s, "fake:salt=1", "model default was replaced by fake:salt=1, digest 1 in");
    reload(&s, NULL, "model default is unchanged");
    reload(&s, "fake:salt=1:multi", "was replaced");
    request(s.f.port, "GET", "/models", NULL, &models);
    expect_reply(&models, 200, "\"problem\":\"multi-label\"");
    tear_down(&s);
}
END_TEST

START_TEST(a_start_can_verify)
{
    struct fixture f;
    distil_error error;
    prepare(&f, "fake:salt=1:corrupt:wrong");
    f.options.verify = true;
    begin(&f);
    ck_assert_int_eq(server_load(f.server, &error), DISTIL_FORMAT);
    ck_assert_str_eq(error.message, "fake:salt=1:corrupt:wrong: the digest differs");
    stop(&f);
    ck_assert_int_eq(fake_open_models(), 0);
    prepare(&f, "fake:salt=1");
    f.options.verify = true;
    launch(&f);
    stop(&f);
}
END_TEST

static bool says_digest(int port, const char *digest)
{
    struct reply reply;
    char part[40];
    snprintf(part, sizeof(part), "\"digest\":\"%s\"", digest);
    request(port, "GET", "/models", NULL, &reply);
    return strstr(reply.body, part) != NULL;
}

/* Requests that wait or are computed when the model is replaced are answered by the one before. */
START_TEST(requests_keep_the_model_they_began_with)
{
    struct swapping s;
    struct client clients[5];
    struct reply before[2], reply;
    char text[300];
    int i;
    set_up(&s, "fake:salt=1:gate", 1);
    answer_of(s.f.port, "first", &before[0]);
    answer_of(s.f.port, "second", &before[1]);
    fake_shut();
    for (i = 0; i < 5; i++) {
        const char *words = i % 2 ? "second" : "first";
        if (i ==
            4) { /* for the new model, while one is computed by the old one and three wait for it */
            wait_for_suspended(&s.f, 4);
            say_model(s.path, "fake:salt=2");
            server_reload(s.f.server);
            wait_until(says_digest(s.f.port, "2"));
            ck_assert_int_eq(fake_open_models(), 2);
        }
        snprintf(
            text, sizeof(text),
            "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n{\"text\":\"%s\"}",
            strlen(words) + 11, words);
        ck_assert(client_open(&clients[i], s.f.port));
        client_send_text(&clients[i], text);
    }
    wait_for_suspended(&s.f, 5);
    fake_open();
    for (i = 0; i < 5; i++) {
        client_read(&clients[i], false, &reply);
        client_close(&clients[i]);
        ck_assert_int_eq(reply.status, 200);
        ck_assert_int_eq(strcmp(reply.body, before[i % 2].body) == 0, i < 4);
    }
    wait_for_log(&s, "was replaced");
    ck_assert_int_eq(fake_open_models(), 1);
    tear_down(&s);
}
END_TEST

/* A client that does not read its answer does not hold up the end of the model that gave it. */
START_TEST(the_old_model_ends_without_its_slowest_reader)
{
    struct swapping s;
    struct client client;
    char text[200], *big;
    const size_t size = 1900000;
    set_up(&s, "fake:salt=1", 1);
    big = malloc(size + 1);
    ck_assert_ptr_nonnull(big);
    memset(big, 'a', size);
    big[size] = '\0';
    ck_assert(client_open(&client, s.f.port));
    snprintf(text, sizeof(text), "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             size + 11);
    client_send_text(&client, text);
    client_send_text(&client, "{\"text\":\"");
    client_send_text(&client, big);
    client_send_text(&client, "\"}");
    pause_ms(300); /* the answer has the text, and does not fit the socket */
    reload(&s, "fake:salt=2", "was replaced");
    ck_assert_int_eq(fake_open_models(), 1);
    client_close(&client);
    free(big);
    tear_down(&s);
}
END_TEST

/* ---- under load ---- */

enum { ASKERS = 8, VARIANTS = 2, SWAPS = 30, TEXTS = 6 };

struct crowd {
    int port;
    atomic_bool stop;
    atomic_int answered, wrong, failed;
    char expected[VARIANTS][TEXTS][400];
};

struct asker {
    pthread_t thread;
    struct crowd *crowd;
    int number;
};

static void *ask(void *argument)
{
    struct asker *asker = argument;
    struct crowd *crowd = asker->crowd;
    struct client client;
    struct reply reply;
    char body[100];
    int i;
    if (!client_open(&client, crowd->port)) {
        atomic_fetch_add(&crowd->failed, 1);
        return NULL;
    }
    for (i = asker->number; !atomic_load(&crowd->stop); i++) {
        int text = i % TEXTS;
        snprintf(body, sizeof(body), "{\"text\":\"text %d\"}", text);
        client_request(&client, "POST", "/predict", body, &reply);
        if (reply.status != 200)
            atomic_fetch_add(&crowd->failed, 1);
        else if (strcmp(reply.body, crowd->expected[0][text]) != 0 &&
                 strcmp(reply.body, crowd->expected[1][text]) != 0)
            atomic_fetch_add(&crowd->wrong, 1);
        else
            atomic_fetch_add(&crowd->answered, 1);
        if (reply.status == 0)
            break;
    }
    client_close(&client);
    return NULL;
}

START_TEST(no_request_is_lost_while_models_are_swapped)
{
    static const char *const variants[] = {"fake:salt=1", "fake:salt=2"};
    static struct crowd crowd;
    struct swapping s;
    struct asker askers[ASKERS];
    struct reply reply;
    char text[20];
    int i, k;
    set_up(&s, variants[0], 2);
    crowd.port = s.f.port;
    for (i = 0; i < VARIANTS; i++) {
        if (i > 0)
            reload(&s, variants[i], "was replaced");
        for (k = 0; k < TEXTS; k++) {
            snprintf(text, sizeof(text), "text %d", k);
            answer_of(s.f.port, text, &reply);
            ck_assert_uint_lt(reply.body_length, sizeof(crowd.expected[i][k]));
            memcpy(crowd.expected[i][k], reply.body, reply.body_length + 1);
        }
    }
    for (i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.crowd = &crowd, .number = i};
        ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (i = 0; i < SWAPS; i++) {
        reload(&s, variants[i % VARIANTS], "was replaced");
        if (i % 10 == 9)
            reload(&s, "fake:broken", "was not replaced");
        pause_ms(5);
    }
    atomic_store(&crowd.stop, true);
    for (i = 0; i < ASKERS; i++)
        pthread_join(askers[i].thread, NULL);
    ck_assert_int_eq(atomic_load(&crowd.failed), 0);
    ck_assert_int_eq(atomic_load(&crowd.wrong), 0);
    ck_assert_int_gt(atomic_load(&crowd.answered), SWAPS);
    answer_of(s.f.port, "text 0", &reply);
    ck_assert_str_eq(reply.body, crowd.expected[(SWAPS - 1) % VARIANTS][0]);
    tear_down(&s);
}
END_TEST

START_TEST(ending_while_a_reload_waits)
{
    struct swapping s;
    struct client client;
    struct reply reply;
    set_up(&s, "fake:salt=1:gate:slow=300", 1);
    fake_shut();
    ck_assert(client_open(&client, s.f.port));
    client_send_text(&client, "POST /predict HTTP/1.1\r\nHost: x\r\n"
                              "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
    wait_until(fake_at_gate() == 1);
    say_model(s.path, "fake:salt=2");
    server_reload(s.f.server);
    wait_until(says_digest(s.f.port, "2")); /* the old one waits for the request */
    fake_open();
    tear_down(&s);
    client_read(&client, false, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&client);
}
END_TEST

/* ---- several models ---- */

START_TEST(requests_choose_their_model)
{
    struct server_model_options models[] = {{.name = "first", .path = "fake"},
                                            {.name = "second", .path = "fake:topics"},
                                            {.name = "third", .path = "fake:headless"}};
    struct fixture f;
    struct reply reply;
    prepare(&f, "fake");
    f.options.models = models;
    f.options.model_count = 3;
    launch(&f);
    request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 200, "\"sentiment\":");
    request(f.port, "POST", "/predict", "{\"text\":\"x\",\"model\":\"first\"}", &reply);
    expect_reply(&reply, 200, "\"sentiment\":");
    request(f.port, "POST", "/predict", "{\"text\":\"x\",\"model\":null}", &reply);
    expect_reply(&reply, 200, "\"sentiment\":");
    request(f.port, "POST", "/predict", "{\"model\":\"second\",\"text\":\"x\"}", &reply);
    expect_reply(&reply, 200, "\"red\":");
    request(f.port, "POST", "/predict", "{\"model\":\"second\",\"inputs\":[[\"x\"],[\"y\"]]}",
            &reply);
    expect_reply(&reply, 200, "\"red\"");
    request(f.port, "POST", "/predict", "{\"model\":\"third\",\"text\":\"x\"}", &reply);
    expect_reply(&reply, 424, "no classification head");
    request(f.port, "POST", "/predict", "{\"model\":\"fourth\",\"text\":\"x\"}", &reply);
    expect_reply(&reply, 404,
                 "{\"error\":\"there is no model named \\\"fourth\\\": GET /models lists those "
                 "there are\",\"error_type\":\"NotFound\",\"field\":\"model\"}");
    request(f.port, "POST", "/predict", "{\"model\":7,\"text\":\"x\"}", &reply);
    expect_reply(&reply, 400, "`model` must be a string, not a number");
    request(f.port, "POST", "/predict", "{\"model\":[],\"inputs\":\"x\"}", &reply);
    expect_reply(&reply, 422, "`model` must be a string, not an array");
    request(f.port, "GET", "/models", NULL, &reply);
    expect_reply(&reply, 200, "{\"models\":[{\"name\":\"first\",\"default\":true,");
    expect_reply(&reply, 200,
                 "{\"name\":\"second\",\"default\":false,\"task\":\"sequence-classification\","
                 "\"problem\":\"single-label\",\"labels\":[\"red\",\"green\",\"blue\"],"
                 "\"max_tokens\":16,");
    expect_reply(&reply, 200,
                 "{\"name\":\"third\",\"default\":true,\"task\":\"embedding\",\"dimensions\":3,"
                 "\"pooling\":\"mean\",\"normalize\":false,\"max_tokens\":16,");
    request(f.port, "GET", "/metrics", NULL, &reply);
    expect_reply(&reply, 200, "distild_predictions_total{model=\"second\",label=\"blue\"}");
    stop(&f);
}
END_TEST

START_TEST(names_are_checked)
{
    struct server_model_options models[] = {{.path = "fake"}, {.path = "fake"}};
    struct fixture f;
    struct server *server = NULL;
    distil_error error;
    prepare(&f, "fake");
    f.options.models = models;
    f.options.model_count = 2;
    ck_assert_int_eq(server_start(&f.options, &server, &error), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "two models are named \"default\"");
    models[1].name = "";
    ck_assert_int_eq(server_start(&f.options, &server, &error), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "model 2 has an empty name");
    close(f.options.log.fd);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_reload_takes_the_new_file,
        what_cannot_be_loaded_changes_nothing,
        a_stated_digest_is_not_believed,
        a_start_can_verify,
        requests_keep_the_model_they_began_with,
        the_old_model_ends_without_its_slowest_reader,
        no_request_is_lost_while_models_are_swapped,
        ending_while_a_reload_waits,
        requests_choose_their_model,
        names_are_checked,
    };
    return run_tests("reload", 30, tests, sizeof(tests) / sizeof(*tests));
}

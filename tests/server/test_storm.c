/* test_storm.c: everything at once: short and long requests for two models, deadlines, clients that
 * leave, a queue that is too small, models that are swapped, and a drain in the middle of it. Every
 * request that was accepted is answered, and answered right. Run under ThreadSanitizer as well. */
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

enum { CLIENTS = 12, LEAVERS = 2, STORM_MS = 1500, TEXTS = 8, VARIANTS = 2, KINDS = 2 };

static const char *const names[KINDS] = {"steady", "changing"};

struct storm {
    int port;
    atomic_bool draining, stop;
    atomic_int answered, shed, expired, closed, wrong, unexpected;
    /* What each model may answer to a text; the steady one has one variant. */
    char expected[KINDS][VARIANTS][TEXTS][300];
};

struct caller {
    pthread_t thread;
    struct storm *storm;
    unsigned random;
};

static unsigned draw(struct caller *caller, unsigned range)
{
    caller->random = caller->random * 1103515245U + 12345U;
    return (caller->random >> 16) % range;
}

/* A request for one text, short or long by its number. */
static void body_of(int kind, int text, char *body, size_t size)
{
    snprintf(body, size, "{\"model\":\"%s\",\"text\":\"%s%d\"}", names[kind],
             text % 2 ? "a much longer text than the others are, number " : "text ", text);
}

static bool is_expected(const struct storm *storm, int kind, int text, const char *answer)
{
    int variant;
    for (variant = 0; variant < VARIANTS; variant++)
        if (strcmp(answer, storm->expected[kind][variant][text]) == 0)
            return true;
    return false;
}

static void judge(struct storm *storm, int kind, int text, const struct reply *reply)
{
    if (reply->status == 200)
        atomic_fetch_add(
            is_expected(storm, kind, text, reply->body) ? &storm->answered : &storm->wrong, 1);
    else if (reply->status == 503)
        atomic_fetch_add(&storm->shed, 1);
    else if (reply->status == 504)
        atomic_fetch_add(&storm->expired, 1);
    else if (reply->status == 0 && atomic_load(&storm->draining))
        atomic_fetch_add(&storm->closed, 1);
    else
        atomic_fetch_add(&storm->unexpected, 1);
}

static void *call(void *argument)
{
    struct caller *caller = argument;
    struct storm *storm = caller->storm;
    struct client client;
    struct reply reply;
    char body[200], text[500];
    bool open = false;
    while (!atomic_load(&storm->stop)) {
        int kind = (int)draw(caller, KINDS), number = (int)draw(caller, TEXTS);
        unsigned timeout = draw(caller, 4) == 0 ? 1 + draw(caller, 30) : 10000;
        if (!open && !(open = client_open(&client, storm->port))) {
            ck_assert(atomic_load(&storm->draining));
            return NULL;
        }
        body_of(kind, number, body, sizeof(body));
        snprintf(text, sizeof(text),
                 "POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-Timeout-Ms: %u\r\n"
                 "Content-Length: %zu\r\n\r\n%s",
                 timeout, strlen(body), body);
        client_send_text(&client, text);
        client_read(&client, false, &reply);
        judge(storm, kind, number, &reply);
        reply_header(&reply, "Connection", text, sizeof(text));
        if (reply.status == 0 || strcmp(text, "close") == 0) {
            client_close(&client);
            open = false;
        }
    }
    if (open)
        client_close(&client);
    return NULL;
}

/* Asks for much and does not wait for it. */
static void *leave(void *argument)
{
    struct caller *caller = argument;
    struct client client;
    while (!atomic_load(&caller->storm->stop) && client_open(&client, caller->storm->port)) {
        client_send_text(&client, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 48\r\n\r\n"
                                  "{\"inputs\":[[\"a\"],[\"b\"],[\"c\"],[\"d\"],[\"e\"],[\"f\"]]}");
        pause_ms((long)draw(caller, 20));
        client_close(&client);
    }
    return NULL;
}

static void say(const char *path, int variant)
{
    char model[40];
    snprintf(model, sizeof(model), "fake:slow=2:salt=%d", variant);
    say_model(path, model);
}

/* Learns the answers of a server that has the variant. */
static void learn(struct storm *storm, struct fixture *f, const char *path, int variant)
{
    struct reply reply;
    char body[200];
    int kind, text;
    say(path, variant);
    launch(f);
    for (kind = 0; kind < KINDS; kind++) {
        for (text = 0; text < TEXTS; text++) {
            body_of(kind, text, body, sizeof(body));
            request(server_port(f->server), "POST", "/predict", body, &reply);
            ck_assert_int_eq(reply.status, 200);
            ck_assert_uint_lt(reply.body_length, sizeof(storm->expected[0][0][0]));
            memcpy(storm->expected[kind][variant][text], reply.body, reply.body_length + 1);
        }
    }
    server_free(f->server);
}

START_TEST(nothing_is_lost_in_a_storm)
{
    static struct storm storm;
    struct server_model_options models[KINDS];
    struct caller callers[CLIENTS + LEAVERS];
    struct fixture f;
    struct reply reply;
    char path[] = "/tmp/distild-storm-XXXXXX", model[80];
    int i, fd = mkstemp(path), began;
    ck_assert_int_ge(fd, 0);
    close(fd);
    prepare(&f, "fake");
    snprintf(model, sizeof(model), "fake:file=%s", path);
    models[0] = (struct server_model_options){.name = names[0], .path = "fake:slow=2:salt=9"};
    models[1] = (struct server_model_options){.name = names[1], .path = model};
    f.options.models = models;
    f.options.model_count = KINDS;
    f.options.threads = 3;
    f.options.max_queue = 24;
    f.options.max_batch_tokens = 100; /* texts of over 6 tokens are long */
    for (i = 0; i < VARIANTS; i++)
        learn(&storm, &f, path, i);
    launch(&f);
    storm.port = f.port;
    for (i = 0; i < CLIENTS + LEAVERS; i++) {
        callers[i] = (struct caller){.storm = &storm, .random = (unsigned)i};
        ck_assert_int_eq(
            pthread_create(&callers[i].thread, NULL, i < CLIENTS ? call : leave, &callers[i]), 0);
    }
    for (began = 0; began < STORM_MS || (atomic_load(&storm.answered) <= 100 && began < 60000);
         began += 25) {
        say(path, began / 25 % VARIANTS);
        server_reload(f.server);
        request(f.port, "GET", "/health", NULL, &reply);
        ck_assert_int_eq(reply.status, 200);
        request(f.port, "GET", "/metrics", NULL, &reply);
        ck_assert_int_eq(reply.status, 200);
        pause_ms(25);
    }
    atomic_store(&storm.draining, true);
    server_retire(f.server);
    pause_ms(50);
    server_drain(f.server);
    wait_until(server_drained(f.server));
    atomic_store(&storm.stop, true);
    for (i = 0; i < CLIENTS + LEAVERS; i++)
        pthread_join(callers[i].thread, NULL);
    ck_assert_int_eq(atomic_load(&storm.wrong), 0);
    ck_assert_int_eq(atomic_load(&storm.unexpected), 0);
    ck_assert_int_gt(atomic_load(&storm.answered), 100);
    stop(&f);
    ck_assert_int_eq(fake_open_models(), 0);
    unlink(path);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nothing_is_lost_in_a_storm,
    };
    return run_tests("storm", 60, tests, sizeof(tests) / sizeof(*tests));
}

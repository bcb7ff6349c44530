/* test_load.c: many clients at once, and those that leave. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

enum { CROWD = 32 };

/* One of many clients, each with texts of its own. */
struct caller {
    pthread_t thread;
    int port, number, requests;
    int answered, overloaded, refused, wrong;
};

static void *call(void *argument)
{
    struct caller *caller = argument;
    struct client client;
    struct reply reply;
    char body[100], expected[100], echo[100], text[60];
    int i;
    if (!client_open(&client, caller->port)) {
        caller->refused = caller->requests;
        return NULL;
    }
    for (i = 0; i < caller->requests; i++) {
        snprintf(text, sizeof(text), "caller %d asks %d", caller->number, i);
        snprintf(body, sizeof(body), "{\"text\":\"%s\"}", text);
        snprintf(echo, sizeof(echo), "\"text\":\"%s\"}", text);
        expected_sentiment(text, expected, sizeof(expected));
        client_request(&client, "POST", "/predict", body, &reply);
        if (reply.status == 200)
            caller->answered++;
        else if (reply.status == 503)
            caller->overloaded++;
        else
            caller->refused++;
        if (reply.status == 200 && (!strstr(reply.body, expected) || !strstr(reply.body, echo)))
            caller->wrong++;
        if (reply.status == 0)
            break;
    }
    client_close(&client);
    return NULL;
}

static void start_callers(struct caller *callers, int count, int port, int requests)
{
    int i;
    for (i = 0; i < count; i++) {
        callers[i] = (struct caller){.port = port, .number = i, .requests = requests};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
}

/* Sums up what the callers met. */
static struct caller join_callers(struct caller *callers, int count)
{
    struct caller sum = {0};
    int i;
    for (i = 0; i < count; i++) {
        pthread_join(callers[i].thread, NULL);
        sum.answered += callers[i].answered;
        sum.overloaded += callers[i].overloaded;
        sum.refused += callers[i].refused;
        sum.wrong += callers[i].wrong;
    }
    return sum;
}

START_TEST(parallel_answers_match_their_texts)
{
    struct fixture f;
    struct caller callers[CROWD], sum;
    prepare(&f, "fake");
    f.options.threads = 2;
    launch(&f);
    start_callers(callers, CROWD, f.port, 100);
    sum = join_callers(callers, CROWD);
    ck_assert_int_eq(sum.wrong, 0);
    ck_assert_int_eq(sum.answered, CROWD * 100);
    stop(&f);
}
END_TEST

START_TEST(what_waits_is_computed_together)
{
    struct fixture f;
    struct caller callers[CROWD], sum;
    int before;
    start(&f, "fake:gate");
    fake_shut();
    before = fake_passes();
    start_callers(callers, CROWD, f.port, 1);
    wait_for_suspended(&f, CROWD);
    fake_open();
    sum = join_callers(callers, CROWD);
    ck_assert_int_eq(sum.answered, CROWD);
    ck_assert_int_eq(sum.wrong, 0);
    /* of the callers, who compute one each to know what to expect, and of the server: what came first, and the rest */
    ck_assert_int_le(fake_passes() - before, CROWD + 3);
    stop(&f);
}
END_TEST

START_TEST(health_does_not_wait_for_inference)
{
    struct fixture f;
    struct caller caller;
    struct reply reply;
    int i;
    start(&f, "fake:gate");
    fake_shut();
    start_callers(&caller, 1, f.port, 1);
    wait_until(fake_at_gate() == 1);
    for (i = 0; i < 20; i++) {
        request(f.port, "GET", "/health", NULL, &reply);
        ck_assert_int_eq(reply.status, 200);
    }
    ck_assert_int_eq(fake_at_gate(), 1);
    fake_open();
    ck_assert_int_eq(join_callers(&caller, 1).answered, 1);
    stop(&f);
}
END_TEST

START_TEST(a_large_request_is_split_and_answered_whole)
{
    struct fixture f;
    struct reply whole, split;
    char body[600] = "{\"raw_scores\":true,\"inputs\":[";
    size_t length = strlen(body);
    int i;
    for (i = 0; i < 32; i++)
        length += (size_t)snprintf(body + length, sizeof(body) - length, "%s[\"text %d\"]",
                                   i ? "," : "", i);
    snprintf(body + length, sizeof(body) - length, "]}");
    start(&f, "fake");
    request(f.port, "POST", "/predict", body, &whole);
    ck_assert_int_eq(whole.status, 200);
    stop(&f);
    prepare(&f, "fake:slow=10");
    f.options.max_batch_tokens = 10;
    f.options.threads = 3;
    launch(&f);
    request(f.port, "POST", "/predict", body, &split);
    ck_assert_int_eq(split.status, 200);
    ck_assert_str_eq(split.body, whole.body);
    stop(&f);
}
END_TEST

START_TEST(clients_that_leave_do_no_harm)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    int i;
    start(&f, "fake:slow=50");
    for (i = 0; i < 20; i++) {
        ck_assert(client_open(&client, f.port));
        client_send_text(&client, i % 2 ? "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                          "Content-Length: 12\r\n\r\n{\"text\":\"x\"}"
                                        : "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                          "Content-Length: 12\r\n\r\n{\"te");
        if (i % 3 == 0)
            pause_ms(5);
        client_close(&client);
    }
    request(f.port, "POST", "/predict", "{\"text\":\"still there\"}", &reply);
    expect_reply(&reply, 200, "still there");
    wait_for_in_flight(&f, 0);
    stop(&f);
}
END_TEST

/* Work for clients that have gone is not done, and does not hold up the others. */
START_TEST(abandoned_texts_are_not_computed)
{
    enum { LEAVING = 100 };
    struct fixture f;
    struct client client;
    struct reply reply;
    int leaving[LEAVING], i;
    prepare(&f, "fake:gate");
    f.options.max_batch_tokens = 6; /* two texts a batch */
    launch(&f);
    fake_shut();
    for (i = 0; i < LEAVING; i++) {
        ck_assert(client_open(&client, f.port));
        client_send_text(&client,
                         "POST /predict HTTP/1.1\r\nHost: x\r\n"
                         "Content-Length: 32\r\n\r\n{\"inputs\":[[\"a\"],[\"b\"],[\"c\"]]}  ");
        leaving[i] = client.fd;
    }
    wait_for_suspended(&f, LEAVING);
    for (i = 0; i < LEAVING; i++)
        close(leaving[i]);
    pause_ms(100); /* now all have waited long enough to be asked */
    fake_open();
    request(f.port, "POST", "/predict", "{\"text\":\"still there\"}", &reply);
    expect_reply(&reply, 200, "still there");
    wait_for_in_flight(&f, 0);
    ck_assert_int_eq(atomic_load(&f.server->suspended), 0);
    /* one, and what was taken before the first of them had waited long enough to be asked */
    ck_assert_int_ge(fake_computed_texts(), 1);
    ck_assert_int_le(fake_computed_texts(), 7);
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        parallel_answers_match_their_texts, what_waits_is_computed_together,
        health_does_not_wait_for_inference, a_large_request_is_split_and_answered_whole,
        clients_that_leave_do_no_harm,      abandoned_texts_are_not_computed,
    };
    return run_tests("load", 30, tests, sizeof(tests) / sizeof(*tests));
}

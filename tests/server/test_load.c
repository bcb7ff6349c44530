/* test_load.c: many clients at once, and more than can be answered. */
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

static double seconds_since(int64_t start_ns)
{
    return (double)(server_now() - start_ns) / 1e9;
}

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
    begin(&f);
    load(&f);
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

START_TEST(a_full_queue_is_503)
{
    struct fixture f;
    struct client clients[8];
    struct reply reply;
    char value[20];
    int i, answered = 0, overloaded = 0;
    prepare(&f, "fake:gate");
    f.options.max_queue = 3;
    begin(&f);
    load(&f);
    fake_shut();
    for (i = 0; i < 8; i++) {
        ck_assert(client_open(&clients[i], f.port));
        client_send_text(&clients[i], "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                      "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
        if (i == 0) /* it is being computed when the others come */
            wait_until(fake_at_gate() == 1);
        if (i < 4)
            wait_for_suspended(&f, i + 1);
    }
    for (i = 7; i >= 0; i--) {
        if (i == 3)
            fake_open();
        client_read(&clients[i], false, &reply);
        client_close(&clients[i]);
        answered += reply.status == 200;
        overloaded += reply.status == 503;
        if (reply.status != 503)
            continue;
        expect_reply(&reply, 503, "\"error_type\":\"Overloaded\"");
        reply_header(&reply, "Retry-After", value, sizeof(value));
        ck_assert_int_ge(atoi(value), 1);
    }
    ck_assert_int_eq(answered, 4);
    ck_assert_int_eq(overloaded, 4);
    stop(&f);
}
END_TEST

/* Nor is room made for its body. A client that asks whether it may send one is told that it need not. */
START_TEST(a_large_request_is_refused_before_its_body)
{
    enum { BODY = 100000 };
    struct fixture f;
    struct client computed, waiting, asking, sending;
    struct reply reply;
    char head[200], *body = malloc(BODY);
    ck_assert_ptr_nonnull(body);
    memset(body, ' ', BODY);
    memcpy(body, "{\"text\":\"x\"}", 12);
    prepare(&f, "fake:slow=1500");
    f.options.max_queue = 1;
    begin(&f);
    load(&f);
    ck_assert(client_open(&computed, f.port));
    client_send_text(&computed, "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
    pause_ms(100);
    ck_assert(client_open(&waiting, f.port));
    client_send_text(&waiting, "POST /predict HTTP/1.1\r\nHost: x\r\n"
                               "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
    pause_ms(100);
    ck_assert(client_open(&asking, f.port));
    snprintf(head, sizeof(head),
             "POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
             "Content-Length: %d\r\n\r\n",
             BODY);
    client_send_text(&asking, head);
    client_read(&asking, false, &reply);
    expect_reply(&reply, 503, "the queue is full: 1 texts");
    client_close(&asking);
    ck_assert(client_open(&sending, f.port));
    snprintf(head, sizeof(head), "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             BODY);
    client_send_text(&sending, head);
    pause_ms(100);
    client_send(&sending, body, BODY);
    client_read(&sending, false, &reply);
    expect_reply(&reply, 503, "\"error_type\":\"Overloaded\"");
    client_read(&computed, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    client_read(&waiting, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    /* the connection is as good as before */
    client_request(&sending, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 200, "sentiment");
    client_close(&sending);
    client_close(&computed);
    client_close(&waiting);
    free(body);
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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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

START_TEST(a_queue_full_of_tokens_is_503)
{
    struct fixture f;
    struct client clients[3];
    struct reply reply;
    int i;
    prepare(&f, "fake:gate");
    f.options.max_queue_tokens = 5;
    begin(&f);
    load(&f);
    fake_shut();
    for (i = 0; i < 3; i++) {
        ck_assert(client_open(&clients[i], f.port));
        client_send_text(&clients[i], "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                      "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
        if (i == 0) /* it is being computed, the second waits */
            wait_until(fake_at_gate() == 1);
        if (i == 1)
            wait_for_suspended(&f, 2);
    }
    for (i = 2; i >= 0; i--) {
        if (i == 1)
            fake_open();
        client_read(&clients[i], false, &reply);
        client_close(&clients[i]);
        expect_reply(&reply, i < 2 ? 200 : 503, i < 2 ? "sentiment" : "3 tokens wait");
    }
    stop(&f);
}
END_TEST

/* Sends a text, with further header lines. */
static void send_with(struct client *client, const char *headers)
{
    char text[300];
    snprintf(text, sizeof(text),
             "POST /predict HTTP/1.1\r\nHost: x\r\n%sContent-Length: 12\r\n\r\n{\"text\":\"x\"}",
             headers);
    ck_assert(client_send_text(client, text));
}

/* A server that has computed a batch knows how long one takes. */
static void start_warm(struct fixture *f)
{
    struct reply reply;
    begin(f);
    load(f);
    request(f->port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 200, "sentiment");
}

START_TEST(deadlines_are_kept)
{
    struct fixture f;
    struct client first, hopeless, patient;
    struct reply reply;
    char value[20];
    int before, tries = 0;
    int64_t began;
    prepare(&f, "fake:gate:slow=400");
    start_warm(&f);
    ck_assert(client_open(&first, f.port));
    ck_assert(client_open(&hopeless, f.port));
    ck_assert(client_open(&patient, f.port));
    send_with(&first, "X-Request-Timeout-Ms: 1\r\n"); /* idle: tried, if only just */
    client_read(&first, false, &reply);
    ck_assert(reply.status == 200 || reply.status == 504);
    for (;; client_read(&first, false,
                        &reply)) { /* once more where the first was nearly due by then */
        fake_shut();
        before = fake_computed_texts();
        began = server_now();
        send_with(&first, "");
        wait_until(fake_at_gate() == 1);
        send_with(&hopeless, "X-Request-Timeout-Ms: 50\r\n");
        client_read(&hopeless, false, &reply); /* at once */
        if (seconds_since(began) < 0.3 || ++tries == 20)
            break;
        fake_open();
    }
    expect_reply(&reply, 503, "beyond its deadline");
    expect_reply(&reply, 503, "\"error_type\":\"Overloaded\"");
    reply_header(&reply, "Retry-After", value, sizeof(value));
    ck_assert_int_ge(atoi(value), 1);
    ck_assert_int_le(atoi(value), 3);
    send_with(&patient, "X-Request-Timeout-Ms: 600000\r\n");
    fake_open();
    client_read(&patient, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    client_read(&first, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    ck_assert_int_eq(fake_computed_texts() - before, 2);
    client_close(&first);
    client_close(&hopeless);
    client_close(&patient);
    stop(&f);
}
END_TEST

/* Where the server believed that there was time, but the batch before takes longer: said at the
 * deadline, and not when the turn would have come. */
START_TEST(an_expired_request_is_504)
{
    struct fixture f;
    struct client first, late;
    struct reply reply;
    prepare(&f, "fake:gate");
    f.options.request_timeout_ms = 150;
    begin(&f);
    load(&f);
    ck_assert(client_open(&first, f.port));
    ck_assert(client_open(&late, f.port));
    fake_shut();
    send_with(&first, "X-Request-Timeout-Ms: 600000\r\n");
    wait_until(fake_at_gate() == 1);
    send_with(&late, "");
    client_read(&late, false, &reply);
    ck_assert_int_eq(fake_at_gate(), 1); /* the first one is still being computed */
    fake_open();
    expect_reply(&reply, 504,
                 "{\"error\":\"the deadline of 150 ms passed before the request was "
                 "computed\",\"error_type\":\"Timeout\"}");
    client_read(&first, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    ck_assert_int_eq(fake_computed_texts(), 1);
    client_close(&first);
    client_close(&late);
    stop(&f);
}
END_TEST

START_TEST(a_queue_full_of_time_is_503)
{
    struct fixture f;
    struct client clients[4];
    struct reply replies[4];
    int i, tries = 0;
    double took;
    prepare(&f, "fake:slow=400");
    f.options.max_queue_ms = 550;
    start_warm(&f);
    for (i = 0; i < 4; i++) { /* after one batch it is but guessed how long the next will take */
        request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &replies[0]);
        expect_reply(&replies[0], 200, "sentiment");
    }
    do { /* once more where the machine was so slow that the first had been computed in part when the third came */
        const int before = fake_passes();
        int64_t began = 0;
        for (i = 0; i < 4; i++) {
            ck_assert(client_open(&clients[i], f.port));
            began = i == 0 ? server_now() : began;
            if (i < 3)
                send_with(&clients[i], "");
            else /* it is not read, as whatever it asks would wait too long */
                client_send_text(&clients[i], "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                              "Content-Length: 12\r\n\r\nthis is none");
            if (i == 0) /* it is being computed, the second waits */
                wait_until(fake_passes() > before);
            while (i == 1 && atomic_load(&f.server->suspended) < 2 && seconds_since(began) < 0.3)
                pause_ms(1);
        }
        for (i = 3; i >= 0; i--) {
            client_read(&clients[i], false, &replies[i]);
            client_close(&clients[i]);
            if (i == 2)
                took = seconds_since(began);
        }
    } while (took > 0.2 && ++tries < 20);
    for (i = 0; i < 4; i++)
        expect_reply(&replies[i], i < 2 ? 200 : 503, i < 2 ? "sentiment" : "at most 550 may be");
    stop(&f);
}
END_TEST

START_TEST(connections_over_the_limit_wait)
{
    struct fixture f;
    struct client clients[30];
    struct reply reply;
    int i;
    prepare(&f, "fake");
    f.options.max_connections = 20;
    begin(&f);
    load(&f);
    for (i = 0; i < 30; i++)
        ck_assert(client_open(&clients[i], f.port));
    for (i = 0; i < 30; i++) {
        client_request(&clients[i], "GET", "/health", NULL, &reply);
        ck_assert_int_eq(reply.status, 200);
        client_close(&clients[i]);
    }
    stop(&f);
}
END_TEST

static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

START_TEST(a_burst_does_not_pass_the_limit)
{
    struct fixture f;
    struct client clients[30];
    int i, before;
    prepare(&f, "fake");
    f.options.max_connections = 10;
    begin(&f);
    load(&f);
    before = count_descriptors();
    for (i = 0; i < 30; i++)
        ck_assert(client_open(&clients[i], f.port));
    wait_until(count_descriptors() - before >= 30 + 10);
    pause_ms(100); /* in which more would come */
    ck_assert_int_eq(count_descriptors() - before, 30 + 10);
    for (i = 0; i < 30; i++)
        client_close(&clients[i]);
    stop(&f);
}
END_TEST

START_TEST(the_log_is_clean)
{
    struct fixture f;
    struct reply reply;
    char log[4000] = "";
    const char *c;
    int ends[2];
    prepare(&f, "fake");
    close(f.options.log.fd);
    ck_assert_int_eq(pipe(ends), 0);
    f.options.log.fd = ends[1];
    begin(&f);
    load(&f);
    request(f.port, "GET", "/a%0A%1b[1m%FF%C2%9B%C3%A9%20status=1", NULL, &reply);
    ck_assert_int_eq(reply.status, 404);
    stop(&f);
    ck_assert_int_gt(read(ends[0], log, sizeof(log) - 1), 0);
    close(ends[0]);
    ck_assert_msg(
        strstr(log, "path=/a\\x0A\\x1B[1m\\xFF\\xC2\\x9B\xC3\xA9\\x20status=1 status=404") != NULL,
        "%s", log);
    for (c = log; *c; c++)
        ck_assert(*c == '\n' || (unsigned char)*c >= 0x20);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        parallel_answers_match_their_texts,
        what_waits_is_computed_together,
        health_does_not_wait_for_inference,
        a_full_queue_is_503,
        a_large_request_is_refused_before_its_body,
        a_large_request_is_split_and_answered_whole,
        clients_that_leave_do_no_harm,
        abandoned_texts_are_not_computed,
        a_queue_full_of_tokens_is_503,
        deadlines_are_kept,
        an_expired_request_is_504,
        a_queue_full_of_time_is_503,
        connections_over_the_limit_wait,
        a_burst_does_not_pass_the_limit,
        the_log_is_clean,
    };
    return run_tests("load", 30, tests, sizeof(tests) / sizeof(*tests));
}

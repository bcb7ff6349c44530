/* test_overload.c: what is refused where more comes than can be read or computed, and what is too late. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/internal.h"
#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

/* ---- bodies ---- */

enum { LARGE = 100000, ROOM = 250000 };

/* {"text":"x"} and white space. */
static const char *large_body(void)
{
    static char body[LARGE + 1];
    snprintf(body, sizeof(body), "%-*s", LARGE, "{\"text\":\"x\"}");
    return body;
}

static void send_head(struct client *client, const char *header)
{
    char head[200];
    snprintf(head, sizeof(head), "POST /predict HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", header);
    ck_assert(client_send_text(client, head));
}

static void expect_bodies(const struct fixture *f, size_t bytes)
{
    wait_until(atomic_load(&f->server->bodies) == bytes);
}

/* Begins a large request, all of which arrives but for its last byte. */
static void begin_large(struct client *client, int port)
{
    char length[40];
    snprintf(length, sizeof(length), "Content-Length: %d", LARGE);
    ck_assert(client_open(client, port));
    send_head(client, length);
    ck_assert(client_send(client, large_body(), LARGE - 1));
}

static void expect_no_room(struct client *client)
{
    struct reply reply;
    char after[16];
    client_read(client, false, &reply);
    expect_reply(&reply, 503, "the queue is full: too many large requests wait");
    reply_header(&reply, "Retry-After", after, sizeof(after));
    ck_assert_int_ge(strtol(after, NULL, 10), 1);
    ck_assert_int_le(strtol(after, NULL, 10), 3);
}

START_TEST(bodies_that_arrive_are_bounded_together)
{
    struct fixture f;
    struct client first, second, announced, chunked;
    struct reply reply;
    prepare(&f, "fake");
    f.options.max_body = LARGE;
    f.options.max_bodies = ROOM;
    launch(&f);
    begin_large(&first, f.port);
    expect_bodies(&f, LARGE);
    begin_large(&second, f.port);
    expect_bodies(&f, (size_t)2 * LARGE);
    /* one that says how large it is need not be sent */
    ck_assert(client_open(&announced, f.port));
    send_head(&announced, "Expect: 100-continue\r\nContent-Length: 60000");
    expect_no_room(&announced);
    client_close(&announced);
    /* one that does not is refused when there is no room for more of it, and read to its end */
    ck_assert(client_open(&chunked, f.port));
    send_head(&chunked, "Transfer-Encoding: chunked");
    ck_assert(client_send_text(&chunked, "ea60\r\n")); /* 60,000 */
    ck_assert(client_send(&chunked, large_body(), 60000));
    ck_assert(client_send_text(&chunked, "\r\n0\r\n\r\n"));
    expect_no_room(&chunked);
    expect_bodies(&f, (size_t)2 * LARGE);
    /* small ones do not count */
    client_request(&chunked, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 200, "sentiment");
    client_close(&chunked);
    /* room is given back by an answer, and by a client that leaves */
    ck_assert(client_send_text(&first, " "));
    client_read(&first, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    expect_bodies(&f, LARGE);
    client_request(&first, "POST", "/predict", large_body(), &reply);
    expect_reply(&reply, 200, "sentiment");
    client_close(&second);
    expect_bodies(&f, 0);
    client_close(&first);
    stop(&f);
}
END_TEST

/* Where one request alone may have more than all together were to have, it may. */
START_TEST(a_body_that_is_alone_has_room)
{
    struct fixture f;
    struct reply reply;
    prepare(&f, "fake");
    f.options.max_body = LARGE;
    f.options.max_bodies = 1;
    launch(&f);
    request(f.port, "POST", "/predict", large_body(), &reply);
    expect_reply(&reply, 200, "sentiment");
    expect_bodies(&f, 0);
    stop(&f);
}
END_TEST

/* ---- the queue ---- */

START_TEST(a_full_queue_is_503)
{
    struct fixture f;
    struct client clients[8];
    struct reply reply;
    char value[20];
    int i, answered = 0, overloaded = 0;
    prepare(&f, "fake:gate");
    f.options.max_queue = 3;
    launch(&f);
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
    launch(&f);
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

START_TEST(a_queue_full_of_tokens_is_503)
{
    struct fixture f;
    struct client clients[3];
    struct reply reply;
    int i;
    prepare(&f, "fake:gate");
    f.options.max_queue_tokens = 5;
    launch(&f);
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
    launch(f);
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
    launch(&f);
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

int main(void)
{
    const TTest *const tests[] = {
        bodies_that_arrive_are_bounded_together,
        a_body_that_is_alone_has_room,
        a_full_queue_is_503,
        a_large_request_is_refused_before_its_body,
        a_queue_full_of_tokens_is_503,
        deadlines_are_kept,
        an_expired_request_is_504,
        a_queue_full_of_time_is_503,
    };
    return run_tests("overload", 30, tests, sizeof(tests) / sizeof(*tests));
}

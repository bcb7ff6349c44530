/* test_reader.c: large requests are read by a thread of their own, and hold up nobody else. */
#include "server/reader.h"

#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

enum { LARGE = 6000, CLIENTS = 4 };

/* A text that waits at the fake engine's gate to be read, with a number in it. */
static void make_text(int number, char text[LARGE + 1])
{
    memset(text, 'x', LARGE);
    text[LARGE] = '\0';
    text[snprintf(text, LARGE, "%d", number)] = ' ';
}

/* Sends it, with further header lines. */
static void send_large(struct client *client, int number, const char *headers)
{
    char text[LARGE + 1], head[300];
    make_text(number, text);
    snprintf(head, sizeof(head),
             "POST /predict HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n{\"text\":\"",
             headers, LARGE + 11);
    ck_assert(client_send_text(client, head));
    ck_assert(client_send_text(client, text));
    ck_assert(client_send_text(client, "\"}"));
}

static void expect_answer(struct client *client, int number)
{
    char text[LARGE + 1], answer[80];
    struct reply reply;
    make_text(number, text);
    expected_sentiment(text, answer, sizeof(answer));
    client_read(client, false, &reply);
    expect_reply(&reply, 200, answer);
    expect_reply(&reply, 200, text);
}

/* Both HTTP threads have large requests, and answer others all the same. */
START_TEST(large_requests_hold_nobody_up)
{
    struct fixture f;
    struct client clients[CLIENTS];
    struct reply reply;
    char answer[80];
    int i;
    start(&f, "fake:reading-gate");
    fake_shut();
    for (i = 0; i < CLIENTS; i++) {
        ck_assert(client_open(&clients[i], f.port));
        send_large(&clients[i], i, "");
    }
    wait_for_suspended(&f, CLIENTS);
    wait_until(fake_at_gate() == 1);
    expected_sentiment("short", answer, sizeof(answer));
    for (i = 0; i < 20; i++) {
        request(f.port, "GET", "/health", NULL, &reply);
        expect_reply(&reply, 200, "healthy");
        request(f.port, "POST", "/predict", "{\"text\":\"short\"}", &reply);
        expect_reply(&reply, 200, answer);
    }
    ck_assert_int_eq(fake_at_gate(), 1); /* they are read one after another */
    fake_open();
    for (i = 0; i < CLIENTS; i++) {
        expect_answer(&clients[i], i);
        client_close(&clients[i]);
    }
    stop(&f);
}
END_TEST

/* What is wrong with a large request is said as it is of a small one, and its connection goes on. */
START_TEST(large_requests_can_be_wrong)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    char body[LARGE + 100];
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    snprintf(body, sizeof(body), "%*s", LARGE + 1, "{");
    client_request(&client, "POST", "/predict", body, &reply);
    expect_reply(&reply, 400, "invalid JSON at byte 6001");
    snprintf(body, sizeof(body), "%*s", LARGE, "{\"text\":7}");
    client_request(&client, "POST", "/predict", body, &reply);
    expect_reply(&reply, 400, "`text` must be a string, not a number");
    snprintf(body, sizeof(body), "%*s", LARGE, "{\"inputs\":[]}");
    client_request(&client, "POST", "/predict", body, &reply);
    expect_reply(&reply, 400, "`inputs` cannot be empty");
    client_request(&client, "POST", "/predict", "{\"text\":\"short\"}", &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&client);
    stop(&f);
}
END_TEST

/* While one is read that takes long. */
START_TEST(large_requests_learn_of_their_deadline_in_time)
{
    struct fixture f;
    struct client first, late;
    struct reply reply;
    int64_t began;
    start(&f, "fake:reading-gate");
    ck_assert(client_open(&first, f.port));
    ck_assert(client_open(&late, f.port));
    fake_shut();
    send_large(&first, 0, "X-Request-Timeout-Ms: 700\r\n");
    wait_until(fake_at_gate() == 1);
    began = server_now();
    send_large(&late, 1, "X-Request-Timeout-Ms: 100\r\n");
    client_read(&late, false, &reply);
    expect_reply(&reply, 504, "the deadline of 100 ms passed");
    ck_assert_double_ge(seconds_since(began), 0.1);
    ck_assert_int_eq(fake_at_gate(), 1);
    client_request(&late, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    pause_ms(700);
    fake_open();
    client_read(&first, false, &reply); /* its own was over when it had been read */
    expect_reply(&reply, 504, "the deadline of 700 ms passed");
    ck_assert_int_eq(fake_computed_texts(), 0);
    client_close(&first);
    client_close(&late);
    stop(&f);
}
END_TEST

/* Neither one whose time is over nor one whose client has gone is read when its turn comes. */
START_TEST(large_requests_in_vain_are_not_read)
{
    struct fixture f;
    struct client first, late, gone;
    struct reply reply;
    start(&f, "fake:reading-gate");
    ck_assert(client_open(&first, f.port));
    ck_assert(client_open(&late, f.port));
    ck_assert(client_open(&gone, f.port));
    fake_shut();
    send_large(&first, 0, "");
    wait_until(fake_at_gate() == 1);
    send_large(&gone, 1, "");
    wait_for_suspended(&f, 2);
    client_close(&gone);
    send_large(&late, 2, "X-Request-Timeout-Ms: 100\r\n");
    client_read(&late, false, &reply);
    expect_reply(&reply, 504, "the deadline of 100 ms passed before the request was computed");
    fake_open();
    client_read(&first, false, &reply);
    ck_assert_int_eq(reply.status, 200);
    wait_for_in_flight(&f, 0);
    request(f.port, "GET", "/metrics", NULL, &reply);
    expect_reply(&reply, 200, "\ndistild_requests_abandoned_total 1\n");
    expect_reply(&reply, 200, "\ndistild_deadlines_expired_total{stage=\"taken\"} 1\n");
    ck_assert_int_eq(fake_computed_texts(), 1);
    client_close(&first);
    client_close(&late);
    stop(&f);
}
END_TEST

/* A client may say that it has no more to send. Only where the server lets it wait does that count as leaving. */
START_TEST(large_requests_may_be_the_last)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    int64_t began = server_now();
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    send_large(&client, 0, "");
    ck_assert_int_eq(shutdown(client.fd, SHUT_WR), 0);
    client_read(&client, false, &reply);
    ck_assert_msg(reply.status == 200 || seconds_since(began) > 0.05, "%d %s", reply.status,
                  reply.body);
    client_close(&client);
    stop(&f);
}
END_TEST

START_TEST(the_end_answers_large_requests)
{
    struct fixture f;
    struct client clients[CLIENTS];
    struct reply reply;
    int i, given_up = 0;
    start(&f, "fake:reading-gate:read=1000");
    fake_shut();
    for (i = 0; i < CLIENTS; i++) {
        ck_assert(client_open(&clients[i], f.port));
        send_large(&clients[i], i, "");
    }
    wait_for_suspended(&f, CLIENTS);
    fake_open();
    stop(&f); /* without waiting for the drain, and while the first is read */
    for (i = 0; i < CLIENTS; i++) {
        client_read(&clients[i], false, &reply);
        given_up += reply.status == 503 && strstr(reply.body, "the server stopped") != NULL;
        client_close(&clients[i]);
    }
    ck_assert_int_eq(given_up, CLIENTS);
}
END_TEST

/* ---- the thread ---- */

/* The readings of a test, in which the thread stays until it is let go. */
struct stage {
    sem_t entered, go;
    int turns; /* the thread's, and read between its turns */
};

struct noted {
    struct server_reading reading; /* first: the two share their address */
    struct stage *stage;
    int was;
    enum server_turn turn;
};

static void on_read(struct server_reading *reading, enum server_turn turn)
{
    struct noted *noted = (struct noted *)(void *)reading;
    noted->turn = turn;
    noted->was = ++noted->stage->turns;
    sem_post(&noted->stage->entered);
    sem_wait(&noted->stage->go);
}

static void next_turn(struct stage *stage)
{
    sem_post(&stage->go);
    sem_wait(&stage->entered);
}

static void *let_go_later(void *argument)
{
    struct stage *stage = argument;
    pause_ms(1000);
    sem_post(&stage->go);
    sem_post(&stage->go);
    return NULL;
}

START_TEST(what_waits_is_bounded_and_ordered)
{
    const size_t bytes[] = {150, 40, 61, 60, 0, 40, 61, 60, 0};
    const bool fits[] = {true, false, false, false, true, true, false, true, true};
    struct server_reader *reader;
    struct stage stage = {.turns = 0};
    struct noted noted[9];
    pthread_t later;
    int i;
    sem_init(&stage.entered, 0, 0);
    sem_init(&stage.go, 0, 0);
    for (i = 0; i < 9; i++)
        noted[i] = (struct noted){.reading = {.bytes = bytes[i], .read = on_read}, .stage = &stage};
    ck_assert_int_eq(server_reader_start(100, &reader, NULL), DISTIL_OK);
    for (i = 0; i < 9; i++) {
        ck_assert_int_eq(server_reader_push(reader, &noted[i].reading), fits[i]);
        if (i == 0) /* it is over the limit, and alone */
            sem_wait(&stage.entered);
        if (i == 4)
            next_turn(&stage);
    }
    ck_assert_int_eq(noted[4].was, 2);
    next_turn(&stage);
    ck_assert_int_eq(noted[8].was, 3); /* an answer to be written goes before what is to be read */
    next_turn(&stage);
    ck_assert_int_eq(noted[5].was, 4);
    ck_assert_int_eq(noted[5].turn, SERVER_TURN);
    ck_assert_int_eq(pthread_create(&later, NULL, let_go_later, &stage), 0);
    server_reader_free(reader);
    pthread_join(later, NULL);
    ck_assert_int_eq(noted[7].was, 5);
    ck_assert_int_eq(noted[7].turn, SERVER_TURN_ENDING);
    sem_destroy(&stage.entered);
    sem_destroy(&stage.go);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        large_requests_hold_nobody_up,
        large_requests_can_be_wrong,
        large_requests_learn_of_their_deadline_in_time,
        large_requests_in_vain_are_not_read,
        large_requests_may_be_the_last,
        the_end_answers_large_requests,
        what_waits_is_bounded_and_ordered,
    };
    return run_tests("reader", 30, tests, sizeof(tests) / sizeof(*tests));
}

/* test_slow_clients.c: clients that send or read slowly, within the limits and beyond. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

/* Sends text again and again, with pauses, until the server closes the connection; returns how long
 * that took, at most limit seconds. */
static double trickle(struct client *client, const char *text, long pause, double limit)
{
    int64_t began = server_now();
    char byte;
    while (seconds_since(began) < limit) {
        if (!client_send_text(client, text) || recv(client->fd, &byte, 1, MSG_DONTWAIT) == 0)
            break;
        pause_ms(pause);
    }
    return seconds_since(began);
}

/* In which a limit of a second or two has taken effect, however slow the machine. */
static double most_seconds(void)
{
    return (double)patience_ms() / 1000;
}

static void short_limits(struct fixture *f, const char *model)
{
    prepare(f, model);
    f->options.header_timeout_seconds = 1;
    f->options.body_timeout_seconds = 1;
    f->options.idle_timeout_seconds = 1;
}

START_TEST(slow_headers_are_cut)
{
    static const char *const starts[] = {"", "GET", "GET / HTTP/1.1\r\nHost: x\r\nX: "};
    struct fixture f;
    struct client client;
    size_t i;
    short_limits(&f, "fake");
    f.options.idle_timeout_seconds = 75;
    launch(&f);
    for (i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        double took;
        ck_assert(client_open(&client, f.port));
        client_send_text(&client, starts[i]);
        took = trickle(&client, "y", 50, most_seconds());
        ck_assert_msg(took > 0.6 && took < most_seconds(), "%g s", took);
        client_close(&client);
    }
    ck_assert_double_eq(closed(f.port, "header_timeout"), 3);
    stop(&f);
}
END_TEST

/* The library cannot tell when the first byte of another request came, but there is an end. */
START_TEST(slow_headers_of_a_later_request_are_cut)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    double took;
    short_limits(&f, "fake");
    launch(&f);
    ck_assert(client_open(&client, f.port));
    client_request(&client, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    took = trickle(&client, "G", 50, most_seconds());
    ck_assert_msg(took > 1.6 && took < most_seconds(), "%g s", took);
    client_close(&client);
    ck_assert_double_eq(closed(f.port, "header_timeout"), 1);
    stop(&f);
}
END_TEST

START_TEST(slow_bodies_are_cut)
{
    static const char start_text[] =
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    struct fixture f;
    struct client client;
    double took;
    short_limits(&f, "fake");
    launch(&f);
    ck_assert(client_open(&client, f.port));
    client_send_text(&client, start_text);
    took = trickle(&client, "0123456789abcdef0123456789abcdef", 20, most_seconds());
    ck_assert_msg(took > 0.6 && took < most_seconds(), "%g s", took);
    client_close(&client);
    ck_assert_double_eq(closed(f.port, "body_timeout"), 1);
    stop(&f);

    short_limits(&f, "fake");
    f.options.body_timeout_seconds = 12; /* the rate is looked at after two */
    f.options.min_rate = 1000;
    launch(&f);
    ck_assert(client_open(&client, f.port));
    client_send_text(&client, start_text);
    took = trickle(&client, "0123456789", 50, most_seconds());
    ck_assert_msg(took > 0.6 && took < most_seconds(), "%g s", took);
    client_close(&client);
    ck_assert_double_eq(closed(f.port, "body_rate"), 1);
    ck_assert_double_eq(closed(f.port, "body_timeout"), 0);
    stop(&f);
}
END_TEST

/* Clients that are slow within the limits are served, and the time that the server takes itself is
 * not theirs. */
START_TEST(patience_within_the_limits)
{
    static const char text[] = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n"
                               "{\"text\":\"x\"}";
    struct fixture f;
    struct client client;
    struct reply reply;
    size_t i;
    int round;
    int64_t began;
    prepare(&f, "fake:slow=2500");
    f.options.header_timeout_seconds = f.options.body_timeout_seconds = 2;
    f.options.idle_timeout_seconds = 2;
    launch(&f);
    ck_assert(client_open(&client, f.port));
    for (round = 0; round < 2; round++) {
        began = server_now();
        for (i = 0; text[i]; i++) {
            ck_assert(client_send(&client, text + i, 1));
            if (seconds_since(began) <
                0.6) /* on a machine where pauses are long the rest comes at once */
                pause_ms(5);
        }
        client_read(&client, false, &reply);
        expect_reply(&reply, 200, "sentiment");
    }
    client_close(&client);
    ck_assert_double_eq(closed(f.port, "header_timeout") + closed(f.port, "body_timeout") +
                            closed(f.port, "body_rate") + closed(f.port, "answer_timeout"),
                        0);
    stop(&f);
}
END_TEST

START_TEST(a_reader_that_does_not_read_is_cut)
{
    enum { TEXT = 12000000 }; /* more than the kernel keeps for a reader */
    struct fixture f;
    struct client client;
    char *text = malloc(TEXT + 200), sink[4096];
    size_t head;
    int small = 4096, i;
    ck_assert_ptr_nonnull(text);
    prepare(&f, "fake");
    f.options.body_timeout_seconds = 5; /* for a slow machine to send all that, too */
    f.options.max_body = TEXT;
    f.options.idle_timeout_seconds = 75;
    launch(&f);
    ck_assert(client_open(&client, f.port));
    setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    head = (size_t)sprintf(text, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                           TEXT);
    memset(text + head, 'a', TEXT);
    memcpy(text + head, "{\"text\":\"", 9);
    memcpy(text + head + TEXT - 2, "\"}", 2);
    ck_assert(client_send(&client, text, head + TEXT));
    for (i = 0; i < 600 && closed(f.port, "answer_timeout") == 0; i++) {
        ck_assert_int_gt(recv(client.fd, sink, 100, 0), 0); /* it takes a little, now and then */
        pause_ms(50);
    }
    ck_assert_double_eq(closed(f.port, "answer_timeout"), 1);
    client_close(&client);
    free(text);
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        slow_headers_are_cut,       slow_headers_of_a_later_request_are_cut, slow_bodies_are_cut,
        patience_within_the_limits, a_reader_that_does_not_read_is_cut,
    };
    return run_tests("slow_clients", 40, tests, sizeof(tests) / sizeof(*tests));
}

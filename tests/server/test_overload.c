/* test_overload.c: what is refused before it is read, and how much the bodies take that are. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/internal.h"
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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
    request(f.port, "POST", "/predict", large_body(), &reply);
    expect_reply(&reply, 200, "sentiment");
    expect_bodies(&f, 0);
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        bodies_that_arrive_are_bounded_together,
        a_body_that_is_alone_has_room,
    };
    return run_tests("overload", 30, tests, sizeof(tests) / sizeof(*tests));
}

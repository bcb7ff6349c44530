/* test_messages.c: requests as HTTP has them: types, framing, targets, sizes, ids, timeouts and pipelines. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/server/server_fixture.h"
#include "tests/suite.h"

/* Sends bytes on a new connection and reads one answer; the connection stays open. */
static void send_raw(const struct fixture *f, struct client *client, const char *text,
                     struct reply *reply)
{
    ck_assert(client_open(client, f->port));
    client_send_text(client, text);
    client_read(client, false, reply);
}

START_TEST(content_types)
{
    static const struct {
        const char *header;
        int status;
    } cases[] = {{"", 200},
                 {"Content-Type: application/json; charset=utf-8\r\n", 200},
                 {"content-type: APPLICATION/JSON\r\n", 200},
                 {"Content-Encoding: identity\r\n", 200},
                 {"Content-Type: text/plain\r\n", 415},
                 {"Content-Type: application/json5\r\n", 415},
                 {"Content-Type: multipart/form-data; boundary=x\r\n", 415},
                 {"Content-Encoding: gzip\r\n", 415}};
    struct fixture f;
    struct client client;
    struct reply reply;
    char text[300];
    size_t i;
    start(&f, "fake");
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(
            text, sizeof(text),
            "POST /predict HTTP/1.1\r\nHost: x\r\n%sContent-Length: 12\r\n\r\n{\"text\":\"x\"}",
            cases[i].header);
        send_raw(&f, &client, text, &reply);
        ck_assert_msg(reply.status == cases[i].status, "%s%s", cases[i].header, reply.body);
        client_close(&client);
    }
    stop(&f);
}
END_TEST

/* Reads on until the server closes the connection: false when it stays open, or a request is
 * answered with success. */
static bool ends_without_success(struct client *client)
{
    struct reply reply;
    do {
        client_read(client, false, &reply);
        if (reply.status >= 200 && reply.status < 300)
            return false;
    } while (reply.status);
    return client_is_closed(client) && !memmem(client->received, client->length, " 200 OK", 7);
}

START_TEST(doubtful_framing_is_refused)
{
    static const struct {
        const char *headers;
        const char *message; /* NULL: refused by the library, in words of its own */
    } cases[] = {
        {"Host: x\r\nContent-Length: 12\r\nContent-Length: 12\r\n", "more than once"},
        {"Host: x\r\nContent-Length: 12\r\nContent-Length: 5\r\n", "more than once"},
        {"Host: x\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n", "both given"},
        {"Host: x\r\nTransfer-Encoding: xchunked\r\n", "must be chunked"},
        {"Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
         "more than once"},
        {"Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", "more than once"},
        {"Host: x\r\nContent-Length : 12\r\n", "the name of a header"},
        {"Host: x\r\nTransfer-Encoding\t: chunked\r\n", "the name of a header"},
        {" X: y\r\nHost: x\r\nContent-Length: 12\r\n", "the name of a header"},
        {"Host: x\r\nX(y: z\r\nContent-Length: 12\r\n", "the name of a header"},
        {"Host: x\r\nX: a\rContent-Length: 12\r\n", "the value of a header"},
        {"Host: x\r\nX: a\r\n Content-Length: 3\r\n", "folded"},
        {"Host: x\r\nX: a\r\n\tb\r\nContent-Length: 12\r\n", "folded"},
        {"Host: x\r\nContent-Len: 12\r\n gth\r\n", "folded"},
        {"Host: x\r\n", "the body is empty"},
        {"Host: x\r\nHost: y\r\nContent-Length: 12\r\n", "Host is given more than once"},
        {"Host: x\r\nContent-Length: -1\r\n", NULL},
        {"Host: x\r\nContent-Length: +5\r\n", NULL},
        {"Host: x\r\nContent-Length: 5,5\r\n", NULL},
        {"Host: x\r\nContent-Length: 18446744073709551617\r\n", NULL},
        {"Host: x\r\nContent-Length: 0xc\r\n", NULL},
        {"Host: x\r\nContent-Length:\r\n", NULL},
        {"Content-Length: 12\r\n", "Host is missing"},
    };
    struct fixture f;
    struct client client;
    struct reply reply;
    char text[400];
    size_t i;
    start(&f, "fake");
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(text, sizeof(text), "POST /predict HTTP/1.1\r\n%s\r\n{\"text\":\"x\"}",
                 cases[i].headers);
        send_raw(&f, &client, text, &reply);
        if (cases[i].message)
            ck_assert_msg(reply.status == 400 && strstr(reply.body, cases[i].message), "%s%s",
                          cases[i].headers, reply.body);
        else
            ck_assert_msg(reply.status == 400 || reply.status == 413, "%s%d", cases[i].headers,
                          reply.status);
        ck_assert_msg(ends_without_success(&client), "answered again: %s", cases[i].headers);
        client_close(&client);
        request(f.port, "GET", "/health", NULL, &reply);
        ck_assert_int_eq(reply.status, 200);
    }
    stop(&f);
}
END_TEST

/* A request within what another reader may take for a body must not be answered. */
START_TEST(nothing_is_smuggled)
{
    static const struct {
        const char *headers;
        size_t length; /* 0: up to the NUL */
    } cases[] = {
        {"Content-Length : 33\r\n", 0},
        {"Transfer-Encoding\t: chunked\r\n", 0},
        {"X: a\r\n Content-Length: 33\r\n", 0},
        {"X: a\rContent-Length: 33\r\n", 0},
        {"X: a\0\r\n", 7},
        {"X\0: a\r\n", 7},
        {"Content-Length\0: 33\r\n", 21},
    };
    static const char start_line[] = "POST /predict HTTP/1.1\r\nHost: x\r\n";
    static const char rest[] = "\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    struct fixture f;
    struct client client;
    struct reply reply;
    size_t i;
    start(&f, "fake");
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t length = cases[i].length ? cases[i].length : strlen(cases[i].headers);
        char text[300];
        memcpy(text, start_line, sizeof(start_line) - 1);
        memcpy(text + sizeof(start_line) - 1, cases[i].headers, length);
        memcpy(text + sizeof(start_line) - 1 + length, rest, sizeof(rest) - 1);
        ck_assert(client_open(&client, f.port));
        client_send(&client, text, sizeof(start_line) + length + sizeof(rest) - 2);
        client_read(&client, false, &reply);
        ck_assert_msg(reply.status == 400, "case %zu: %d", i, reply.status);
        ck_assert_msg(ends_without_success(&client), "case %zu was answered twice", i);
        client_close(&client);
    }
    stop(&f);
}
END_TEST

START_TEST(request_targets)
{
    static const struct {
        const char *target;
        int status;
    } cases[] = {{"http://x/health", 200},
                 {"HTTPS://x:8080/health?a=b", 200},
                 {"http://x", 200},
                 {"http://x/nothing", 404},
                 {"http://x/health/../", 404},
                 {"ftp://x/health", 404},
                 {"/health y", 400},
                 {"/health?a b", 400}};
    struct fixture f;
    struct client client;
    struct reply reply;
    char text[200];
    size_t i;
    start(&f, "fake");
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", cases[i].target);
        send_raw(&f, &client, text, &reply);
        ck_assert_msg(reply.status == cases[i].status, "%s: %d", cases[i].target, reply.status);
        client_close(&client);
        /* and a client that leaves before its headers end */
        ck_assert(client_open(&client, f.port));
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHo", cases[i].target);
        client_send_text(&client, text);
        client_close(&client);
    }
    request(f.port, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    stop(&f);
}
END_TEST

START_TEST(a_large_body_is_refused_unread)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    static char megabyte[1 << 20];
    int i;
    start(&f, "fake");
    /* nothing but the headers */
    send_raw(&f, &client, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2000001\r\n\r\n",
             &reply);
    expect_reply(&reply, 413, "the body has 2000001 bytes, at most 2000000 are accepted");
    client_close(&client);
    /* a client that sends it all before it reads still sees the answer */
    ck_assert(client_open(&client, f.port));
    client_send_text(&client,
                     "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\n\r\n");
    memset(megabyte, 'x', sizeof(megabyte));
    for (i = 0; i < 4; i++)
        ck_assert(client_send(&client, megabyte, sizeof(megabyte)));
    client_read(&client, false, &reply);
    expect_reply(&reply, 413, "4194304 bytes");
    client_close(&client);
    /* one that waits for leave to send */
    send_raw(&f, &client,
             "POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
             "Content-Length: 2000001\r\n\r\n",
             &reply);
    ck_assert_int_eq(reply.status, 413);
    client_close(&client);
    stop(&f);
}
END_TEST

START_TEST(chunks)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    char chunk[1100];
    int i;
    prepare(&f, "fake");
    f.options.max_body = 10000;
    launch(&f);
    send_raw(&f, &client,
             "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
             "7\r\n{\"text\"\r\n5;x=y\r\n:\"x\"}\r\n0\r\n\r\n",
             &reply);
    expect_reply(&reply, 200, "\"text\":\"x\"");
    /* a body that grows over the limit */
    client_send_text(&client,
                     "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    snprintf(chunk, sizeof(chunk), "3e8\r\n%01000d\r\n", 0);
    for (i = 0; i < 20; i++)
        ck_assert(client_send_text(&client, chunk));
    client_send_text(&client, "0\r\n\r\n");
    client_read(&client, false, &reply);
    expect_reply(&reply, 413, "over 10000 bytes");
    client_close(&client);
    /* and one without an end is cut */
    ck_assert(client_open(&client, f.port));
    client_send_text(&client,
                     "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (i = 0; i < 100000 && client_send_text(&client, chunk); i++)
        continue;
    ck_assert_int_lt(i, 100000);
    client_close(&client);
    request(f.port, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    stop(&f);
}
END_TEST

START_TEST(expect_continue)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    start(&f, "fake");
    send_raw(&f, &client,
             "POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
             "Content-Length: 12\r\n\r\n",
             &reply);
    ck_assert_int_eq(reply.status, 100);
    client_send_text(&client, "{\"text\":\"x\"}");
    client_read(&client, false, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&client);
    /* no leave is given for a body that nobody wants */
    send_raw(&f, &client,
             "POST /nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
             "Content-Length: 12\r\n\r\n",
             &reply);
    ck_assert_int_eq(reply.status, 404);
    client_close(&client);
    stop(&f);
}
END_TEST

START_TEST(request_ids)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    char value[100], other[100];
    start(&f, "fake");
    send_raw(&f, &client, "GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: abc-123\r\n\r\n",
             &reply);
    reply_header(&reply, "X-Request-Id", value, sizeof(value));
    ck_assert_str_eq(value, "abc-123");
    client_request(&client, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    reply_header(&reply, "X-Request-Id", value, sizeof(value));
    client_request(&client, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    reply_header(&reply, "X-Request-Id", other, sizeof(other));
    ck_assert_uint_ge(strlen(value), 8);
    ck_assert_str_ne(value, other);
    client_close(&client);
    stop(&f);
}
END_TEST

/* Sends a text with a timeout header, and reads the answer. */
static void ask_within(struct client *client, const char *timeout, struct reply *reply)
{
    char text[300];
    snprintf(text, sizeof(text),
             "POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-Timeout-Ms: %s\r\n"
             "Content-Length: 12\r\n\r\n{\"text\":\"x\"}",
             timeout);
    ck_assert(client_send_text(client, text));
    client_read(client, false, reply);
}

START_TEST(timeouts_are_whole_milliseconds)
{
    static const char *const bad[] = {"0", "-5", "1.5", "5s", "+5", "0x10", "1e3", "000"};
    static const char *const good[] = {"10000", "00010000", "99999999999999999999999", "10000 \t"};
    struct fixture f;
    struct client client;
    struct reply reply;
    size_t i;
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char expected[100];
        ask_within(&client, bad[i], &reply);
        expect_reply(&reply, 400, "\"field\":\"X-Request-Timeout-Ms\"");
        snprintf(expected, sizeof(expected), "from 1, not \\\"%s\\\"", bad[i]);
        expect_reply(&reply, 400, expected);
    }
    for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
        ask_within(&client, good[i], &reply);
        ck_assert_int_eq(reply.status, 200);
    }
    ask_within(&client, "10000\r\nX-Request-Timeout-Ms: 10000", &reply);
    expect_reply(&reply, 400, "X-Request-Timeout-Ms is given more than once");
    ck_assert(client_is_closed(&client));
    client_close(&client);
    stop(&f);
}
END_TEST

START_TEST(pipelining_keeps_order)
{
    enum { REQUESTS = 50 };
    struct fixture f;
    struct client client;
    struct reply reply;
    char text[REQUESTS * 100] = "", expected[40];
    size_t length = 0;
    int i;
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    for (i = 0; i < REQUESTS; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length,
                                   "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
                                   "{\"text\":\"text %04d\"}",
                                   i);
    ck_assert(client_send(&client, text, length));
    for (i = 0; i < REQUESTS; i++) {
        client_read(&client, false, &reply);
        snprintf(expected, sizeof(expected), "\"text\":\"text %04d\"", i);
        expect_reply(&reply, 200, expected);
    }
    client_close(&client);
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
    launch(&f);
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
        content_types,
        doubtful_framing_is_refused,
        nothing_is_smuggled,
        request_targets,
        a_large_body_is_refused_unread,
        chunks,
        expect_continue,
        request_ids,
        timeouts_are_whole_milliseconds,
        pipelining_keeps_order,
        the_log_is_clean,
    };
    return run_tests("messages", 30, tests, sizeof(tests) / sizeof(*tests));
}

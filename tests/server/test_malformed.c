/* test_malformed.c: bytes that are no proper HTTP, or too much of it: each gets a definite answer or
 * a closed connection, and the next good request is answered. test_http.c has what the server refuses
 * by itself; much of this is refused, or let through, by the HTTP library. */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/server/server_fixture.h"
#include "tests/suite.h"

#define POST "POST /predict HTTP/1.1\r\nHost: x\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define GET_HEALTH "GET /health HTTP/1.1\r\nHost: x\r\n"
#define BODY "{\"text\":\"x\"}" /* 12 bytes */
#define SECOND "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"

/* Statuses of all answers that have come, such as "200 404", and whether the server closed the connection, "|". */
static void list_statuses(const struct client *client, bool ended, char *list, size_t size)
{
    const char *text = client->received;
    size_t used = 0, at;
    list[0] = '\0';
    for (at = 0; at + 12 <= client->length; at++)
        if (memcmp(text + at, "HTTP/1.", 7) == 0 && text[at + 8] == ' ' && used + 8 < size)
            used += (size_t)snprintf(list + used, size - used, "%s%.3s", used ? " " : "",
                                     text + at + 9);
    snprintf(list + used, size - used, "%s", ended ? "|" : "");
}

/* The same of what comes: until it is what is expected, and nothing else comes for a moment. NULL expects the end. */
static void statuses(struct client *client, const char *expected, char *list, size_t size)
{
    struct pollfd fd = {.fd = client->fd, .events = POLLIN};
    bool ended = false;
    client->length = 0;
    list_statuses(client, ended, list, size);
    while (!ended && client->length < CLIENT_BUFFER &&
           poll(&fd, 1, expected && strcmp(list, expected) == 0 ? 200 : (int)patience_ms()) > 0) {
        ssize_t got =
            recv(client->fd, client->received + client->length, CLIENT_BUFFER - client->length, 0);
        ended = got <= 0;
        client->length += got > 0 ? (size_t)got : 0;
        list_statuses(client, ended, list, size);
    }
}

static void expect_health(const struct fixture *f)
{
    struct reply reply;
    request(f->port, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
}

struct malformed {
    const char *text;
    size_t length;        /* 0: up to the NUL */
    const char *expected; /* see statuses; "" for nothing at all while the client waits */
};

#define WITH_NUL(text_, expected_)                                                                 \
    {                                                                                              \
        text_, sizeof(text_) - 1, expected_                                                        \
    }

static void expect_each(const struct malformed *cases, size_t count)
{
    struct fixture f;
    struct client client;
    char found[200];
    size_t i;
    start(&f, "fake");
    for (i = 0; i < count; i++) {
        size_t length = cases[i].length ? cases[i].length : strlen(cases[i].text);
        ck_assert(client_open(&client, f.port));
        client_send(&client, cases[i].text, length);
        statuses(&client, cases[i].expected, found, sizeof(found));
        ck_assert_msg(strcmp(found, cases[i].expected) == 0, "case %zu: \"%s\", not \"%s\":\n%s", i,
                      found, cases[i].expected, cases[i].text);
        client_close(&client);
        expect_health(&f);
    }
    stop(&f);
}

START_TEST(chunks_that_are_none)
{
    static const struct malformed cases[] = {
        {CHUNKED "zz\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "-c\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "+c\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "0xc\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED " c\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "c \r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "c\r\n" BODY "0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "b\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {CHUNKED "1000000000000000c\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "413|"},
        /* the body goes on: nothing in it is a request */
        {CHUNKED "ffffffffffffffff\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, ""},
        {CHUNKED "c\r\n" BODY "\r\n", 0, ""},
        {CHUNKED "c\r\n" BODY "\r\n0\r\nno colon\r\n\r\n" SECOND, 0, "400|"},
        /* let through: zeros in front, extensions, trailers, lines that end in LF alone */
        {CHUNKED "000000000000000000000c\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "200 404"},
        {CHUNKED "c;a=b;c=\"d\"\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "200 404"},
        {CHUNKED "c\r\n" BODY "\r\n0\r\nContent-Length: 50\r\n\r\n" SECOND, 0, "200 404"},
        {CHUNKED "c\n" BODY "\n0\n\n" SECOND, 0, "200 404"},
        {CHUNKED "c;\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "200 404"},
    };
    expect_each(cases, sizeof(cases) / sizeof(*cases));
}
END_TEST

START_TEST(request_lines_that_are_none)
{
    static const char hello[200] = "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03";
    static const struct malformed cases[] = {
        WITH_NUL("GET /health\0x HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, "400|"),
        WITH_NUL("GET /health\0HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, "400|"),
        {"GET /health%00 HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"GET /%2e%2e/health HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"GET /%2fhealth HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"GET /%68ealth?%00 HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "200 404"},
        {"GET /health#x HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"GET /health\rx HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"GET health HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "404 404"},
        {"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "405 404"},
        {"get /health HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "405 404"},
        {"GET /health HTTP/9.9\r\nHost: x\r\n\r\n" SECOND, 0, "505|"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, "505|"},
        {"GET /health HTTP/1.10\r\nHost: x\r\n\r\n" SECOND, 0, "400|"},
        {"GET /health http/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "400|"},
        {"GET /health\r\n\r\n" SECOND, 0, "400|"},
        {"GET\t/health\tHTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "|"},
        {" GET /health HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "|"},
        {"\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, 0, "200 404"},
        {"GET /health HTTP/1.1\nHost: x\n\n" SECOND, 0, "200 404"},
        {GET_HEALTH "no colon\r\n\r\n" SECOND, 0, "400|"},
        {GET_HEALTH ": no name\r\n\r\n" SECOND, 0, "200 404"},
        /* a TLS hello: no line ends in it */
        {hello, sizeof(hello), ""},
    };
    expect_each(cases, sizeof(cases) / sizeof(*cases));
}
END_TEST

START_TEST(framing_and_expectations)
{
    static const struct malformed cases[] = {
        {"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n" BODY "\r\n0\r\n\r\n",
         0, "400|"},
        {POST "Transfer-Encoding: gzip, chunked\r\n\r\nc\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0,
         "400|"},
        {POST "Transfer-Encoding: chunked \r\n\r\nc\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {POST "Transfer-Encoding: \vchunked\r\n\r\nc\r\n" BODY "\r\n0\r\n\r\n" SECOND, 0, "400|"},
        {POST "Transfer-Encoding: identity\r\nContent-Length: 12\r\n\r\n" BODY SECOND, 0, "400|"},
        {POST "Content-Length: 12 13\r\n\r\n" BODY SECOND, 0, "400 400|"},
        {POST "Content-Length: 012\r\n\r\n" BODY SECOND, 0, "200 404"},
        {POST "Content_Length: 12\r\n\r\n" BODY SECOND, 0, "400|"},
        {GET_HEALTH "Content-Length: 12\r\n\r\n" BODY SECOND, 0, "200 404"},
        {GET_HEALTH "Expect: 100-continue\r\n\r\n", 0, "100 200"},
        {POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", 0, "100 400"},
        {POST "Expect: magic\r\nContent-Length: 12\r\n\r\n" BODY SECOND, 0, "200 404"},
        {GET_HEALTH "Connection: close\r\n\r\n" SECOND, 0, "200|"},
        {"GET /health HTTP/1.0\r\n\r\n" SECOND, 0, "200|"},
        {"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" SECOND, 0, "200 404"},
        {"GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
         "GET /health HTTP/1.0\r\n\r\n" SECOND,
         0, "200 200|"},
    };
    expect_each(cases, sizeof(cases) / sizeof(*cases));
}
END_TEST

/* Fills memory with a piece of text, count times, between a start and an end; to be freed. */
static char *repeated(const char *begin, const char *piece, int count, const char *end)
{
    size_t size = strlen(begin) + strlen(piece) * (size_t)count + strlen(end) + 1;
    char *text = malloc(size), *to = text;
    int i;
    ck_assert_ptr_nonnull(text);
    to = stpcpy(to, begin);
    for (i = 0; i < count; i++)
        to = stpcpy(to, piece);
    stpcpy(to, end);
    return text;
}

START_TEST(too_much_of_it)
{
    static const struct {
        const char *begin, *piece;
        int count;
        const char *end, *expected;
    } cases[] = {
        {GET_HEALTH, "X: y\r\n", 10000, "\r\n" SECOND, "431|"},
        {GET_HEALTH "X: ", "yyyyyyyyyy", 100000, "\r\n\r\n" SECOND, "431|"},
        {GET_HEALTH "Cookie: ", "a=b; ", 3000, "\r\n\r\n" SECOND, NULL},
        {"GET /", "aaaaaaaaaa", 100000, " HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, "414|"},
        {"GET /health?", "a=b&", 50, " HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, "200 404"},
        {"GET /", "aaaaaaaaaa", 500, " HTTP/1.1\r\nHost: x\r\n\r\n" SECOND, "404 404"},
        {CHUNKED "c;", "xxxxxxxxxx", 10000, "\r\n" BODY "\r\n0\r\n\r\n" SECOND, "500|"},
        {CHUNKED "c;", "xxxxxxxxxx", 500, "\r\n" BODY "\r\n0\r\n\r\n" SECOND, "200 404"},
        {CHUNKED, "1\r\n \r\n", 1000000, "c\r\n" BODY "\r\n0\r\n\r\n" SECOND, "200 404"},
        {CHUNKED "c\r\n" BODY "\r\n0\r\n", "X: y\r\n", 100000, "\r\n" SECOND, NULL},
    };
    struct fixture f;
    struct client client;
    struct rusage usage;
    char found[200];
    size_t i;
    prepare(&f, "fake");
    f.options.max_body = 2000000;
    launch(&f);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = repeated(cases[i].begin, cases[i].piece, cases[i].count, cases[i].end);
        ck_assert(client_open(&client, f.port));
        client_send(&client, text, strlen(text));
        statuses(&client, cases[i].expected, found, sizeof(found));
        if (cases[i].expected)
            ck_assert_msg(strcmp(found, cases[i].expected) == 0, "case %zu: \"%s\", not \"%s\"", i,
                          found, cases[i].expected);
        else
            ck_assert_msg(found[0] != '\0' && !strstr(found, "200"), "case %zu: \"%s\"", i, found);
        client_close(&client);
        free(text);
        expect_health(&f);
    }
    getrusage(RUSAGE_SELF, &usage);
    ck_assert_int_lt(usage.ru_maxrss, 400 * 1024); /* kilobytes: sanitizers take most of it */
    stop(&f);
}
END_TEST

/* More parameters than the library has memory for: it does not answer, and the deadline for headers
 * ends it. */
START_TEST(parameters_without_end)
{
    struct fixture f;
    struct client client;
    char found[200], *text = repeated("GET /health?", "a=b&", 2000, " HTTP/1.1\r\nHost: x\r\n\r\n");
    prepare(&f, "fake");
    f.options.header_timeout_seconds = 1;
    launch(&f);
    ck_assert(client_open(&client, f.port));
    client_send_text(&client, text);
    statuses(&client, NULL, found, sizeof(found));
    ck_assert_ptr_null(strstr(found, "200"));
    ck_assert_ptr_nonnull(strchr(found, '|'));
    client_close(&client);
    free(text);
    expect_health(&f);
    stop(&f);
}
END_TEST

START_TEST(clients_that_leave)
{
    static const char *const left[] = {
        POST "Content-Length: 12\r\n\r\n{\"tex",
        CHUNKED "c\r\n{\"te",
        CHUNKED "c",
        POST "Content-Le",
        "PO",
        POST "Content-Length: 12\r\n\r\n" BODY, /* while it is computed */
    };
    struct fixture f;
    struct client client;
    struct reply reply;
    const struct linger at_once = {1, 0};
    size_t i;
    int reset;
    start(&f, "fake:slow=50");
    for (reset = 0; reset < 2; reset++)
        for (i = 0; i < sizeof(left) / sizeof(*left); i++) {
            ck_assert(client_open(&client, f.port));
            client_send_text(&client, left[i]);
            pause_ms(20);
            if (reset)
                setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
            client_close(&client);
            request(f.port, "POST", "/predict", BODY, &reply);
            expect_reply(&reply, 200, "sentiment");
        }
    wait_for_in_flight(&f, 0);
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        chunks_that_are_none, request_lines_that_are_none, framing_and_expectations,
        too_much_of_it,       parameters_without_end,      clients_that_leave,
    };
    return run_tests("malformed", 60, tests, sizeof(tests) / sizeof(*tests));
}

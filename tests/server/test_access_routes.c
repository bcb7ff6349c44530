/* test_access_routes.c: who may ask for what, over sockets. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/access.h"
#include "server/exchange.h"
#include "server/router.h"
#include "tests/server/access_files.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

static const struct server_log silent = {.fd = -1};

/* Asks with header lines, and a body where the method is POST. */
static void ask(int port, const char *method, const char *path, const char *headers,
                struct reply *reply)
{
    static const char body[] = "{\"text\":\"sky\"}";
    char text[2048];
    struct client client;
    bool post = strcmp(method, "POST") == 0;
    memset(reply, 0, sizeof(*reply));
    ck_assert(client_open(&client, port));
    snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: test\r\n%s%s\r\n%s", method, path,
             headers, post ? "Content-Length: 14\r\n" : "", post ? body : "");
    client_send_text(&client, text);
    client_read(&client, false, reply);
    client_close(&client);
}

/* Starts a server that the keys of a file guard. */
static void start_guarded(struct fixture *f, const char *keys)
{
    prepare(f, "fake");
    f->options.access.api_keys = keys;
    launch(f);
}

static void expect_challenge(const struct reply *reply, const char *wanted)
{
    char value[200];
    reply_header(reply, "WWW-Authenticate", value, sizeof(value));
    ck_assert_str_eq(value, wanted);
}

START_TEST(keys_guard_everything_but_health)
{
    struct fixture f;
    struct reply reply;
    char path[64];
    write_text(path, "shop " HASH_A " scope=predict\nops " HASH_B " scope=metrics,admin\n");
    start_guarded(&f, path);
    ask(f.port, "GET", "/health", "", &reply);
    expect_reply(&reply, 200, "healthy");
    ask(f.port, "GET", "/health", "X-API-Key: wrong\r\n", &reply);
    expect_reply(&reply, 200, "healthy");
    ask(f.port, "GET", "/", "", &reply);
    expect_reply(&reply, 401, "\"error_type\":\"Unauthorized\"");
    ask(f.port, "POST", "/predict", "", &reply);
    expect_reply(&reply, 401, "a credential is needed");
    expect_challenge(&reply, "Bearer realm=\"distild\"");
    ask(f.port, "POST", "/predict", "Authorization: Basic YTpi\r\n", &reply);
    expect_reply(&reply, 401, "a credential is needed");
    ask(f.port, "POST", "/predict", "X-API-Key: ab\r\n", &reply);
    expect_reply(&reply, 401, "the credential is not known");
    expect_challenge(&reply, "Bearer realm=\"distild\", error=\"invalid_token\"");
    ck_assert_ptr_null(strstr(reply.body, "\"ab\""));
    ask(f.port, "POST", "/predict", "X-API-Key: abc\r\n", &reply);
    expect_reply(&reply, 200, "sentiment");
    ask(f.port, "POST", "/predict", "Authorization: Bearer abc\r\n", &reply);
    expect_reply(&reply, 200, "sentiment");
    ask(f.port, "POST", "/predict", "authorization: bearer  abc\r\n", &reply);
    expect_reply(&reply, 200, "sentiment");
    ask(f.port, "POST", "/predict", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 403, "key:ops may not do this: the scope predict is needed");
    expect_challenge(&reply, "Bearer realm=\"distild\", error=\"insufficient_scope\", "
                             "scope=\"predict\"");
    ask(f.port, "GET", "/", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 200, "distild");
    ask(f.port, "POST", "/predict", "X-API-Key: abc\r\nX-API-Key: abc\r\n", &reply);
    expect_reply(&reply, 400, "X-API-Key is given more than once");
    ask(f.port, "POST", "/predict", "Authorization: x\r\nAuthorization: Bearer abc\r\n", &reply);
    expect_reply(&reply, 400, "Authorization is given more than once");
    stop(&f);
    unlink(path);
}
END_TEST

/* A browser cannot be told a header. What it asks its user for, it sends again whoever made it ask: so that changes nothing. */
START_TEST(a_browser_opens_pages_with_a_key_for_a_password)
{
    static const char html[] = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    static const char wanted[] = "Basic realm=\"distild\", charset=\"UTF-8\"";
    static const struct {
        const char *path, *credentials;
        int status;
    } cases[] = {
        {"/docs", "", 401},
        {"/docs", "Basic OmFiYw==", 200}, /* :abc */
        {"/docs", "Basic YW55OmFiYw==", 200},
        {"/openapi.json", "basic  OmFiYw==", 200}, /* any:abc */
        {"/", "Basic OmFiYw==", 200},
        {"/metrics", "Basic OmFiYw==", 403}, /* shop may predict */
        {"/metrics", "Basic OmRlZg==", 200},
        {"/docs", "Basic OmFi", 401}, /* :def, :ab */
        {"/docs", "Basic YWJj", 401},
        {"/docs", "Basic !!!!", 401}, /* abc */
        {"/docs", "Basic ", 401},
        {"/docs", "Basic OmFiYwA=", 401}, /* :abc and a NUL */
        {"/docs", "Basic YTphYmM6", 401},
        {"/protected", "Basic OmFiYw==", 401}, /* a:abc: */
        {"/health", "Basic !!!!", 200},
    };
    struct fixture f;
    struct reply reply;
    char path[64], headers[300], long_one[1500];
    write_text(path, "shop " HASH_A " scope=predict\nops " HASH_B " scope=metrics\n");
    start_guarded(&f, path);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        snprintf(headers, sizeof(headers), "%s%s%s%s", html,
                 *cases[i].credentials ? "Authorization: " : "", cases[i].credentials,
                 *cases[i].credentials ? "\r\n" : "");
        ask(f.port, "GET", cases[i].path, headers, &reply);
        ck_assert_msg(reply.status == cases[i].status, "%s %s: %d", cases[i].path,
                      cases[i].credentials, reply.status);
        if (cases[i].status == 401 && strcmp(cases[i].path, "/protected") != 0)
            expect_challenge(&reply, wanted);
    }
    /* pages' own requests are not asked for a password, and POST takes none */
    ask(f.port, "GET", "/openapi.json", "Accept: */*\r\n", &reply);
    expect_challenge(&reply, "Bearer realm=\"distild\"");
    ask(f.port, "POST", "/predict", "Authorization: Basic OmFiYw==\r\n", &reply);
    expect_reply(&reply, 401, "a credential is needed");
    expect_challenge(&reply, "Bearer realm=\"distild\"");
    ask(f.port, "GET", "/docs", "X-API-Key: ab\r\nAuthorization: Basic OmFiYw==\r\n", &reply);
    expect_reply(&reply, 401, "not known");
    memset(long_one, 'A', sizeof(long_one));
    memcpy(long_one, "Authorization: Basic ", strlen("Authorization: Basic "));
    memcpy(long_one + sizeof(long_one) - 3, "\r\n", 3);
    ask(f.port, "GET", "/docs", long_one, &reply);
    expect_reply(&reply, 401, "not known");
    stop(&f);
    /* where nobody needs a key, whatever a proxy passes on of its own is nobody's business */
    prepare(&f, "fake");
    f.options.access.api_keys = path;
    f.options.access.allow_anonymous = true;
    launch(&f);
    ask(f.port, "GET", "/docs", "Authorization: Basic YTpi\r\n", &reply);
    expect_reply(&reply, 200, "html");
    stop(&f);
    unlink(path);
}
END_TEST

START_TEST(keys_are_read_again_and_kept_where_that_fails)
{
    struct fixture f;
    struct reply reply;
    char path[64], next[64];
    write_text(path, "shop " HASH_A " scope=predict\n");
    start_guarded(&f, path);
    write_text(next, "shop " HASH_B " scope=predict,metrics\n");
    ck_assert_int_eq(rename(next, path), 0);
    server_reload(f.server);
    ask(f.port, "POST", "/predict", "X-API-Key: abc\r\n", &reply);
    expect_reply(&reply, 401, "not known");
    ask(f.port, "POST", "/predict", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 200, "sentiment");
    write_text(next, "shop " HASH_A "\n");
    ck_assert_int_eq(rename(next, path), 0);
    server_reload(f.server);
    ask(f.port, "POST", "/predict", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 200, "sentiment");
    write_text(next, "# none\n");
    ck_assert_int_eq(rename(next, path), 0);
    server_reload(f.server);
    ask(f.port, "POST", "/predict", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 200, "sentiment");
    ask(f.port, "GET", "/metrics", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 200, "distild_reloads_total{what=\"keys\",outcome=\"success\"} 1\n");
    expect_reply(&reply, 200, "distild_reloads_total{what=\"keys\",outcome=\"failure\"} 2\n");
    stop(&f);
    unlink(path);
}
END_TEST

START_TEST(anonymous_beside_keys)
{
    struct fixture f;
    struct reply reply;
    char path[64];
    write_text(path, "ops " HASH_B " scope=metrics\n");
    prepare(&f, "fake");
    f.options.access.api_keys = path;
    f.options.access.allow_anonymous = true;
    launch(&f);
    ask(f.port, "POST", "/predict", "", &reply);
    expect_reply(&reply, 200, "sentiment");
    ask(f.port, "POST", "/predict", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 200, "sentiment");
    /* who shows a key that is none should hear of it */
    ask(f.port, "POST", "/predict", "X-API-Key: abc\r\n", &reply);
    expect_reply(&reply, 401, "not known");
    stop(&f);
    unlink(path);
}
END_TEST

START_TEST(admin_routes_always_need_a_credential)
{
    static const struct server_route admin = {.method = "POST", .needs = SERVER_SCOPE_ADMIN};
    static const struct {
        bool allow_anonymous, keys;
        const char *shown;
        unsigned status; /* 0: let through */
    } cases[] = {{false, false, NULL, 401}, {true, false, NULL, 401}, {true, false, "def", 401},
                 {true, true, NULL, 401},   {true, true, "abc", 403}, {true, true, "abd", 401},
                 {true, true, "def", 0},    {false, true, "def", 0},  {false, true, "abc", 403}};
    char path[64];
    size_t i;
    write_text(path, "shop " HASH_A " scope=predict,metrics\nops " HASH_B " scope=admin\n");
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct server_access_options options = {.allow_anonymous = cases[i].allow_anonymous,
                                                .api_keys = cases[i].keys ? path : NULL};
        struct server_exchange exchange = {.route = &admin};
        struct server_headers headers = {.api_key = cases[i].shown};
        struct server_access *access;
        ck_assert_int_eq(server_access_create(&options, &silent, &access, NULL), DISTIL_OK);
        ck_assert_msg(server_access_admit(access, &exchange, &headers) == !cases[i].status, "%zu",
                      i);
        ck_assert_uint_eq(exchange.status, cases[i].status);
        free(exchange.answer);
        server_access_free(access);
    }
    unlink(path);
}
END_TEST

START_TEST(rates_are_held_for_each_client)
{
    struct fixture f;
    struct reply reply;
    char path[64], value[16];
    int i;
    write_text(path, "slow " HASH_A " scope=predict rate=1/h:2\nfast " HASH_B " scope=predict\n"
                     "ops " HASH_C " scope=metrics rate=1/h:1\n");
    prepare(&f, "fake");
    f.options.access.api_keys = path;
    f.options.access.rate_limit = "2/h:3";
    launch(&f);
    for (i = 0; i < 2; i++) {
        ask(f.port, "POST", "/predict", "X-API-Key: abc\r\n", &reply);
        expect_reply(&reply, 200, "sentiment");
    }
    ask(f.port, "POST", "/predict", "X-API-Key: abc\r\n", &reply);
    expect_reply(&reply, 429, "\"error_type\":\"RateLimited\"");
    reply_header(&reply, "Retry-After", value, sizeof(value));
    ck_assert_str_eq(value, "3600");
    server_reload(f.server); /* which gives nobody another turn */
    ask(f.port, "POST", "/predict", "X-API-Key: abc\r\n", &reply);
    expect_reply(&reply, 429, "RateLimited");
    for (i = 0; i < 3; i++) {
        ask(f.port, "POST", "/predict", "X-API-Key: def\r\n", &reply);
        expect_reply(&reply, 200, "sentiment");
    }
    ask(f.port, "POST", "/predict", "X-API-Key: def\r\n", &reply);
    expect_reply(&reply, 429, "RateLimited");
    /* the address, for those who show nothing or nonsense */
    for (i = 0; i < 3; i++) {
        ask(f.port, "POST", "/predict", i ? "" : "X-API-Key: x\r\n", &reply);
        expect_reply(&reply, 401, "credential");
    }
    ask(f.port, "POST", "/predict", "", &reply);
    expect_reply(&reply, 429, "RateLimited");
    for (i = 0; i < 10; i++) {
        ask(f.port, "GET", "/health", "", &reply);
        expect_reply(&reply, 200, "healthy");
    }
    ask(f.port, "GET", "/metrics", "X-API-Key: ghi\r\n", &reply);
    expect_reply(&reply, 200, "distild_requests_shed_total{reason=\"rate_limit\"} 4\n");
    stop(&f);
    unlink(path);
}
END_TEST

START_TEST(reachable_addresses_need_credentials)
{
    static const char *const open[] = {"0.0.0.0", "::", "::ffff:0.0.0.0"};
    static const char *const own[] = {"127.0.0.1", "127.1.2.3", "localhost"};
    struct fixture f;
    distil_error error;
    size_t i;
    prepare(&f, "fake");
    for (i = 0; i < sizeof(open) / sizeof(*open); i++) {
        f.options.host = open[i];
        ck_assert_int_eq(server_start(&f.options, &f.server, &error), DISTIL_INVALID);
        ck_assert_ptr_nonnull(strstr(error.message, "--allow-anonymous"));
    }
    for (i = 0; i < sizeof(own) / sizeof(*own); i++) {
        f.options.host = own[i];
        begin(&f);
        server_free(f.server);
    }
    f.options.access.allow_anonymous = true;
    f.options.host = "0.0.0.0";
    begin(&f);
    stop(&f);
}
END_TEST

START_TEST(bad_options_are_explained)
{
    struct fixture f;
    distil_error error;
    prepare(&f, "fake");
    f.options.access.rate_limit = "fast";
    ck_assert_int_eq(server_start(&f.options, &f.server, &error), DISTIL_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "rate-limit: 'fast' is no rate"));
    f.options.access.rate_limit = NULL;
    f.options.access.api_keys = "/nonexistent/keys";
    ck_assert_int_eq(server_start(&f.options, &f.server, &error), DISTIL_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "/nonexistent/keys"));
    close(f.options.log.fd);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        keys_guard_everything_but_health,
        a_browser_opens_pages_with_a_key_for_a_password,
        keys_are_read_again_and_kept_where_that_fails,
        anonymous_beside_keys,
        admin_routes_always_need_a_credential,
        rates_are_held_for_each_client,
        reachable_addresses_need_credentials,
        bad_options_are_explained,
    };
    return run_tests("access_routes", 30, tests, sizeof(tests) / sizeof(*tests));
}

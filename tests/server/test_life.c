/* test_life.c: how a server begins and ends. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

START_TEST(loading_is_503)
{
    struct fixture f;
    struct reply reply;
    prepare(&f, "fake");
    begin(&f);
    request(f.port, "GET", "/health", NULL, &reply);
    expect_reply(&reply, 503, "{\"status\":\"loading\",\"model_loaded\":false,\"device\":\"cpu\"}");
    request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 503, "being loaded");
    request(f.port, "GET", "/", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    load(&f);
    request(f.port, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    stop(&f);
}
END_TEST

START_TEST(draining_answers_what_was_accepted)
{
    struct fixture f;
    struct client idle;
    struct client slow[10];
    struct reply reply;
    char value[20];
    int i;
    prepare(&f, "fake:gate");
    f.options.max_batch_tokens = 6; /* two texts a batch, so that some wait */
    launch(&f);
    fake_shut();
    ck_assert(client_open(&idle, f.port));
    client_request(&idle, "GET", "/health", NULL, &reply);
    for (i = 0; i < 10; i++) {
        ck_assert(client_open(&slow[i], f.port));
        client_send_text(&slow[i], "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                   "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
    }
    server_drain(f.server); /* at once: some are still in the kernel's queue */
    ck_assert(!server_drained(f.server));
    ck_assert(!client_open(&(struct client){0}, f.port));
    client_request(&idle, "GET", "/health", NULL, &reply);
    expect_reply(&reply, 503, "{\"status\":\"draining\",\"model_loaded\":true,\"device\":\"cpu\"}");
    reply_header(&reply, "Connection", value, sizeof(value));
    ck_assert_str_eq(value, "close");
    client_close(&idle);
    ck_assert(!server_drained(f.server));
    fake_open();
    for (i = 0; i < 10; i++) {
        client_read(&slow[i], false, &reply);
        ck_assert_msg(reply.status == 200, "%d: %d %s", i, reply.status, reply.body);
        client_close(&slow[i]);
    }
    wait_until(server_drained(f.server));
    stop(&f);
}
END_TEST

START_TEST(ending_answers_what_still_waits)
{
    struct fixture f;
    struct client slow[6];
    struct reply reply;
    int i, answered = 0, given_up = 0;
    prepare(&f, "fake:gate:slow=1000");
    f.options.max_batch_tokens = 1;
    launch(&f);
    fake_shut();
    for (i = 0; i < 6; i++) {
        ck_assert(client_open(&slow[i], f.port));
        client_send_text(&slow[i], "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                   "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
    }
    wait_for_suspended(&f, 6);
    fake_open();
    stop(&f); /* without waiting for the drain, and while the first is computed */
    for (i = 0; i < 6; i++) {
        client_read(&slow[i], false, &reply);
        answered += reply.status == 200;
        given_up += reply.status == 503;
        client_close(&slow[i]);
    }
    ck_assert_int_eq(answered, 1);
    ck_assert_int_eq(given_up, 5);
}
END_TEST

enum { CALLERS = 6 };

struct caller {
    int port;
    atomic_long *answered, *cut;
};

/* Opens a connection for each request until none can be opened. */
static void *call(void *argument)
{
    const struct caller *caller = argument;
    struct client client;
    struct reply reply;
    while (client_open(&client, caller->port)) {
        client_send_text(&client, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client_read(&client, false, &reply);
        atomic_fetch_add(reply.status ? caller->answered : caller->cut, 1);
        client_close(&client);
    }
    return NULL;
}

/* However the end of a connection's handshake and that of the listener meet. */
START_TEST(draining_cuts_no_new_connection)
{
    atomic_long answered, cut;
    int round, i;
    atomic_init(&answered, 0);
    atomic_init(&cut, 0);
    for (round = 0; round < 3; round++) {
        struct fixture f;
        pthread_t threads[CALLERS];
        struct caller caller;
        start(&f, "fake");
        caller = (struct caller){f.port, &answered, &cut};
        for (i = 0; i < CALLERS; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, call, &caller), 0);
        pause_ms(20);
        server_drain(f.server);
        for (i = 0; i < CALLERS; i++)
            pthread_join(threads[i], NULL);
        stop(&f);
    }
    ck_assert_int_gt(atomic_load(&answered), CALLERS);
    ck_assert_int_eq(atomic_load(&cut), 0);
}
END_TEST

static const char half_a_request[] = "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                     "Content-Length: 12\r\n\r\n{\"text\"";

/* A request whose headers have come is received whole, as long as its client is not too slow. */
START_TEST(draining_waits_for_bodies)
{
    struct fixture f;
    struct client client;
    struct reply reply;
    start(&f, "fake");
    ck_assert(client_open(&client, f.port));
    client_send_text(&client, half_a_request);
    wait_until(server_arriving(f.server) == 1);
    server_drain(f.server);
    pause_ms(200); /* longer than a request may take to show itself */
    ck_assert(!server_drained(f.server));
    client_send_text(&client, ":\"x\"}");
    client_read(&client, false, &reply);
    ck_assert_msg(reply.status == 200, "%d %s", reply.status, reply.body);
    client_close(&client);
    wait_until(server_drained(f.server));
    stop(&f);

    prepare(&f, "fake");
    f.options.body_timeout_seconds = 1;
    launch(&f);
    ck_assert(client_open(&client, f.port));
    client_send_text(&client, half_a_request);
    wait_until(server_arriving(f.server) == 1);
    server_drain(f.server);
    ck_assert(!server_drained(f.server));
    wait_until(server_drained(f.server));
    ck_assert(client_is_closed(&client));
    client_close(&client);
    stop(&f);
}
END_TEST

/* A connection that was accepted just before may be in the middle of its handshake, or wait for a core. */
START_TEST(draining_waits_for_first_requests)
{
    struct fixture f;
    struct client client, idle;
    struct reply reply;
    int64_t began;
    bool drained;
    start(&f, "fake");
    ck_assert(client_open(&idle, f.port));
    client_request(&idle, "GET", "/health", NULL, &reply);
    began = server_now();
    ck_assert(client_open(&client, f.port));
    server_drain(f.server);
    pause_ms(200); /* longer than a request may take to show itself on another connection */
    drained = server_drained(f.server);
    ck_assert(!drained || seconds_since(began) > 0.9);
    client_send_text(&client, "POST /predict HTTP/1.1\r\nHost: x\r\n"
                              "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
    client_read(&client, false, &reply);
    ck_assert_msg(reply.status == 200, "%d %s", reply.status, reply.body);
    wait_for_in_flight(&f, 0);
    pause_ms(20);
    ck_assert(server_drained(f.server)); /* the idle one is not waited for */
    client_close(&client);
    client_close(&idle);
    stop(&f);

    start(&f, "fake");
    began = server_now();
    ck_assert(client_open(&client, f.port));
    server_drain(f.server);
    wait_until(server_drained(f.server)); /* nor for long one that stays silent */
    ck_assert_double_gt(seconds_since(began), 0.9);
    client_close(&client);
    stop(&f);
}
END_TEST

START_TEST(bad_starts_say_why)
{
    struct fixture f, g;
    distil_error error;
    struct server *server = NULL;
    start(&f, "fake");
    prepare(&g, "fake");
    g.options.port = (uint16_t)f.port;
    ck_assert_int_eq(server_start(&g.options, &server, &error), DISTIL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "cannot listen on 127.0.0.1 port"));
    g.options.port = 0;
    g.options.host = "no such host";
    ck_assert_int_eq(server_start(&g.options, &server, &error), DISTIL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "no such host"));
    g.options.host = "127.0.0.1";
    g.options.workers = 2;
    ck_assert_int_eq(server_start(&g.options, &server, &error), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "workers must be from 0 to 1, not 2");
    g.options.workers = 1;
    g.model.path = "fake:broken";
    ck_assert_int_eq(server_start(&g.options, &server, &error), DISTIL_OK);
    ck_assert_int_eq(server_load(server, &error), DISTIL_NOT_FOUND);
    server_free(server);
    close(g.options.log.fd);
    stop(&f);
}
END_TEST

/* Ends the process once the log says that it listens; the log's line is kept. */
struct ending {
    int log;
    char line[1000];
};

static void *end_later(void *argument)
{
    struct ending *ending = argument;
    ssize_t got = read(ending->log, ending->line, sizeof(ending->line) - 1);
    ending->line[got > 0 ? got : 0] = '\0';
    kill(getpid(), SIGTERM);
    return NULL;
}

START_TEST(run_ends_at_sigterm)
{
    struct fixture f;
    pthread_t thread;
    sigset_t signals;
    distil_error error;
    struct ending ending;
    bool busy;
    int ends[2];
    prepare(&f, "fake");
    ck_assert_int_eq(pipe(ends), 0);
    ending.log = ends[0];
    close(f.options.log.fd);
    f.options.log.fd = ends[1];
    /* as server_run wants it: no thread that would take the signal */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, end_later, &ending), 0);
    ck_assert_msg(server_run(&f.options, &busy, &error) == DISTIL_OK, "%s", error.message);
    pthread_join(thread, NULL);
    ck_assert_ptr_eq(strstr(ending.line, "distild listening on http://127.0.0.1:"), ending.line);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* Finds the port in the log, leaves a request that takes longer than the drain, and ends. */
static void *ask_and_end(void *argument)
{
    const int *log = argument;
    struct client client;
    char line[1000] = "";
    const char *colon;
    if (read(*log, line, sizeof(line) - 1) <= 0 || !(colon = strstr(line, "127.0.0.1:")))
        return NULL;
    if (client_open(&client, atoi(colon + 10)))
        client_send_text(&client, "POST /predict HTTP/1.1\r\nHost: x\r\n"
                                  "Content-Length: 12\r\n\r\n{\"text\":\"x\"}");
    wait_until(fake_passes() == 1);
    kill(getpid(), SIGTERM);
    client_is_closed(&client); /* or answered at last */
    client_close(&client);
    return NULL;
}

/* Finds the port in the log, sends the headers of a request, and ends. */
static void *announce_and_end(void *argument)
{
    const int *log = argument;
    struct client client;
    char line[1000] = "", answer[32];
    const char *colon;
    if (read(*log, line, sizeof(line) - 1) <= 0 || !(colon = strstr(line, "127.0.0.1:")) ||
        !client_open(&client, atoi(colon + 10)))
        return NULL;
    client_send_text(&client, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n"
                              "Expect: 100-continue\r\n\r\n");
    if (read(client.fd, answer, sizeof(answer)) > 0) /* its headers were read */
        kill(getpid(), SIGTERM);
    client_is_closed(&client);
    client_close(&client);
    return NULL;
}

/* Runs a server that does not wait for requests at its end, beside a thread that ends it. Returns what
 * server_run does, and what it logged after its first line. */
static distil_status run_beside(const char *model, void *(*thread)(void *), bool *busy, char *log,
                                size_t size, distil_error *error)
{
    struct fixture f;
    pthread_t beside;
    sigset_t signals;
    distil_status status;
    ssize_t got;
    int ends[2];
    prepare(&f, model);
    f.options.drain_timeout_seconds = 0;
    f.options.log.level = SERVER_LOG_WARN;
    ck_assert_int_eq(pipe(ends), 0);
    close(f.options.log.fd);
    f.options.log.fd = ends[1];
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    ck_assert_int_eq(pthread_create(&beside, NULL, thread, &ends[0]), 0);
    status = server_run(&f.options, busy, error);
    pthread_join(beside, NULL);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    got = read(ends[0], log, size - 1);
    log[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    close(ends[1]);
    return status;
}

START_TEST(requests_left_at_the_end_are_reported)
{
    distil_error error;
    char log[4000];
    bool busy;
    ck_assert_int_eq(run_beside("fake:slow=1000", ask_and_end, &busy, log, sizeof(log), &error),
                     DISTIL_BUSY);
    ck_assert_str_eq(error.message, "1 requests were left unanswered");
    ck_assert_msg(strstr(log, "warn 1 requests were left unanswered") != NULL, "%s", log);
}
END_TEST

START_TEST(requests_that_never_came_whole_are_reported)
{
    distil_error error;
    char log[4000];
    bool busy;
    ck_assert_msg(run_beside("fake", announce_and_end, &busy, log, sizeof(log), &error) ==
                      DISTIL_OK,
                  "%s", error.message);
    ck_assert_msg(strstr(log, "warn 1 requests had not come whole") != NULL, "%s", log);
}
END_TEST

static void *end_while_loading(void *argument)
{
    (void)argument;
    wait_until(fake_at_gate() == 1);
    kill(getpid(), SIGTERM);
    return NULL;
}

/* The gate stays shut: the thread that loads waits there until the test ends. */
START_TEST(a_signal_need_not_wait_for_the_models)
{
    distil_error error;
    char log[4000];
    bool busy;
    fake_shut();
    ck_assert_msg(run_beside("fake:loading-gate", end_while_loading, &busy, log, sizeof(log),
                             &error) == DISTIL_OK,
                  "%s", error.message);
    ck_assert(busy);
    ck_assert_int_eq(fake_at_gate(), 1);
    ck_assert_str_eq(log, "");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        loading_is_503,
        draining_answers_what_was_accepted,
        draining_cuts_no_new_connection,
        draining_waits_for_bodies,
        draining_waits_for_first_requests,
        ending_answers_what_still_waits,
        bad_starts_say_why,
        run_ends_at_sigterm,
        requests_left_at_the_end_are_reported,
        requests_that_never_came_whole_are_reported,
        a_signal_need_not_wait_for_the_models,
    };
    return run_tests("life", 30, tests, sizeof(tests) / sizeof(*tests));
}

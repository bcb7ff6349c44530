/* test_connections.c: more connections than may be open: of all, of one address, and of descriptors. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

START_TEST(connections_of_one_address_are_limited)
{
    enum { LIMIT = 3 };
    struct fixture f;
    struct client clients[LIMIT + 1];
    struct reply reply;
    int i, tries;
    prepare(&f, "fake");
    f.options.max_connections_per_address = LIMIT;
    launch(&f);
    for (i = 0; i < LIMIT; i++) {
        ck_assert(client_open(&clients[i], f.port));
        client_request(&clients[i], "GET", "/health", NULL, &reply);
        ck_assert_int_eq(reply.status, 200);
    }
    for (i = 0; i < 3; i++) {
        ck_assert(client_open(&clients[LIMIT], f.port));
        ck_assert(client_is_closed(&clients[LIMIT]));
        client_close(&clients[LIMIT]);
    }
    client_close(&clients[0]);
    /* room again, once the server has seen it go */
    for (tries = 0; tries < 1000; tries++) {
        ck_assert(client_open(&clients[0], f.port));
        client_request(&clients[0], "GET", "/health", NULL, &reply);
        if (reply.status == 200)
            break;
        client_close(&clients[0]);
        pause_ms(10);
    }
    ck_assert_int_eq(reply.status, 200);
    client_close(&clients[1]);
    wait_until(atomic_load(&f.server->connections) == LIMIT - 1);
    ck_assert_double_ge(closed(f.port, "address_limit"), 3);
    client_close(&clients[0]);
    client_close(&clients[2]);
    stop(&f);
}
END_TEST

/* At the limit, the connection goes that has been idle the longest, and none that is in use. */
START_TEST(idle_connections_make_room)
{
    enum { LIMIT = 3 };
    struct fixture f;
    struct client busy, idle, recent, next;
    struct reply reply;
    int64_t began;
    prepare(&f, "fake:slow=2500");
    f.options.max_connections = LIMIT;
    launch(&f);
    ck_assert(client_open(&busy, f.port));
    client_request(&busy, "GET", "/health", NULL, &reply);
    ck_assert(client_send_text(&busy, "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 12"
                                      "\r\n\r\n{\"text\":\"x\"}"));
    ck_assert(client_open(&idle, f.port));
    began = server_now();
    client_request(&idle, "GET", "/health", NULL, &reply);
    pause_ms(200);
    ck_assert(client_open(&recent, f.port));
    client_request(&recent, "GET", "/health", NULL, &reply);
    ck_assert(client_open(&next, f.port));
    client_request(&next, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    ck_assert_double_ge(seconds_since(began), 0.9); /* nobody's was idle for a second */
    ck_assert(client_is_closed(&idle));
    client_request(&recent, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_read(&busy, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    client_close(&idle); /* before the next one's counting request */
    client_close(&recent);
    wait_until(atomic_load(&f.server->connections) == 2);
    ck_assert_double_eq(closed(f.port, "connection_limit"), 1);
    client_close(&busy);
    client_close(&next);
    stop(&f);
}
END_TEST

/* Those that never sent a whole first line go before one that has been idle for longer after an answer. */
START_TEST(silent_connections_make_room)
{
    enum { LIMIT = 3 };
    struct fixture f;
    struct client user, silent, hesitant, next[2];
    struct reply reply;
    int64_t began;
    int i;
    prepare(&f, "fake");
    f.options.max_connections = LIMIT;
    launch(&f);
    ck_assert(client_open(&user, f.port));
    client_request(&user, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    pause_ms(50);
    ck_assert(client_open(&silent, f.port));
    pause_ms(50);
    ck_assert(client_open(&hesitant, f.port));
    ck_assert(client_send_text(&hesitant, "GE"));
    pause_ms(1200); /* all have been idle for as long as it takes */
    began = server_now();
    for (i = 0; i < 2; i++) {
        ck_assert(client_open(&next[i], f.port));
        client_request(&next[i], "GET", "/health", NULL, &reply);
        ck_assert_int_eq(reply.status, 200);
        ck_assert(client_is_closed(i == 0 ? &silent : &hesitant));
    }
    ck_assert_double_lt(seconds_since(began), 20); /* not as long as --header-timeout */
    client_request(&user, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&silent); /* before the counting request */
    client_close(&hesitant);
    client_close(&next[0]);
    wait_until(atomic_load(&f.server->connections) == 2);
    ck_assert_double_eq(closed(f.port, "connection_limit"), 2);
    client_close(&user);
    client_close(&next[1]);
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
    launch(&f);
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
    launch(&f);
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

static double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

START_TEST(no_descriptor_left)
{
    enum { FILES = 300 };
    struct rlimit files = {FILES, FILES};
    struct fixture f;
    struct client open_before, waits;
    struct reply reply;
    int held[FILES], count = 0;
    double cpu;
    struct sockaddr_in address = {.sin_family = AF_INET};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    start(&f, "fake");
    ck_assert(client_open(&open_before, f.port));
    client_request(&open_before, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    waits.length = 0;
    waits.fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(waits.fd, 0);
    while (count < FILES && (held[count] = dup(0)) >= 0)
        count++;
    ck_assert_int_eq(errno, EMFILE);
    address.sin_port = htons((unsigned short)f.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(waits.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    client_send_text(&waits, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    cpu = cpu_seconds();
    pause_ms(1000);
    ck_assert_double_lt(cpu_seconds() - cpu, 0.3); /* it does not spin */
    client_request(&open_before, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    while (count > 0)
        close(held[--count]);
    client_read(&waits, false, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&waits);
    client_close(&open_before);
    stop(&f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        connections_of_one_address_are_limited, idle_connections_make_room,
        silent_connections_make_room,           connections_over_the_limit_wait,
        a_burst_does_not_pass_the_limit,        no_descriptor_left,
    };
    return run_tests("connections", 40, tests, sizeof(tests) / sizeof(*tests));
}

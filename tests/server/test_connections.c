/* test_connections.c: clients that are slow, too many, or on a Unix-domain socket. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <netinet/in.h>

#include "server/internal.h"
#include "server/peers.h"
#include "server/queue.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

static double seconds_since(int64_t start_ns)
{
    return (double)(server_now() - start_ns) / 1e9;
}

static double closed(int port, const char *reason)
{
    struct reply reply;
    char name[100];
    const char *at;
    snprintf(name, sizeof(name), "\ndistild_connections_closed_total{reason=\"%s\"} ", reason);
    request(port, "GET", "/metrics", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    at = strstr(reply.body, name);
    ck_assert_msg(at != NULL, "there is no %s", name);
    return strtod(at + strlen(name), NULL);
}

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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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

START_TEST(connections_of_one_address_are_limited)
{
    enum { LIMIT = 3 };
    struct fixture f;
    struct client clients[LIMIT + 1];
    struct reply reply;
    int i, tries;
    prepare(&f, "fake");
    f.options.max_connections_per_address = LIMIT;
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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
    begin(&f);
    load(&f);
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

static struct sockaddr_storage address_number(int i)
{
    struct sockaddr_storage storage = {0};
    if (i % 2) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&storage;
        v4->sin_family = AF_INET;
        v4->sin_addr.s_addr = htonl(0x0A000000U + (unsigned)i);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&storage;
        v6->sin6_family = AF_INET6;
        v6->sin6_addr.s6_addr[0] = 0xFD;
        v6->sin6_addr.s6_addr[7] = (unsigned char)i;
    }
    return storage;
}

/* Against plain counters, with few enough places that addresses share them. */
START_TEST(peers_are_counted)
{
    enum { ADDRESSES = 100, STEPS = 200000, LIMIT = 5 };
    struct server_peers *peers = server_peers_create(ADDRESSES);
    struct sockaddr_storage a, b;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&b;
    int counts[ADDRESSES] = {0}, step;
    unsigned random = 1;
    ck_assert_ptr_nonnull(peers);
    for (step = 0; step < STEPS; step++) {
        int i = (int)((random = random * 1103515245U + 12345U) >> 16) % ADDRESSES;
        a = address_number(i);
        if (random & 0x8000) {
            bool enters = server_peers_enter(peers, (struct sockaddr *)&a, LIMIT);
            ck_assert_int_eq(enters, counts[i] < LIMIT);
            counts[i] += enters;
        } else if (counts[i] > 0) {
            server_peers_leave(peers, (struct sockaddr *)&a);
            counts[i]--;
        }
    }
    server_peers_free(peers);
    /* the second half of an IPv6 address is its owner's to choose; a mapped address is its IPv4 one */
    peers = server_peers_create(2);
    a = b = address_number(0);
    v6->sin6_addr.s6_addr[15] = 9;
    ck_assert(server_peers_enter(peers, (struct sockaddr *)&a, 1));
    ck_assert(!server_peers_enter(peers, (struct sockaddr *)&b, 1));
    memset(&v6->sin6_addr, 0, sizeof(v6->sin6_addr));
    memset(v6->sin6_addr.s6_addr + 10, 0xFF, 2);
    v6->sin6_addr.s6_addr[12] = 10;
    v6->sin6_addr.s6_addr[15] = 1;
    a = address_number(1);
    ck_assert(server_peers_enter(peers, (struct sockaddr *)&a, 1));
    ck_assert(!server_peers_enter(peers, (struct sockaddr *)&b, 1));
    a.ss_family = AF_UNIX;
    ck_assert(server_peers_enter(peers, (struct sockaddr *)&a, 0));
    server_peers_free(peers);
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

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

START_TEST(unix_socket)
{
    struct fixture f, second;
    struct client client = {.length = 0};
    struct reply reply;
    struct stat file;
    char folder[] = "/tmp/distild-uds-XXXXXX", path[100], other[100];
    distil_error error;
    int fd;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(other, sizeof(other), "%s/moved", folder);
    prepare(&f, "fake");
    f.options.uds = path;
    f.options.uds_mode = 0600;
    f.options.max_connections_per_address = 1;
    begin(&f);
    load(&f);
    ck_assert_int_eq(stat(path, &file), 0);
    ck_assert_int_eq(file.st_mode & 0777, 0600);
    fd = connect_unix(path); /* a second one: those without an address are not limited */
    client.fd = connect_unix(path);
    ck_assert_int_ge(client.fd, 0);
    client_request(&client, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    expect_reply(&reply, 200, "sentiment");
    client_request(&client, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&client);
    close(fd);
    /* another server does not take it away */
    prepare(&second, "fake");
    second.options.uds = path;
    ck_assert_int_eq(server_start(&second.options, &second.server, &error), DISTIL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "another program listens there"));
    close(second.options.log.fd);
    stop(&f);
    ck_assert_int_ne(stat(path, &file), 0);

    /* one that nobody listens on is replaced; one that is no longer ours is left alone */
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    prepare(&f, "fake");
    f.options.uds = path;
    begin(&f);
    fd = connect_unix(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(rename(path, other), 0);
    close(creat(path, 0600));
    stop(&f);
    ck_assert_int_eq(stat(path, &file), 0);
    ck_assert_int_eq(server_start(&f.options, &f.server, &error), DISTIL_SYSTEM);
    ck_assert_ptr_nonnull(strstr(error.message, "no socket"));
    unlink(path);
    unlink(other);
    rmdir(folder);
}
END_TEST

START_TEST(no_connection_is_taken_before_it_is_ready)
{
    struct fixture f;
    struct client client = {.length = 0};
    struct reply reply;
    char folder[] = "/tmp/distild-uds-XXXXXX", path[100];
    distil_error error;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    prepare(&f, "fake");
    f.options.uds = path;
    f.options.listen_when_ready = true;
    ck_assert_int_eq(server_start(&f.options, &f.server, &error), DISTIL_OK);
    ck_assert_int_lt(connect_unix(path), 0);
    load(&f);
    client.fd = connect_unix(path);
    ck_assert_int_ge(client.fd, 0);
    client_request(&client, "GET", "/health", NULL, &reply);
    ck_assert_int_eq(reply.status, 200);
    client_close(&client);
    stop(&f);
    /* one that ends before it is ready has nothing to close */
    ck_assert_int_eq(server_start(&f.options, &f.server, &error), DISTIL_OK);
    server_free(f.server);
    rmdir(folder);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        slow_headers_are_cut,
        slow_headers_of_a_later_request_are_cut,
        slow_bodies_are_cut,
        patience_within_the_limits,
        a_reader_that_does_not_read_is_cut,
        connections_of_one_address_are_limited,
        idle_connections_make_room,
        silent_connections_make_room,
        peers_are_counted,
        no_descriptor_left,
        unix_socket,
        no_connection_is_taken_before_it_is_ready,
    };
    return run_tests("connections", 40, tests, sizeof(tests) / sizeof(*tests));
}

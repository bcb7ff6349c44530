/* test_unix_socket.c: a server on a Unix-domain socket. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/server/server_fixture.h"
#include "tests/suite.h"

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
    launch(&f);
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
        unix_socket,
        no_connection_is_taken_before_it_is_ready,
    };
    return run_tests("unix_socket", 40, tests, sizeof(tests) / sizeof(*tests));
}

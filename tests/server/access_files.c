/* access_files.c: see access_files.h. */
#include "tests/server/access_files.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void write_file(char path[64], const char *content, size_t length, mode_t mode)
{
    int fd;
    snprintf(path, 64, "/tmp/distild-access-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, length), (ssize_t)length);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

void write_text(char path[64], const char *content)
{
    write_file(path, content, strlen(content), 0600);
}

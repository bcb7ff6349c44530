/* key_file.c: see key_file.h. */
#include "server/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static distil_status check_mode(const char *path, int fd, bool secret, const struct server_log *log,
                                distil_error *error)
{
    struct stat about;
    if (fstat(fd, &about))
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(about.st_mode))
        return distil_fail(error, DISTIL_INVALID, "%s: is a directory", path);
    if (S_ISREG(about.st_mode) && (about.st_mode & (S_IWGRP | S_IWOTH)))
        return distil_fail(error, DISTIL_INVALID,
                           "%s: may be written by others than its owner (mode %03o): chmod go-w",
                           path, (unsigned)about.st_mode & 0777U);
    if (secret && S_ISREG(about.st_mode) && (about.st_mode & S_IROTH))
        server_log_printf(log, SERVER_LOG_WARN, "%s holds a secret and may be read by everyone",
                          path);
    return DISTIL_OK;
}

/* Reads until the end or until the buffer is full; -1 after an error. */
static ssize_t read_whole(int fd, char *buffer, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t got = read(fd, buffer + length, size - length);
        if (got == 0)
            break;
        if (got > 0)
            length += (size_t)got;
        else if (errno != EINTR)
            return -1;
    }
    return (ssize_t)length;
}

static distil_status read_file(const char *path, bool secret, const struct server_log *log,
                               struct server_key_file *file, distil_error *error)
{
    /* not waiting for a writer, should it be a FIFO */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    distil_status status;
    ssize_t length;
    file->data = NULL;
    file->length = 0;
    if (fd < 0)
        return distil_fail(error, errno == ENOENT ? DISTIL_NOT_FOUND : DISTIL_IO, "%s: %s", path,
                           strerror(errno));
    status = check_mode(path, fd, secret, log, error);
    if (status)
        goto done;
    file->data = calloc(1, SERVER_KEY_FILE_LIMIT + 2);
    if (!file->data) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
        goto done;
    }
    length = read_whole(fd, file->data, SERVER_KEY_FILE_LIMIT + 1);
    file->length = length > 0 ? (size_t)length : 0;
    if (length < 0)
        status = distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    else if (length == 0)
        status = distil_fail(error, DISTIL_FORMAT, "%s: the file is empty", path);
    else if (length > SERVER_KEY_FILE_LIMIT)
        status =
            distil_fail(error, DISTIL_FORMAT, "%s: over %d bytes", path, SERVER_KEY_FILE_LIMIT);
done:
    close(fd);
    if (status)
        server_key_file_free(file);
    return status;
}

distil_status server_key_file_read(const char *path, bool secret, const struct server_log *log,
                                   struct server_key_file *file, distil_error *error)
{
    distil_status status = read_file(path, secret, log, file, error);
    if (status || !file->data || strlen(file->data) == file->length)
        return status;
    status = distil_fail(error, DISTIL_FORMAT, "%s: a NUL at byte %zu: a text file is expected",
                         path, strlen(file->data));
    server_key_file_free(file);
    return status;
}

static bool is_text(const struct server_key_file *file)
{
    size_t i;
    for (i = 0; i < file->length; i++) {
        unsigned char byte = (unsigned char)file->data[i];
        if ((byte < 0x20 && byte != '\n' && byte != '\r' && byte != '\t') || byte == 0x7F)
            return false;
    }
    return true;
}

distil_status server_secret_read(const char *path, const struct server_log *log,
                                 struct server_key_file *file, distil_error *error)
{
    distil_status status = read_file(path, true, log, file, error);
    if (status || !is_text(file))
        return status;
    while (file->length > 0 && strchr("\r\n", file->data[file->length - 1]))
        file->data[--file->length] = '\0';
    if (file->length > 0)
        return DISTIL_OK;
    server_key_file_free(file);
    return distil_fail(error, DISTIL_FORMAT, "%s: the file holds line ends alone", path);
}

void server_key_file_free(struct server_key_file *file)
{
    if (file->data)
        explicit_bzero(file->data, file->length);
    free(file->data);
    file->data = NULL;
    file->length = 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool server_key_file_next(char **at, struct server_key_line *line)
{
    while (**at) {
        char *text = *at, *end = text + strcspn(text, "\n");
        *at = *end ? end + 1 : end;
        *end = '\0';
        line->number++;
        line->count = 0;
        while (*text) {
            while (is_blank(*text))
                *text++ = '\0';
            if (!*text || *text == '#')
                break;
            if (line->count < SERVER_KEY_FIELDS)
                line->fields[line->count] = text;
            line->count++;
            text += strcspn(text, " \t\r");
        }
        *text = '\0'; /* where a comment begins */
        if (line->count > 0)
            return true;
    }
    return false;
}

const char *server_key_line_value(const struct server_key_line *line, int from, const char *name)
{
    size_t length = strlen(name);
    int i;
    for (i = from; i < line->count && i < SERVER_KEY_FIELDS; i++)
        if (strncmp(line->fields[i], name, length) == 0 && line->fields[i][length] == '=')
            return line->fields[i] + length + 1;
    return NULL;
}

bool server_key_name_valid(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(name);
    return length > 0 && length < SERVER_KEY_NAME && strspn(name, letters) == length;
}

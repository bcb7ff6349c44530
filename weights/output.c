#include "weights/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weights/file.h"

static distil_status fail_system(const struct weights_output *output, const char *path,
                                 const char *what)
{
    int number = errno;
    return distil_fail(output->error, weights_errno_status(number), "%s: cannot %s: %s", path, what,
                       strerror(number));
}

/* Creates the temporary file: the target's name with a suffix, so that it is in the same directory
 * and file system. */
static distil_status open_temporary(struct weights_output *output)
{
    struct stat info;
    if (!lstat(output->path, &info) && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        return distil_fail(output->error, DISTIL_INVALID,
                           "%s: expected a regular file to replace, found something else",
                           output->path);
    size_t size = strlen(output->path) + 40;
    output->temporary = malloc(size);
    if (!output->temporary)
        return weights_no_memory(output->path, output->error);
    for (int i = 0; i < 100 && output->fd < 0; i++) {
        snprintf(output->temporary, size, "%s.%ld-%d.tmp", output->path, (long)getpid(), i);
        output->fd = open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (output->fd < 0 && errno != EEXIST)
            break;
    }
    if (output->fd >= 0)
        return DISTIL_OK;
    distil_status status = fail_system(output, output->temporary, "create");
    free(output->temporary); /* not ours to remove */
    output->temporary = NULL;
    return status;
}

/* Opens the directory of the target, so that a rename in it can be made to last. */
static distil_status open_directory(struct weights_output *output)
{
    const char *slash = strrchr(output->path, '/');
    size_t length = !slash || slash == output->path ? 1 : (size_t)(slash - output->path);
    char *directory = strndup(slash ? output->path : ".", length);
    if (!directory)
        return weights_no_memory(output->path, output->error);
    output->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    distil_status status = DISTIL_OK;
    if (output->directory < 0)
        status = fail_system(output, directory, "open");
    free(directory);
    return status;
}

distil_status weights_output_open(struct weights_output *output, const char *path,
                                  distil_error *error)
{
    *output = (struct weights_output){.path = path, .error = error, .fd = -1, .directory = -1};
    sha256_init(&output->hash);
    distil_status status = open_directory(output);
    return status ? status : open_temporary(output);
}

distil_status weights_output_put(struct weights_output *output, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    sha256_update(&output->hash, bytes, at);
    while (bytes) {
        ssize_t written = write(output->fd, at, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fail_system(output, output->temporary, "write");
        at += written;
        bytes -= (size_t)written;
    }
    return DISTIL_OK;
}

distil_status weights_output_header(struct weights_output *output, struct weights_text *header)
{
    static const char key[] = "\"" WEIGHTS_KEY_DIGEST "\":\"";
    unsigned char length[8];
    while (!header->failed && (sizeof length + header->length) % WEIGHTS_DATA_ALIGN)
        weights_text_add(header, " ", 1);
    if (header->failed)
        return weights_no_memory(output->path, output->error);
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)((uint64_t)header->length >> 8 * i);
    const char *at = strstr(header->data, key);
    output->digest_at = (off_t)sizeof length + (off_t)(at - header->data) + (off_t)sizeof key - 1;
    distil_status status = weights_output_put(output, length, sizeof length);
    return status ? status : weights_output_put(output, header->data, header->length);
}

static void digest_text(struct sha256_ctx *hash, char text[WEIGHTS_DIGEST_LENGTH + 1])
{
    uint8_t sum[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof sum, sum);
    for (size_t i = 0; i < sizeof sum; i++)
        snprintf(text + 2 * i, 3, "%02x", sum[i]);
}

distil_status weights_output_finish(struct weights_output *output)
{
    char digest[WEIGHTS_DIGEST_LENGTH + 1];
    digest_text(&output->hash, digest);
    if (pwrite(output->fd, digest, WEIGHTS_DIGEST_LENGTH, output->digest_at) !=
        WEIGHTS_DIGEST_LENGTH)
        return fail_system(output, output->temporary, "write");
    if (fsync(output->fd))
        return fail_system(output, output->temporary, "sync");
    int fd = output->fd;
    output->fd = -1;
    if (close(fd))
        return fail_system(output, output->temporary, "close");
    if (rename(output->temporary, output->path))
        return fail_system(output, output->path, "rename to");
    free(output->temporary);
    output->temporary = NULL;
    /* Some file systems cannot sync a directory and say EINVAL. */
    if (fsync(output->directory) && errno != EINVAL)
        return fail_system(output, output->path, "sync the directory of");
    return DISTIL_OK;
}

void weights_output_close(struct weights_output *output)
{
    if (output->fd >= 0)
        close(output->fd);
    if (output->directory >= 0)
        close(output->directory);
    if (output->temporary)
        unlink(output->temporary);
    free(output->temporary);
    *output = (struct weights_output){.fd = -1, .directory = -1};
}

distil_status weights_check_digest(const struct weights_safetensors *file, const char *stated,
                                   distil_error *error)
{
    const unsigned char *data = file->mapping.data;
    const unsigned char *at = memmem(data, file->data_start, stated, WEIGHTS_DIGEST_LENGTH);
    if (!at)
        return distil_fail(error, DISTIL_FORMAT, "%s: " WEIGHTS_KEY_DIGEST " is not spelt plainly",
                           file->path);
    struct sha256_ctx hash;
    uint8_t zeros[WEIGHTS_DIGEST_LENGTH];
    char found[WEIGHTS_DIGEST_LENGTH + 1];
    memset(zeros, '0', sizeof zeros);
    sha256_init(&hash);
    sha256_update(&hash, (size_t)(at - data), data);
    sha256_update(&hash, sizeof zeros, zeros);
    at += sizeof zeros;
    sha256_update(&hash, file->mapping.size - (size_t)(at - data), at);
    digest_text(&hash, found);
    if (strcmp(found, stated) == 0)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_FORMAT,
                       "%s: " WEIGHTS_KEY_DIGEST ": expected %s, found %s: the file is damaged",
                       file->path, stated, found);
}

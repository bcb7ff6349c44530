#include "weights/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

distil_status weights_errno_status(int number)
{
    if (number == ENOENT || number == ENOTDIR)
        return DISTIL_NOT_FOUND;
    if (number == ENOMEM)
        return DISTIL_NO_MEMORY;
    return DISTIL_IO;
}

distil_status weights_no_memory(const char *path, distil_error *error)
{
    return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
}

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a FIFO";
    if (S_ISCHR(mode) || S_ISBLK(mode))
        return "a device";
    return "a special file";
}

static distil_status open_regular(int *descriptor, struct stat *info, const char *path,
                                  distil_error *error)
{
    /* O_NONBLOCK: a FIFO without a writer would otherwise hold open() for ever. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        int number = errno;
        return distil_fail(error, weights_errno_status(number), "%s: cannot open: %s", path,
                           strerror(number));
    }
    distil_status status = DISTIL_OK;
    if (fstat(fd, info)) {
        int number = errno;
        status = distil_fail(error, DISTIL_IO, "%s: cannot examine: %s", path, strerror(number));
    } else if (!S_ISREG(info->st_mode)) {
        status = distil_fail(error, DISTIL_FORMAT, "%s: expected a regular file, found %s", path,
                             kind_of(info->st_mode));
    }
    if (status) {
        close(fd);
        return status;
    }
    *descriptor = fd;
    return DISTIL_OK;
}

distil_status weights_map(struct weights_mapping *mapping, const char *path, distil_error *error)
{
    int fd = -1;
    struct stat about;
    *mapping = (struct weights_mapping){.data = NULL};
    distil_status status = open_regular(&fd, &about, path, error);
    if (status)
        return status;
    const size_t size = (size_t)about.st_size;
    if (size == 0) {
        close(fd);
        return distil_fail(error, DISTIL_FORMAT, "%s: the file is empty", path);
    }
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int number = errno;
    close(fd);
    if (data == MAP_FAILED)
        return distil_fail(error, weights_errno_status(number), "%s: cannot map: %s", path,
                           strerror(number));
    *mapping = (struct weights_mapping){.data = data, .size = size, .base = data, .about = about};
    return DISTIL_OK;
}

void weights_unmap(struct weights_mapping *mapping)
{
    if (mapping->base)
        munmap(mapping->base, mapping->size);
    *mapping = (struct weights_mapping){.data = NULL};
}

bool weights_same_file(const struct weights_mapping *a, const struct weights_mapping *b)
{
    const struct stat *x = &a->about, *y = &b->about;
    return x->st_dev == y->st_dev && x->st_ino == y->st_ino && x->st_size == y->st_size &&
           x->st_mtim.tv_sec == y->st_mtim.tv_sec && x->st_mtim.tv_nsec == y->st_mtim.tv_nsec;
}

distil_status weights_read_file(char **text, size_t *length, const char *path, size_t limit,
                                distil_error *error)
{
    int fd = -1;
    struct stat about;
    size_t done = 0;
    char *bytes = NULL;
    distil_status status = open_regular(&fd, &about, path, error);
    if (status)
        return status;
    const size_t size = (size_t)about.st_size;
    if (size > limit) {
        status = distil_fail(error, DISTIL_FORMAT, "%s: expected at most %zu bytes, found %zu",
                             path, limit, size);
        goto cleanup;
    }
    bytes = malloc(size + 1);
    if (!bytes) {
        status = weights_no_memory(path, error);
        goto cleanup;
    }
    while (done < size) {
        ssize_t got = read(fd, bytes + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int number = errno;
            status = distil_fail(error, DISTIL_IO, "%s: cannot read: %s", path, strerror(number));
            goto cleanup;
        }
        if (got == 0)
            break;
        done += (size_t)got;
    }
    bytes[done] = '\0';
    *text = bytes;
    *length = done;
    bytes = NULL;
cleanup:
    free(bytes);
    close(fd);
    return status;
}

char *weights_join(const char *directory, const char *name)
{
    size_t length = strlen(directory);
    while (length > 1 && directory[length - 1] == '/')
        length--;
    size_t bytes = length + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path)
        snprintf(path, bytes, "%.*s/%s", (int)length, directory, name);
    return path;
}

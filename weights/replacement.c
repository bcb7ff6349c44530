#include "weights/replacement.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weights/file.h"

static distil_status fail(const char *path, const char *what, distil_error *error)
{
    int number = errno;
    return distil_fail(error, weights_errno_status(number), "%s: cannot %s: %s", path, what,
                       strerror(number));
}

distil_status weights_replacement_fail(const struct weights_replacement *replacement,
                                       const char *what, distil_error *error)
{
    return fail(replacement->path, what, error);
}

/* The directory is kept open, so that a rename in it can be made to last. */
static distil_status open_directory(struct weights_replacement *replacement, distil_error *error)
{
    const char *path = replacement->path, *slash = strrchr(path, '/');
    size_t length = !slash || slash == path ? 1 : (size_t)(slash - path);
    char *directory = strndup(slash ? path : ".", length);
    if (!directory)
        return weights_no_memory(path, error);
    replacement->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    distil_status status = DISTIL_OK;
    if (replacement->directory < 0)
        status = fail(path, "create", error);
    free(directory);
    return status;
}

/* The target's name with a suffix, so that it is in the same directory and file system. */
static distil_status open_temporary(struct weights_replacement *replacement, mode_t mode,
                                    distil_error *error)
{
    size_t size = strlen(replacement->path) + 40;
    char *temporary = malloc(size);
    int fd = -1;
    if (!temporary)
        return weights_no_memory(replacement->path, error);
    for (int i = 0; i < 100 && fd < 0; i++) {
        snprintf(temporary, size, "%s.%ld-%d.tmp", replacement->path, (long)getpid(), i);
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    distil_status status = DISTIL_OK;
    if (fd < 0) {
        status = weights_replacement_fail(replacement, "create", error);
        free(temporary); /* not ours to remove */
        return status;
    }
    replacement->temporary = temporary;
    replacement->out = fdopen(fd, "w");
    if (!replacement->out) {
        status = weights_replacement_fail(replacement, "open", error);
        close(fd);
    }
    return status;
}

distil_status weights_replacement_open(struct weights_replacement *replacement, const char *path,
                                       mode_t mode, distil_error *error)
{
    struct stat info;
    *replacement = (struct weights_replacement){.path = path, .directory = -1};
    distil_status status = open_directory(replacement, error);
    if (status)
        return status;
    if (!lstat(path, &info) && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        return distil_fail(error, DISTIL_INVALID,
                           "%s: expected a regular file to replace, found something else", path);
    return open_temporary(replacement, mode, error);
}

distil_status weights_replacement_finish(struct weights_replacement *replacement,
                                         distil_error *error)
{
    FILE *out = replacement->out;
    errno = EIO; /* where an earlier write failed, and its reason is lost */
    if (fflush(out) || ferror(out))
        return weights_replacement_fail(replacement, "write", error);
    if (fsync(fileno(out)))
        return weights_replacement_fail(replacement, "sync", error);
    replacement->out = NULL;
    if (fclose(out))
        return weights_replacement_fail(replacement, "close", error);
    if (replacement->exclusive) { /* the temporary name is removed by close */
        if (link(replacement->temporary, replacement->path))
            return weights_replacement_fail(replacement, "create", error);
    } else {
        if (rename(replacement->temporary, replacement->path))
            return weights_replacement_fail(replacement, "rename to", error);
        free(replacement->temporary);
        replacement->temporary = NULL;
    }
    /* Some file systems cannot sync a directory and say EINVAL. */
    if (fsync(replacement->directory) && errno != EINVAL)
        return weights_replacement_fail(replacement, "sync the directory of", error);
    return DISTIL_OK;
}

void weights_replacement_close(struct weights_replacement *replacement)
{
    if (!replacement->path)
        return;
    if (replacement->out)
        fclose(replacement->out);
    if (replacement->directory >= 0)
        close(replacement->directory);
    if (replacement->temporary)
        unlink(replacement->temporary);
    free(replacement->temporary);
    *replacement = (struct weights_replacement){.path = NULL};
}

/* state_dir.c: see state_dir.h. */
#include "server/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct server_state_dir {
    char *path;
    int lock; /* a file in it, locked for as long as it is open; -1: none */
};

/* Makes path, which is changed meanwhile, and what is missing above it; 0 or errno. */
static int make_directories(char *path)
{
    char *at = path;
    int failure = 0;
    while (at && !failure) {
        at = strchr(at + 1, '/');
        if (at)
            *at = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            failure = errno;
        if (at)
            *at = '/';
    }
    return failure;
}

static distil_status lock_directory(struct server_state_dir *state, distil_error *error)
{
    int directory = open(state->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    distil_status status = DISTIL_OK;
    if (directory < 0)
        return distil_fail(error, DISTIL_IO, "%s: cannot be used as the state directory: %s",
                           state->path, strerror(errno));
    state->lock = openat(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (state->lock < 0)
        status = distil_fail(error, DISTIL_IO, "%s: the state directory cannot be written: %s",
                             state->path, strerror(errno));
    else if (flock(state->lock, LOCK_EX | LOCK_NB))
        status = errno == EWOULDBLOCK
                     ? distil_fail(error, DISTIL_BUSY,
                                   "%s: another server keeps its state there; --state-dir gives "
                                   "this one a directory of its own",
                                   state->path)
                     : distil_fail(error, DISTIL_IO, "%s: the state directory cannot be locked: %s",
                                   state->path, strerror(errno));
    close(directory);
    return status;
}

distil_status server_state_dir_open(const char *path, struct server_state_dir **state,
                                    distil_error *error)
{
    struct server_state_dir *made = calloc(1, sizeof(*made));
    distil_status status;
    int failure;
    *state = NULL;
    if (made)
        made->lock = -1;
    if (!made || !(made->path = strdup(path))) {
        server_state_dir_free(made);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the state directory");
    }
    failure = make_directories(made->path);
    status = failure ? distil_fail(error, DISTIL_IO, "%s: the state directory cannot be made: %s",
                                   path, strerror(failure))
                     : lock_directory(made, error);
    if (status) {
        server_state_dir_free(made);
        return status;
    }
    *state = made;
    return DISTIL_OK;
}

const char *server_state_dir_path(const struct server_state_dir *state)
{
    return state->path;
}

void server_state_dir_free(struct server_state_dir *state)
{
    if (!state)
        return;
    if (state->lock >= 0)
        close(state->lock);
    free(state->path);
    free(state);
}

/* unix_socket.c: see unix_socket.h. */
#include "server/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Removes a socket that nobody listens on. */
static distil_status remove_stale(const struct sockaddr_un *address, distil_error *error)
{
    struct stat file;
    int fd, failure;
    if (lstat(address->sun_path, &file))
        return DISTIL_OK; /* binding says why, if it matters */
    if (!S_ISSOCK(file.st_mode))
        return distil_fail(error, DISTIL_SYSTEM, "cannot listen on %s: it is there, and no socket",
                           address->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    failure = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
    close(fd);
    /* EAGAIN: its queue is full, so somebody has one */
    if (failure != ECONNREFUSED)
        return distil_fail(error, DISTIL_SYSTEM, "cannot listen on %s: %s", address->sun_path,
                           failure && failure != EAGAIN ? strerror(failure)
                                                        : "another program listens there");
    unlink(address->sun_path);
    return DISTIL_OK;
}

distil_status server_unix_listen(const char *path, mode_t mode, int backlog,
                                 struct server_unix_socket *socket_, int *fd, distil_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat file;
    distil_status status;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(address.sun_path))
        return distil_fail(error, DISTIL_INVALID,
                           "the path of a Unix-domain socket has 1 to %zu bytes, not %zu",
                           sizeof(address.sun_path) - 1, length);
    memcpy(address.sun_path, path, length + 1);
    status = remove_stale(&address, error);
    if (status)
        return status;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* nobody can connect before listen, so that nobody does with other permissions */
    if (*fd < 0 || bind(*fd, (const struct sockaddr *)&address, sizeof(address)) ||
        chmod(path, mode) || stat(path, &file) || listen(*fd, backlog)) {
        status =
            distil_fail(error, DISTIL_SYSTEM, "cannot listen on %s: %s", path, strerror(errno));
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
        return status;
    }
    socket_->path = path;
    socket_->device = file.st_dev;
    socket_->inode = file.st_ino;
    return DISTIL_OK;
}

void server_unix_remove(struct server_unix_socket *socket_)
{
    struct stat file;
    if (socket_->path && lstat(socket_->path, &file) == 0 && file.st_dev == socket_->device &&
        file.st_ino == socket_->inode)
        unlink(socket_->path);
    socket_->path = NULL;
}

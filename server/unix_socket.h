/* unix_socket.h: a Unix-domain socket to listen on. */
#ifndef SERVER_UNIX_SOCKET_H
#define SERVER_UNIX_SOCKET_H

#include <sys/types.h>

#include "weights/distil_status.h"

/* Which file a socket is, so that no other is removed in its place. */
struct server_unix_socket {
    const char *path; /* NULL: none */
    dev_t device;
    ino_t inode;
};

/* Listens at a path, with the permissions of mode. Replaces a socket that nobody listens on any
 * more; DISTIL_SYSTEM where somebody does, or where the path is another file. *fd does not block. */
distil_status server_unix_listen(const char *path, mode_t mode, int backlog,
                                 struct server_unix_socket *socket, int *fd, distil_error *error);
/* Removes the file, where it is still the one that was made. */
void server_unix_remove(struct server_unix_socket *socket);

#endif

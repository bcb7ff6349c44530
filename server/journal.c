/* journal.c: see journal.h. The greeting is that of sd_journal_stream_fd(3): name, unit, priority of
 * lines without one (6, info), whether lines begin with theirs, and whether the journal is to pass
 * them on to syslog, the kernel's log and the console. */
#include "server/journal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

distil_status server_journal_open(const char *path, const char *name, int *fd, distil_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char greeting[256];
    int length = snprintf(greeting, sizeof(greeting), "%s\n\n6\n1\n0\n0\n0\n", name), made;
    *fd = -1;
    if (strlen(path) >= sizeof(address.sun_path))
        return distil_fail(error, DISTIL_INVALID,
                           "--log-journal: the path is longer than %zu bytes",
                           sizeof(address.sun_path) - 1);
    if (!*name || strchr(name, '\n') || length >= (int)sizeof(greeting))
        return distil_fail(error, DISTIL_INVALID,
                           "--log-tag: '%.60s' is not a name of one line of 1 to %zu bytes", name,
                           sizeof(greeting) - sizeof("\n\n6\n1\n0\n0\n0\n"));
    memcpy(address.sun_path, path, strlen(path) + 1);
    made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made >= 0 && connect(made, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        send(made, greeting, (size_t)length, MSG_NOSIGNAL) == length) {
        *fd = made;
        return DISTIL_OK;
    }
    distil_fail(error, DISTIL_IO, "--log-journal: %s: %s", path, strerror(errno));
    if (made >= 0)
        close(made);
    return DISTIL_IO;
}

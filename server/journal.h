/* journal.h: a stream to systemd's journal through its socket, for a server whose standard error goes
 * elsewhere, as in a container. */
#ifndef SERVER_JOURNAL_H
#define SERVER_JOURNAL_H

#include "weights/distil_status.h"

/* Connects to the journal's socket for standard output at path (/run/systemd/journal/stdout) and
 * introduces itself as `name`. *fd, which the caller closes, then takes lines that begin with their
 * priority, "<6>". DISTIL_INVALID: the path or the name cannot be used; DISTIL_IO: nobody listens. */
distil_status server_journal_open(const char *path, const char *name, int *fd, distil_error *error);

#endif

/* key_file.h: files that hold secrets, or that decide whom the server trusts: small, read whole,
 * with a look at who else could have written or read them. */
#ifndef SERVER_KEY_FILE_H
#define SERVER_KEY_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "server/log.h"
#include "weights/distil_status.h"

enum {
    SERVER_KEY_FILE_LIMIT = 1 << 20, /* bytes */
    SERVER_KEY_FIELDS = 8,           /* of a line */
    SERVER_KEY_NAME = 65             /* of a key's name, with its NUL */
};

struct server_key_file {
    char *data; /* followed by a NUL that length does not count */
    size_t length;
};

/* Reads a text file. One that its group or others may write is refused (DISTIL_INVALID): whoever can
 * write it can let himself in. Where it is a secret, a warning is logged when others may read it.
 * Errors name the file: DISTIL_NOT_FOUND, DISTIL_IO, DISTIL_FORMAT for one that is empty, over the
 * limit or holds a NUL. */
distil_status server_key_file_read(const char *path, bool secret, const struct server_log *log,
                                   struct server_key_file *file, distil_error *error);
/* The same for a file that holds one secret, of any bytes: as they are, but without the line ends
 * that follow a text. */
distil_status server_secret_read(const char *path, const struct server_log *log,
                                 struct server_key_file *file, distil_error *error);
/* Overwrites and frees what was read. */
void server_key_file_free(struct server_key_file *file);

/* A line cut into its fields at spaces and tabs, in place. */
struct server_key_line {
    int number; /* from 1 */
    int count;  /* of fields, at most SERVER_KEY_FIELDS */
    char *fields[SERVER_KEY_FIELDS];
};

/* Steps through the lines of a file that hold anything, without comments (a field that begins with
 * #, and what follows it). False after the last one. *at starts as the file's data, and
 * line->number as 0. Fields beyond the limit count, and are not stored. */
bool server_key_file_next(char **at, struct server_key_line *line);
/* The value of the field NAME=VALUE after the first `from`; NULL where there is none. */
const char *server_key_line_value(const struct server_key_line *line, int from, const char *name);
/* Whether a key may be called so: 1 to 64 letters, digits, dots, dashes and underscores. */
bool server_key_name_valid(const char *name);

#endif

/* file.h: opening what is to be read. Only regular files are (a symbolic link to one is followed,
 * since model caches are made of links); a FIFO, device or directory is refused, and never waited
 * for. */
#ifndef WEIGHTS_FILE_H
#define WEIGHTS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "weights/distil_status.h"

struct weights_mapping {
    const unsigned char *data; /* of base */
    size_t size;
    void *base;
    struct stat about; /* the file, as it was when it was opened */
};

/* Maps a whole file read-only. The size is the file's when it was opened: a file that is cut while
 * mapped ends the process with SIGBUS at the next read, so a file in use is replaced by renaming,
 * never written in place. */
distil_status weights_map(struct weights_mapping *mapping, const char *path, distil_error *error);
void weights_unmap(struct weights_mapping *mapping);
/* Whether both are of one file that was not written to in between: device, inode, size and time of change. */
bool weights_same_file(const struct weights_mapping *a, const struct weights_mapping *b);

/* Reads a whole file of at most limit bytes; *text is NUL-terminated and freed by the caller. */
distil_status weights_read_file(char **text, size_t *length, const char *path, size_t limit,
                                distil_error *error);

/* directory/name, freed by the caller; NULL without memory. */
char *weights_join(const char *directory, const char *name);

/* The status that fits a system call's errno value. */
distil_status weights_errno_status(int number);
/* DISTIL_NO_MEMORY, with the message that every caller gives. */
distil_status weights_no_memory(const char *path, distil_error *error);

#endif

/* formats.h: the files that distild reads, each with a valid one and its reader. */
#ifndef TESTS_FUZZ_FORMATS_H
#define TESTS_FUZZ_FORMATS_H

#include <stdbool.h>

#include "weights/distil_status.h"

enum { FUZZ_PATH = 4096 };

struct fuzz_format {
    const char *name;
    const char *file; /* of the folder, which is made wrong */
    /* Writes a valid file, and what belongs to it, into a folder; exits where it cannot. */
    void (*make)(const char *folder);
    /* Reads the file and, where it is accepted, uses what was read. Exits where a reader refuses without saying why. */
    bool (*read)(const char *folder);
};

const struct fuzz_format *fuzz_formats(int *count);

/* For makers and readers. */

/* A file of the folder, until the next call. */
const char *fuzz_path(const char *folder, const char *name);
/* Ends the process, saying why, where making a valid file went wrong. */
void fuzz_must(distil_status status, const distil_error *error);
/* Whether a reader accepted; one that refuses must say why. */
bool fuzz_accepted(distil_status status, const distil_error *error);
/* Writes a text file into the folder. */
void fuzz_put(const char *folder, const char *name, const char *text);

#endif

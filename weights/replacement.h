/* replacement.h: a file that is written beside its place and moved there once it is whole, so that nobody ever reads half
 * of one, and what was there stays where writing fails.
 *
 *   struct weights_replacement file;
 *   status = weights_replacement_open(&file, path, 0666, error);
 *   ... fprintf(file.out, ...), whose failure finish finds
 *   if (!status)
 *       status = weights_replacement_finish(&file, error);
 *   weights_replacement_close(&file);
 */
#ifndef WEIGHTS_REPLACEMENT_H
#define WEIGHTS_REPLACEMENT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "weights/distil_status.h"

struct weights_replacement {
    const char *path; /* NULL: never opened, or closed */
    char *temporary;  /* the name until then; NULL where there is nothing to remove */
    FILE *out;
    int directory; /* of both; -1 where it is not open */
    bool
        exclusive; /* to be set before finish: where there is a file already that fails, with DISTIL_IO */
};

/* Creates the file, with these permissions but for the umask. DISTIL_INVALID where path names something else than a file.
 * Whatever it returns, weights_replacement_close is to be called. path must outlive it. */
distil_status weights_replacement_open(struct weights_replacement *replacement, const char *path,
                                       mode_t mode, distil_error *error);
/* Syncs it, and gives it its name. The errors of what was written before are found here. */
distil_status weights_replacement_finish(struct weights_replacement *replacement,
                                         distil_error *error);
/* Removes what has not been finished. One of zeros is ignored. */
void weights_replacement_close(struct weights_replacement *replacement);
/* An error from errno, of writing: "PATH: cannot WHAT: reason". */
distil_status weights_replacement_fail(const struct weights_replacement *replacement,
                                       const char *what, distil_error *error);

#endif

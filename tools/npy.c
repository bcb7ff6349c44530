#include "tools/npy.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weights/file.h"

/* Magic, version and length, then a Python dictionary, padded so that the values are aligned. */
enum { HEADER = 128, BEFORE = 10 };

static distil_status fail(const struct tool_npy *npy, const char *what, distil_error *error)
{
    int number = errno;
    return distil_fail(error, weights_errno_status(number), "%s: cannot %s: %s", npy->path, what,
                       strerror(number));
}

/* The header is as long however many rows there are, so that it can be written again. */
static distil_status put_header(struct tool_npy *npy, distil_error *error)
{
    unsigned char bytes[HEADER + 1] = "\x93NUMPY\x01";
    char *text = (char *)bytes + BEFORE;
    int length = snprintf(text, HEADER - BEFORE,
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (%ld, %d), }",
                          npy->rows, npy->width);
    memset(text + length, ' ', (size_t)(HEADER - BEFORE - length));
    text[HEADER - BEFORE - 1] = '\n';
    bytes[8] = HEADER - BEFORE;
    if (fwrite(bytes, 1, HEADER, npy->file) != HEADER)
        return fail(npy, "write", error);
    return DISTIL_OK;
}

distil_status tool_npy_open(struct tool_npy *npy, const char *path, int width, distil_error *error)
{
    size_t size = strlen(path) + 32;
    npy->path = path;
    npy->width = width;
    npy->temporary = malloc(size);
    if (!npy->temporary)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a path");
    snprintf(npy->temporary, size, "%s.%ld.tmp", path, (long)getpid());
    npy->file = fopen(npy->temporary, "wbx");
    if (!npy->file) {
        distil_status status = fail(npy, "create", error);
        free(npy->temporary); /* not ours to remove */
        npy->temporary = NULL;
        return status;
    }
    return put_header(npy, error);
}

distil_status tool_npy_add(struct tool_npy *npy, const float *row, distil_error *error)
{
    for (int i = 0; i < npy->width; i++) {
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        const unsigned char bytes[4] = {(unsigned char)bits, (unsigned char)(bits >> 8),
                                        (unsigned char)(bits >> 16), (unsigned char)(bits >> 24)};
        if (fwrite(bytes, 1, sizeof bytes, npy->file) != sizeof bytes)
            return fail(npy, "write", error);
    }
    npy->rows++;
    return DISTIL_OK;
}

distil_status tool_npy_finish(struct tool_npy *npy, distil_error *error)
{
    if (fseek(npy->file, 0, SEEK_SET))
        return fail(npy, "write", error);
    distil_status status = put_header(npy, error);
    if (status)
        return status;
    int failed = fflush(npy->file) || fsync(fileno(npy->file));
    if (failed || fclose(npy->file)) {
        npy->file = failed ? npy->file : NULL;
        return fail(npy, "write", error);
    }
    npy->file = NULL;
    if (rename(npy->temporary, npy->path))
        return fail(npy, "rename to", error);
    free(npy->temporary);
    npy->temporary = NULL;
    return DISTIL_OK;
}

void tool_npy_close(struct tool_npy *npy)
{
    if (npy->file)
        fclose(npy->file);
    if (npy->temporary)
        unlink(npy->temporary);
    free(npy->temporary);
    *npy = (struct tool_npy){0};
}

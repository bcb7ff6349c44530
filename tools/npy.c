#include "tools/npy.h"

#include <stdint.h>
#include <string.h>

/* Magic, version and length, then a Python dictionary, padded so that the values are aligned. */
enum { HEADER = 128, BEFORE = 10 };

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
    if (fwrite(bytes, 1, HEADER, npy->file.out) != HEADER)
        return weights_replacement_fail(&npy->file, "write", error);
    return DISTIL_OK;
}

distil_status tool_npy_open(struct tool_npy *npy, const char *path, int width, distil_error *error)
{
    distil_status status = weights_replacement_open(&npy->file, path, 0666, error);
    npy->width = width;
    return status ? status : put_header(npy, error);
}

distil_status tool_npy_add(struct tool_npy *npy, const float *row, distil_error *error)
{
    for (int i = 0; i < npy->width; i++) {
        uint32_t bits;
        memcpy(&bits, &row[i], sizeof bits);
        const unsigned char bytes[4] = {(unsigned char)bits, (unsigned char)(bits >> 8),
                                        (unsigned char)(bits >> 16), (unsigned char)(bits >> 24)};
        if (fwrite(bytes, 1, sizeof bytes, npy->file.out) != sizeof bytes)
            return weights_replacement_fail(&npy->file, "write", error);
    }
    npy->rows++;
    return DISTIL_OK;
}

distil_status tool_npy_finish(struct tool_npy *npy, distil_error *error)
{
    if (fseek(npy->file.out, 0, SEEK_SET))
        return weights_replacement_fail(&npy->file, "write", error);
    distil_status status = put_header(npy, error);
    return status ? status : weights_replacement_finish(&npy->file, error);
}

void tool_npy_close(struct tool_npy *npy)
{
    weights_replacement_close(&npy->file);
    *npy = (struct tool_npy){0};
}

/* npy.h: a NumPy file of float vectors, written as they come. */
#ifndef TOOLS_NPY_H
#define TOOLS_NPY_H

#include "weights/replacement.h"

/* Zero-initialise. */
struct tool_npy {
    struct weights_replacement file;
    int width;
    long rows;
};

/* A float32 array (rows, width) in C order. path must outlive it. */
distil_status tool_npy_open(struct tool_npy *npy, const char *path, int width, distil_error *error);
distil_status tool_npy_add(struct tool_npy *npy, const float *row, distil_error *error);
/* Gives the file its name, replacing what had it. */
distil_status tool_npy_finish(struct tool_npy *npy, distil_error *error);
/* Frees it, and removes what was not finished. */
void tool_npy_close(struct tool_npy *npy);

#endif

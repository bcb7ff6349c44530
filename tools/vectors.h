/* vectors.h: vectors that another encoder made, from a NumPy file or TSV, one at a time. */
#ifndef TOOLS_VECTORS_H
#define TOOLS_VECTORS_H

#include "kernels/kernels.h"
#include "tools/input.h"
#include "weights/file.h"

/* Zero-initialise. */
struct tool_vectors {
    const char *path;
    int width;
    long count;    /* of a NumPy file; -1 of TSV, which has as many as there are lines */
    long next;     /* index of the vector to be read */
    float *values; /* (width) */
    /* NumPy: rows of floats of so many bytes each. */
    struct weights_mapping mapping;
    size_t start, value_bytes;
    struct kern_table kernels;
    /* TSV */
    struct tool_input input;
    char *line;
    size_t length;
};

/* A NumPy file has a two-dimensional array of float16, float32 or float64, little-endian, in C order. In TSV each line has
 * an id and the numbers of a vector, with tabs between them; the first line says how many. */
distil_status tool_vectors_open(struct tool_vectors *vectors, const char *path,
                                distil_error *error);
/* Reads the next vector, of the item with an id, which a line of TSV must name. */
distil_status tool_vectors_next(struct tool_vectors *vectors, const char *id, distil_error *error);
/* Whether nothing is left but empty lines, once so many items have their vectors. */
distil_status tool_vectors_end(struct tool_vectors *vectors, long items, distil_error *error);
void tool_vectors_close(struct tool_vectors *vectors);

#endif

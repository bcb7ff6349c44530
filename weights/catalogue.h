/* catalogue.h: a catalogue file: items with a vector, an id and further columns each, mapped as it lies. docs/catalogue.md
 * describes the file. */
#ifndef WEIGHTS_CATALOGUE_H
#define WEIGHTS_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

enum {
    WEIGHTS_CATALOGUE_ITEMS_MAX = 1 << 30,
    WEIGHTS_CATALOGUE_WIDTH_MAX = 1 << 16,
    WEIGHTS_CATALOGUE_COLUMNS_MAX = 64,
    WEIGHTS_CATALOGUE_ID_MAX = 1024 /* bytes: an id is kept with each score, and sent back */
};

/* The strings of a catalogue: of each item one for each column, the first of which is its id. */
struct weights_catalogue_table {
    long items;
    int columns;
    const char *const *names; /* (columns); that of column 0 is "id" */
    const char *strings;      /* each ends in a NUL */
    size_t string_bytes;
    const uint64_t *offsets; /* (items, columns): where in strings each begins */
};

/* Immutable once opened. */
struct weights_catalogue {
    char *path;
    char digest[65];  /* SHA-256 in lower-case hex of what the file holds */
    char encoder[65]; /* the same of the model file that made the vectors; "" where none is known */
    struct weights_catalogue_table table;
    int text_column; /* named "text"; -1 where there is none */
    int width;       /* values of a vector, which has length 1 */
    /* (items, stride): F32, F16 or I8; a row has `width` values and zeros up to a multiple of 64 bytes. */
    struct weights_tensor vectors;
    const uint32_t *order; /* (items): items by rising id */
    struct weights_catalogue_private *private_;
};

/* Everything but the vectors' values is checked, so that whatever opens can be searched. */
distil_status weights_catalogue_open(struct weights_catalogue **catalogue, const char *path,
                                     distil_error *error);
void weights_catalogue_free(struct weights_catalogue *catalogue);
/* Reads the whole file: its digest, and that every vector has length 1. */
distil_status weights_catalogue_verify(const struct weights_catalogue *catalogue,
                                       distil_error *error);
/* Whether both were opened from one file that nobody wrote to in between. */
bool weights_catalogue_same(const struct weights_catalogue *a, const struct weights_catalogue *b);
/* The string of an item in a column. */
const char *weights_catalogue_cell(const struct weights_catalogue_table *table, long item,
                                   int column);
/* The item with an id; -1 where there is none. */
long weights_catalogue_find(const struct weights_catalogue *catalogue, const char *id);

/* Writing one, vector by vector:
 *
 *   struct weights_catalogue_writer *writer;
 *   status = weights_catalogue_begin(&writer, &source, path, error);
 *   for each item, while there is no error: status = weights_catalogue_put(writer, vector);
 *   status = weights_catalogue_finish(writer);
 *   weights_catalogue_close(writer);
 */
struct weights_catalogue_source {
    const char *name; /* of where the items come from, for messages */
    struct weights_catalogue_table table;
    const char *encoder; /* digest of the model file; "" for none */
    int width;
    enum weights_dtype dtype; /* that vectors are stored as: F32, F16 or I8 */
};

struct weights_catalogue_writer;

/* Checks the table: ids are there, not over WEIGHTS_CATALOGUE_ID_MAX and unlike each other, all is UTF-8. The table must
 * outlive the writer. */
distil_status weights_catalogue_begin(struct weights_catalogue_writer **writer,
                                      const struct weights_catalogue_source *source,
                                      const char *path, distil_error *error);
/* Writes the next item's vector (width), scaled to length 1; DISTIL_INVALID for one of zeros or with a value that is not
 * finite. */
distil_status weights_catalogue_put(struct weights_catalogue_writer *writer, const float *vector);
/* To be called when every item has its vector: now the file is there. */
distil_status weights_catalogue_finish(struct weights_catalogue_writer *writer);
/* Frees, and removes what has not been finished. NULL is ignored. */
void weights_catalogue_close(struct weights_catalogue_writer *writer);

#endif

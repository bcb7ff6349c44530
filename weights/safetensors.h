/* safetensors.h: reading one safetensors file: u64 length of a JSON header, the header, the
 * tensors' bytes. */
#ifndef WEIGHTS_SAFETENSORS_H
#define WEIGHTS_SAFETENSORS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/distil_status.h"
#include "weights/file.h"

enum { WEIGHTS_RANK_MAX = 8 };

struct weights_stored {
    const char *name;
    const char *dtype; /* as the format spells it: "F32" */
    int rank;
    int64_t shape[WEIGHTS_RANK_MAX];
    size_t begin, bytes; /* within the data section */
    const unsigned char *data;
    bool used; /* for the loader, which refuses what it did not use */
};

struct weights_by_name {
    const char *name;
    struct weights_stored *stored;
};

struct weights_safetensors {
    char *path;
    struct weights_mapping mapping;
    cJSON *header;
    const cJSON *metadata; /* the __metadata__ object of strings; NULL without one */
    size_t data_start;     /* of the data section in the file */
    size_t count;
    struct weights_stored *tensors;  /* (count) in file order */
    struct weights_by_name *by_name; /* (count) in order of name */
};

/* Checks the whole header: bounds, types, shapes against bytes, no tensor twice, no overlap, no
 * hole, no bytes after the last tensor. Tensor bytes are not read. On failure nothing is left to
 * free. */
distil_status weights_safetensors_open(struct weights_safetensors *file, const char *path,
                                       distil_error *error);
void weights_safetensors_close(struct weights_safetensors *file);

/* NULL where there is none of that name. */
struct weights_stored *weights_safetensors_find(const struct weights_safetensors *file,
                                                const char *name);
/* "[384, 1536]" into buffer, for messages. Returns buffer. */
enum { WEIGHTS_SHAPE = 200 };
const char *weights_shape_text(int rank, const int64_t *shape, char buffer[WEIGHTS_SHAPE]);

#endif

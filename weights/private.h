/* private.h: what the floor's files share about an opened model. */
#ifndef WEIGHTS_PRIVATE_H
#define WEIGHTS_PRIVATE_H

#include "weights/arena.h"
#include "weights/safetensors.h"
#include "weights/weights.h"

struct weights_slot;

struct weights_private {
    struct weights_arena arena; /* strings, labels, vocabulary, layers and computed tensors */
    struct weights_safetensors *files; /* (file_count), mapped */
    size_t file_count, file_capacity;
    bool model_file; /* else a HuggingFace directory */
    /* What the weights were converted from: the class that config.json names, and the type of the
     * word table. */
    const char *source_architecture;
    const char *source_dtype;
};

/* Maps one more file for the model. */
distil_status weights_add_file(struct weights_model *model, const char *path, distil_error *error);

/* Checks a tensor's type and shape against the slot. */
distil_status weights_check_shape(const struct weights_stored *stored, const char *path,
                                  const struct weights_slot *slot, distil_error *error);

/* Views stored values as a matrix or vector of the slot's shape, copying to the arena where they
 * are not aligned. */
distil_status weights_view(struct weights_model *model, struct weights_tensor *tensor,
                           const struct weights_stored *stored, enum weights_dtype dtype, long rows,
                           long cols, distil_error *error);

/* The first value that is NaN or infinite is an error. */
distil_status weights_check_finite(const struct weights_stored *stored, const char *path,
                                   distil_error *error);

/* "F32" and so on to a type; false for one that weights are not held in. */
bool weights_dtype_from_name(const char *name, enum weights_dtype *dtype);

/* Loaders; *model is zeroed but for path and private_. */
distil_status weights_load_huggingface(struct weights_model *model, distil_error *error);
distil_status weights_load_model_file(struct weights_model *model, distil_error *error);

#endif

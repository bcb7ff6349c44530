/* model_file.c: reading a distild model file: safetensors with canonical names and __metadata__. */
#include <stdio.h>
#include <string.h>

#include "weights/convert_values.h"
#include "weights/file.h"
#include "weights/metadata.h"
#include "weights/names.h"
#include "weights/private.h"

/* The scales of an I8 matrix: F32, one a row. Small, so they are checked at once as the vectors
 * are. */
static distil_status load_scale(struct weights_model *model, const struct weights_slot *slot,
                                struct weights_tensor *tensor, distil_error *error)
{
    const struct weights_safetensors *file = &model->private_->files[0];
    struct weights_slot scale_slot = *slot;
    struct weights_tensor scale = {.data = NULL};
    char name[sizeof slot->name + 8];
    snprintf(name, sizeof name, "%s.scale", slot->name);
    struct weights_stored *stored = weights_safetensors_find(file, name);
    if (!stored || strcmp(stored->dtype, "F32") != 0)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %s: expected F32 scales for the I8 rows of %s, found %s",
                           model->path, name, slot->name, stored ? stored->dtype : "nothing");
    scale_slot.vector = true;
    scale_slot.cols = slot->rows;
    stored->used = true;
    distil_status status = weights_check_shape(stored, model->path, &scale_slot, error);
    if (!status)
        status = weights_check_finite(stored, model->path, error);
    if (!status)
        status = weights_view(model, &scale, stored, WEIGHTS_F32, 1, slot->rows, error);
    tensor->scale = scale.data;
    return status;
}

static distil_status load_tensor(struct weights_model *model, const struct weights_slot *slot,
                                 distil_error *error)
{
    const struct weights_safetensors *file = &model->private_->files[0];
    struct weights_tensor *tensor = weights_slot_tensor(model, slot);
    struct weights_stored *stored = weights_safetensors_find(file, slot->name);
    enum weights_dtype dtype;
    if (!stored && slot->part == WEIGHTS_PART_TOKEN_TYPE)
        return DISTIL_OK; /* of a checkpoint with a single token type */
    if (!stored)
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor %s is missing", model->path,
                           slot->name);
    if (!weights_dtype_from_name(stored->dtype, &dtype) || dtype == WEIGHTS_BF16 ||
        (slot->vector && dtype != WEIGHTS_F32))
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor %s: dtype: expected %s, found %s",
                           model->path, slot->name, slot->vector ? "F32" : "F32, F16 or I8",
                           stored->dtype);
    stored->used = true;
    distil_status status = weights_check_shape(stored, model->path, slot, error);
    if (!status && slot->vector)
        status = weights_check_finite(stored, model->path, error);
    if (!status)
        status = weights_view(model, tensor, stored, dtype, slot->rows, slot->cols, error);
    if (!status && dtype == WEIGHTS_I8)
        status = load_scale(model, slot, tensor, error);
    return status;
}

distil_status weights_load_model_file(struct weights_model *model, distil_error *error)
{
    distil_status status = weights_add_file(model, model->path, error);
    if (status)
        return status;
    const struct weights_safetensors *file = &model->private_->files[0];
    if (!cJSON_GetObjectItemCaseSensitive(file->metadata, WEIGHTS_KEY_VERSION))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected a distild model file, found safetensors without "
                           "" WEIGHTS_KEY_VERSION ": give the directory that has its config.json",
                           model->path);
    model->private_->model_file = true;
    status = weights_read_metadata(model, file->metadata, error);
    if (status)
        return status;
    model->layers = weights_arena_alloc(&model->private_->arena, (size_t)model->config.layers,
                                        sizeof *model->layers);
    if (!model->layers)
        return weights_no_memory(model->path, error);
    int count = weights_slot_count(&model->config);
    for (int i = 0; i < count && !status; i++) {
        struct weights_slot slot;
        weights_slot_at(&slot, &model->config, i);
        status = load_tensor(model, &slot, error);
    }
    for (size_t i = 0; i < file->count && !status; i++)
        if (!file->tensors[i].used)
            status = distil_fail(error, DISTIL_FORMAT, "%s: tensor %.200s is not expected",
                                 model->path, file->tensors[i].name);
    return status;
}

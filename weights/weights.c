#include "weights/weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/convert_values.h"
#include "weights/file.h"
#include "weights/metadata.h"
#include "weights/names.h"
#include "weights/output.h"
#include "weights/private.h"

const char *weights_dtype_name(enum weights_dtype dtype)
{
    switch (dtype) {
    case WEIGHTS_F32:
        return "fp32";
    case WEIGHTS_F16:
        return "fp16";
    case WEIGHTS_BF16:
        return "bf16";
    case WEIGHTS_I8:
        return "int8";
    }
    return "unknown";
}

bool weights_dtype_from_name(const char *name, enum weights_dtype *dtype)
{
    static const char *const names[] = {"F32", "F16", "BF16", "I8"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(names[i], name)) {
            *dtype = (enum weights_dtype)i;
            return true;
        }
    return false;
}

distil_status weights_add_file(struct weights_model *model, const char *path, distil_error *error)
{
    struct weights_private *private_ = model->private_;
    if (private_->file_count == private_->file_capacity) {
        size_t capacity = private_->file_capacity ? 2 * private_->file_capacity : 1;
        struct weights_safetensors *files =
            realloc(private_->files, capacity * sizeof *private_->files);
        if (!files)
            return weights_no_memory(path, error);
        private_->files = files;
        private_->file_capacity = capacity;
    }
    distil_status status =
        weights_safetensors_open(&private_->files[private_->file_count], path, error);
    if (!status)
        private_->file_count++;
    return status;
}

distil_status weights_check_shape(const struct weights_stored *stored, const char *path,
                                  const struct weights_slot *slot, distil_error *error)
{
    char found[WEIGHTS_SHAPE], wanted[WEIGHTS_SHAPE];
    int64_t shape[2] = {slot->vector ? slot->cols : slot->rows, slot->cols};
    int rank = slot->vector ? 1 : 2;
    if (stored->rank == rank && stored->shape[0] == shape[0] &&
        (rank == 1 || stored->shape[1] == shape[1]))
        return DISTIL_OK;
    return distil_fail(error, DISTIL_FORMAT, "%s: tensor %.200s: expected shape %s, found %s", path,
                       stored->name, weights_shape_text(rank, shape, wanted),
                       weights_shape_text(stored->rank, stored->shape, found));
}

distil_status weights_view(struct weights_model *model, struct weights_tensor *tensor,
                           const struct weights_stored *stored, enum weights_dtype dtype, long rows,
                           long cols, distil_error *error)
{
    *tensor = (struct weights_tensor){.dtype = dtype, .rows = rows, .cols = cols};
    tensor->data = stored->data;
    if ((uintptr_t)stored->data % weights_dtype_bytes(dtype) == 0)
        return DISTIL_OK;
    void *copy = weights_arena_alloc(&model->private_->arena, stored->bytes, 1);
    if (!copy)
        return weights_no_memory(model->path, error);
    memcpy(copy, stored->data, stored->bytes);
    tensor->data = copy;
    return DISTIL_OK;
}

distil_status weights_check_finite(const struct weights_stored *stored, const char *path,
                                   distil_error *error)
{
    enum weights_dtype dtype;
    if (!weights_dtype_from_name(stored->dtype, &dtype))
        return DISTIL_OK;
    size_t n = stored->bytes / weights_dtype_bytes(dtype);
    size_t at = weights_first_not_finite(stored->data, dtype, n);
    if (at == n)
        return DISTIL_OK;
    return distil_fail(
        error, DISTIL_FORMAT,
        "%s: tensor %.200s: expected finite values, found NaN or infinity at element %zu", path,
        stored->name, at);
}

distil_status weights_open(struct weights_model **model, const char *path, distil_error *error)
{
    struct stat info;
    *model = NULL;
    if (stat(path, &info)) {
        int number = errno;
        return distil_fail(error, weights_errno_status(number), "%s: cannot open: %s", path,
                           strerror(number));
    }
    struct weights_model *opened = calloc(1, sizeof *opened);
    if (!opened)
        return weights_no_memory(path, error);
    distil_status status = DISTIL_OK;
    opened->private_ = calloc(1, sizeof *opened->private_);
    if (!opened->private_ || !(opened->path = weights_arena_copy(&opened->private_->arena, path)))
        status = weights_no_memory(path, error);
    else if (S_ISDIR(info.st_mode))
        status = weights_load_huggingface(opened, error);
    else
        status = weights_load_model_file(opened, error);
    if (status) {
        weights_free(opened);
        return status;
    }
    *model = opened;
    return DISTIL_OK;
}

void weights_free(struct weights_model *model)
{
    if (!model)
        return;
    if (model->private_) {
        for (size_t i = 0; i < model->private_->file_count; i++)
            weights_safetensors_close(&model->private_->files[i]);
        free(model->private_->files);
        weights_arena_free(&model->private_->arena);
        free(model->private_);
    }
    free(model);
}

distil_status weights_verify(const struct weights_model *model, distil_error *error)
{
    if (!model->private_->model_file)
        return distil_fail(error, DISTIL_INVALID,
                           "%s: a HuggingFace directory states no digest to verify", model->path);
    const struct weights_safetensors *file = &model->private_->files[0];
    distil_status status = weights_check_digest(file, model->digest, error);
    for (size_t i = 0; i < file->count && !status; i++)
        status = weights_check_finite(&file->tensors[i], model->path, error);
    return status;
}

bool weights_same(const struct weights_model *a, const struct weights_model *b)
{
    return a->private_->model_file && b->private_->model_file &&
           weights_same_file(&a->private_->files[0].mapping, &b->private_->files[0].mapping);
}

void weights_each(const struct weights_model *model,
                  void (*visit)(void *context, const struct weights_entry *entry), void *context)
{
    for (size_t i = 0; i < model->private_->file_count; i++) {
        const struct weights_safetensors *file = &model->private_->files[i];
        for (size_t j = 0; j < file->count; j++) {
            const struct weights_stored *stored = &file->tensors[j];
            struct weights_entry entry = {.name = stored->name,
                                          .dtype = stored->dtype,
                                          .rank = stored->rank,
                                          .bytes = stored->bytes};
            memcpy(entry.shape, stored->shape, sizeof entry.shape);
            visit(context, &entry);
        }
    }
}

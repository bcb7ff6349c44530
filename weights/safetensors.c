#include "weights/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/json.h"

static const size_t HEADER_MAX = 100u << 20; /* as the format's own library has it */

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
    {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
    {"U32", 4},  {"F32", 4}, {"I64", 8}, {"U64", 8},     {"F64", 8},
};

const char *weights_shape_text(int rank, const int64_t *shape, char buffer[WEIGHTS_SHAPE])
{
    size_t used = (size_t)snprintf(buffer, WEIGHTS_SHAPE, "[");
    for (int i = 0; i < rank && used < WEIGHTS_SHAPE; i++)
        used += (size_t)snprintf(buffer + used, WEIGHTS_SHAPE - used, "%s%lld", i ? ", " : "",
                                 (long long)shape[i]);
    if (used < WEIGHTS_SHAPE)
        snprintf(buffer + used, WEIGHTS_SHAPE - used, "]");
    return buffer;
}

/* An integer in [0, 2^53], which a JSON number holds exactly. */
static bool whole_number(const cJSON *value, int64_t *out)
{
    if (!cJSON_IsNumber(value))
        return false;
    double number = value->valuedouble;
    if (!(number >= 0 && number <= 9007199254740992.0) || number != floor(number))
        return false;
    *out = (int64_t)number;
    return true;
}

/* The length of the header and the bytes it starts with. */
static distil_status find_header(const struct weights_safetensors *file, size_t *length,
                                 distil_error *error)
{
    const struct weights_mapping *mapping = &file->mapping;
    if (mapping->size < 8)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected at least 8 bytes of a safetensors file, found %zu",
                           file->path, mapping->size);
    uint64_t stated = 0;
    for (int i = 0; i < 8; i++)
        stated |= (uint64_t)mapping->data[i] << 8 * i;
    if (stated > HEADER_MAX)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected a safetensors file, such as a model or a catalogue, found "
                           "something else: its header would have %llu bytes, at most %zu may be",
                           file->path, (unsigned long long)stated, HEADER_MAX);
    if (stated > mapping->size - 8)
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: expected a safetensors file, such as a model or a catalogue, found something else "
            "or a part of one: its header would have %llu bytes, and %zu follow",
            file->path, (unsigned long long)stated, mapping->size - 8);
    if (stated == 0 || mapping->data[8] != '{')
        return distil_fail(error, DISTIL_FORMAT, "%s: header: expected a JSON object", file->path);
    *length = (size_t)stated;
    return DISTIL_OK;
}

static distil_status read_shape(struct weights_stored *tensor, const cJSON *entry, const char *path,
                                size_t *elements, distil_error *error)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    char found[WEIGHTS_DESCRIBE];
    if (!cJSON_IsArray(shape))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %.200s: shape: expected an array, found %s", path,
                           tensor->name, weights_describe(shape, found));
    *elements = 1;
    bool overflow = false;
    for (const cJSON *item = shape->child; item; item = item->next) {
        if (tensor->rank == WEIGHTS_RANK_MAX)
            return distil_fail(
                error, DISTIL_FORMAT,
                "%s: tensor %.200s: shape: expected at most %d dimensions, found more", path,
                tensor->name, WEIGHTS_RANK_MAX);
        int64_t size;
        if (!whole_number(item, &size))
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: tensor %.200s: shape: expected integers from 0, found %s", path,
                               tensor->name, weights_describe(item, found));
        tensor->shape[tensor->rank++] = size;
        overflow |= __builtin_mul_overflow(*elements, (size_t)size, elements);
    }
    if (overflow) {
        char text[WEIGHTS_SHAPE];
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %.200s: shape %s has more elements than memory can hold",
                           path, tensor->name,
                           weights_shape_text(tensor->rank, tensor->shape, text));
    }
    return DISTIL_OK;
}

static distil_status read_offsets(const struct weights_safetensors *file,
                                  struct weights_stored *tensor, const cJSON *entry,
                                  distil_error *error)
{
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    size_t data_size = file->mapping.size - file->data_start;
    int64_t begin, end;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(offsets->child, &begin) || !whole_number(offsets->child->next, &end))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %.200s: data_offsets: expected two integers from 0",
                           file->path, tensor->name);
    if (begin > end)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %.200s: data_offsets: begins at %lld, after its end %lld",
                           file->path, tensor->name, (long long)begin, (long long)end);
    if ((uint64_t)end > data_size)
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: tensor %.200s: data_offsets: expected an end within the %zu bytes of "
            "data, found %lld (is the file cut off?)",
            file->path, tensor->name, data_size, (long long)end);
    tensor->begin = (size_t)begin;
    tensor->bytes = (size_t)(end - begin);
    tensor->data = file->mapping.data + file->data_start + begin;
    return DISTIL_OK;
}

static distil_status read_tensor(const struct weights_safetensors *file,
                                 struct weights_stored *tensor, const cJSON *entry,
                                 distil_error *error)
{
    char found[WEIGHTS_DESCRIBE];
    tensor->name = entry->string;
    if (!cJSON_IsObject(entry))
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor %.200s: expected an object, found %s",
                           file->path, tensor->name, weights_describe(entry, found));
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    size_t size = 0;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes && cJSON_IsString(dtype); i++)
        if (!strcmp(dtype->valuestring, dtypes[i].name)) {
            tensor->dtype = dtypes[i].name;
            size = dtypes[i].bytes;
        }
    if (size == 0)
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: tensor %.200s: dtype: expected one such as F32, F16 or BF16, found %s", file->path,
            tensor->name, weights_describe(dtype, found));
    size_t elements = 0, bytes;
    distil_status status = read_shape(tensor, entry, file->path, &elements, error);
    if (!status)
        status = read_offsets(file, tensor, entry, error);
    if (status)
        return status;
    char shape[WEIGHTS_SHAPE];
    weights_shape_text(tensor->rank, tensor->shape, shape);
    if (__builtin_mul_overflow(elements, size, &bytes))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %.200s: shape %s of %s has more bytes than memory can hold",
                           file->path, tensor->name, shape, tensor->dtype);
    if (bytes != tensor->bytes)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %.200s: expected %zu bytes for shape %s of %s, found %zu",
                           file->path, tensor->name, bytes, shape, tensor->dtype, tensor->bytes);
    return DISTIL_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct weights_stored *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1; /* an empty tensor before the one that starts there */
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
    const struct weights_by_name *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Tensors, in file order, must follow one another without a gap up to the end of the file. */
static distil_status check_layout(const struct weights_safetensors *file, distil_error *error)
{
    size_t next = 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct weights_stored *tensor = &file->tensors[i];
        if (tensor->begin != next)
            return distil_fail(
                error, DISTIL_FORMAT,
                "%s: tensor %.200s: expected to begin at byte %zu of the data, found "
                "%zu: %s",
                file->path, tensor->name, next, tensor->begin,
                tensor->begin < next ? "it overlaps another" : "there is a hole");
        next += tensor->bytes;
    }
    size_t size = file->mapping.size - file->data_start;
    if (next != size)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected %zu bytes of data after the header, found %zu%s%.200s",
                           file->path, next, size, file->count ? ", the last of tensor " : "",
                           file->count ? file->tensors[file->count - 1].name : "");
    return DISTIL_OK;
}

static distil_status check_metadata(const struct weights_safetensors *file, distil_error *error)
{
    char found[WEIGHTS_DESCRIBE];
    if (!cJSON_IsObject(file->metadata))
        return distil_fail(error, DISTIL_FORMAT, "%s: __metadata__: expected an object, found %s",
                           file->path, weights_describe(file->metadata, found));
    for (const cJSON *item = file->metadata->child; item; item = item->next)
        if (!cJSON_IsString(item))
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: __metadata__: %.200s: expected a string, found %s", file->path,
                               item->string, weights_describe(item, found));
    return DISTIL_OK;
}

static distil_status read_header(struct weights_safetensors *file, distil_error *error)
{
    size_t length = 0;
    distil_status status = find_header(file, &length, error);
    if (status)
        return status;
    file->data_start = 8 + length;
    status = weights_json_parse(&file->header, file->path, (const char *)file->mapping.data + 8,
                                length, error);
    if (status)
        return status;
    for (const cJSON *item = file->header->child; item; item = item->next)
        file->count++;
    file->tensors = calloc(file->count + 1, sizeof *file->tensors);
    file->by_name = calloc(file->count + 1, sizeof *file->by_name);
    if (!file->tensors || !file->by_name)
        return weights_no_memory(file->path, error);
    file->count = 0;
    for (const cJSON *item = file->header->child; item; item = item->next) {
        if (!strcmp(item->string, "__metadata__")) {
            file->metadata = item;
            status = check_metadata(file, error);
        } else {
            status = read_tensor(file, &file->tensors[file->count++], item, error);
        }
        if (status)
            return status;
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, by_offset);
    for (size_t i = 0; i < file->count; i++)
        file->by_name[i] =
            (struct weights_by_name){.name = file->tensors[i].name, .stored = &file->tensors[i]};
    qsort(file->by_name, file->count, sizeof *file->by_name, by_name);
    return check_layout(file, error);
}

distil_status weights_safetensors_open(struct weights_safetensors *file, const char *path,
                                       distil_error *error)
{
    *file = (struct weights_safetensors){.path = strdup(path)};
    distil_status status =
        file->path ? weights_map(&file->mapping, path, error) : weights_no_memory(path, error);
    if (!status)
        status = read_header(file, error);
    if (status)
        weights_safetensors_close(file);
    return status;
}

void weights_safetensors_close(struct weights_safetensors *file)
{
    if (!file)
        return;
    cJSON_Delete(file->header);
    free(file->tensors);
    free(file->by_name);
    weights_unmap(&file->mapping);
    free(file->path);
    *file = (struct weights_safetensors){0};
}

struct weights_stored *weights_safetensors_find(const struct weights_safetensors *file,
                                                const char *name)
{
    const struct weights_by_name key = {.name = name};
    const struct weights_by_name *found =
        file->count ? bsearch(&key, file->by_name, file->count, sizeof key, by_name) : NULL;
    return found ? found->stored : NULL;
}

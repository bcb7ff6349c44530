/* catalogue.c: reading a catalogue file: safetensors with the tensors of catalogue_write.c and __metadata__. */
#include "weights/catalogue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "weights/catalogue_format.h"
#include "weights/convert_values.h"
#include "weights/json.h"
#include "weights/metadata.h"
#include "weights/pack.h"
#include "weights/private.h"

struct weights_catalogue_private {
    struct weights_safetensors file;
    struct weights_arena arena;
};

static distil_status read_names(struct weights_catalogue *catalogue,
                                const struct weights_fields *fields)
{
    struct weights_arena *arena = &catalogue->private_->arena;
    struct weights_catalogue_table *table = &catalogue->table;
    const char *text = NULL, *twice = NULL;
    cJSON *json = NULL;
    const char **names = NULL;
    catalogue->text_column = -1;
    distil_status status = weights_get_string(fields, WEIGHTS_KEY_COLUMNS, true, &text);
    if (!status)
        status = weights_json_parse(&json, catalogue->path, text, strlen(text), fields->error);
    if (status)
        return status;
    int count = cJSON_IsArray(json) ? cJSON_GetArraySize(json) : 0;
    bool good = count >= 1 && count <= WEIGHTS_CATALOGUE_COLUMNS_MAX;
    names = weights_arena_alloc(arena, (size_t)count + 1, sizeof *names);
    if (!names)
        status = weights_no_memory(catalogue->path, fields->error);
    for (const cJSON *item = good ? json->child : NULL; item && names && !status;
         item = item->next) {
        good &= cJSON_IsString(item);
        const char *name = cJSON_IsString(item) ? item->valuestring : "";
        if (strcmp(name, "text") == 0)
            catalogue->text_column = table->columns;
        names[table->columns] = weights_arena_copy(arena, name);
        if (!names[table->columns++])
            status = weights_no_memory(catalogue->path, fields->error);
    }
    cJSON_Delete(json);
    if (!status && (!good || !names || strcmp(names[0], "id") != 0))
        status = distil_fail(fields->error, DISTIL_FORMAT,
                             "%s: " WEIGHTS_KEY_COLUMNS
                             ": expected 1 to %d names of which the first is id, found \"%.200s\"",
                             catalogue->path, WEIGHTS_CATALOGUE_COLUMNS_MAX, text);
    if (!status)
        status =
            weights_find_duplicate(&twice, names, (size_t)count, catalogue->path, fields->error);
    if (!status && twice)
        status = distil_fail(fields->error, DISTIL_FORMAT,
                             "%s: " WEIGHTS_KEY_COLUMNS ": %.100s appears twice", catalogue->path,
                             twice);
    table->names = names;
    return status;
}

static distil_status read_metadata(struct weights_catalogue *catalogue, distil_error *error)
{
    const cJSON *metadata = catalogue->private_->file.metadata;
    const struct weights_fields fields = {
        .object = metadata, .where = catalogue->path, .error = error};
    const char *encoder = NULL, *width = NULL;
    if (!cJSON_GetObjectItemCaseSensitive(metadata, WEIGHTS_KEY_CATALOGUE_VERSION))
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: expected a catalogue that `distild catalogue build` wrote, found %s",
            catalogue->path,
            cJSON_GetObjectItemCaseSensitive(metadata, WEIGHTS_KEY_VERSION)
                ? "a model file"
                : "safetensors without " WEIGHTS_KEY_CATALOGUE_VERSION);
    distil_status status =
        weights_read_version(&fields, WEIGHTS_KEY_CATALOGUE_VERSION, WEIGHTS_CATALOGUE_MAJOR);
    if (!status)
        status = weights_read_digest(&fields, WEIGHTS_KEY_DIGEST, catalogue->digest);
    if (!status)
        status = weights_get_string(&fields, WEIGHTS_KEY_ENCODER, true, &encoder);
    if (!status && *encoder)
        status = weights_read_digest(&fields, WEIGHTS_KEY_ENCODER, catalogue->encoder);
    if (!status)
        status = weights_get_string(&fields, WEIGHTS_KEY_WIDTH, true, &width);
    if (status)
        return status;
    char *end;
    long number = strtol(width, &end, 10);
    if (*width < '1' || *width > '9' || *end || number > WEIGHTS_CATALOGUE_WIDTH_MAX)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: " WEIGHTS_KEY_WIDTH ": expected 1 to %d, found \"%.40s\"",
                           catalogue->path, WEIGHTS_CATALOGUE_WIDTH_MAX, width);
    catalogue->width = (int)number;
    return read_names(catalogue, &fields);
}

static size_t elements(const struct weights_stored *stored)
{
    size_t count = 1;
    for (int i = 0; i < stored->rank; i++)
        count *= (size_t)stored->shape[i];
    return count;
}

/* A tensor of the file by name, type and shape; a negative size of a dimension is any from 1. */
static distil_status find_tensor(const struct weights_catalogue *catalogue, const char *name,
                                 const char *dtype, int rank, const int64_t *shape,
                                 const struct weights_stored **found, distil_error *error)
{
    const struct weights_safetensors *file = &catalogue->private_->file;
    struct weights_stored *stored = weights_safetensors_find(file, name);
    char expected[WEIGHTS_SHAPE], is[WEIGHTS_SHAPE];
    if (!stored)
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor %s is missing", file->path, name);
    bool good = stored->rank == rank && (!dtype || strcmp(stored->dtype, dtype) == 0);
    for (int i = 0; i < rank && good; i++)
        good = shape[i] < 0 ? stored->shape[i] > 0 : stored->shape[i] == shape[i];
    if (!good)
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor %s: expected %s of %s, found %s of %s",
                           file->path, name, weights_shape_text(rank, shape, expected),
                           dtype ? dtype : "F32, F16 or I8",
                           weights_shape_text(stored->rank, stored->shape, is), stored->dtype);
    /* As the writer leaves them; numbers are read where they lie. */
    const size_t alignment = stored->bytes / elements(stored);
    if ((uintptr_t)stored->data % alignment)
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor %s is not aligned", file->path, name);
    stored->used = true;
    *found = stored;
    return DISTIL_OK;
}

static distil_status read_vectors(struct weights_catalogue *catalogue, distil_error *error)
{
    struct weights_catalogue_table *table = &catalogue->table;
    struct weights_tensor *vectors = &catalogue->vectors;
    const struct weights_stored *stored = NULL, *scale = NULL;
    const int64_t any[2] = {-1, -1};
    distil_status status = find_tensor(catalogue, "vectors", NULL, 2, any, &stored, error);
    if (status)
        return status;
    if (!weights_dtype_from_name(stored->dtype, &vectors->dtype) || vectors->dtype == WEIGHTS_BF16)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor vectors: dtype: expected F32, F16 or I8, found %s",
                           catalogue->path, stored->dtype);
    long stride = weights_catalogue_stride(catalogue->width, weights_dtype_bytes(vectors->dtype));
    if (stored->shape[0] > WEIGHTS_CATALOGUE_ITEMS_MAX || stored->shape[1] != stride)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor vectors: expected [1 to %d, %ld] for vectors of %d values, "
                           "found [%lld, %lld]",
                           catalogue->path, WEIGHTS_CATALOGUE_ITEMS_MAX, stride, catalogue->width,
                           (long long)stored->shape[0], (long long)stored->shape[1]);
    table->items = (long)stored->shape[0];
    vectors->rows = table->items;
    vectors->cols = stride;
    vectors->data = stored->data;
    if (vectors->dtype != WEIGHTS_I8)
        return DISTIL_OK;
    status = find_tensor(catalogue, "vectors.scale", "F32", 1, stored->shape, &scale, error);
    if (status)
        return status;
    vectors->scale = (const float *)(const void *)scale->data;
    return weights_check_finite(scale, catalogue->path, error);
}

static distil_status check_strings(const struct weights_catalogue *catalogue, distil_error *error)
{
    const struct weights_catalogue_table *table = &catalogue->table;
    const size_t cells = (size_t)table->items * (size_t)table->columns;
    if (table->strings[table->string_bytes - 1] != '\0')
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor strings: the last string does not end",
                           catalogue->path);
    if (!weights_utf8_valid(table->strings, table->string_bytes))
        return distil_fail(error, DISTIL_FORMAT, "%s: tensor strings: not valid UTF-8",
                           catalogue->path);
    for (size_t i = 0; i < cells; i++) {
        uint64_t at = table->offsets[i];
        if (at >= table->string_bytes || (at > 0 && table->strings[at - 1] != '\0'))
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: tensor offsets: element %zu is %llu, which is not where a "
                               "string begins",
                               catalogue->path, i, (unsigned long long)at);
    }
    return DISTIL_OK;
}

/* Ids that rise strictly along the order are unlike each other, and every item is there once. */
static distil_status check_order(const struct weights_catalogue *catalogue, distil_error *error)
{
    const struct weights_catalogue_table *table = &catalogue->table;
    const char *before = NULL;
    for (long i = 0; i < table->items; i++) {
        uint32_t item = catalogue->order[i];
        if (item >= table->items)
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: tensor order: element %ld: expected an item under %ld, found "
                               "%lu",
                               catalogue->path, i, table->items, (unsigned long)item);
        const char *id = weights_catalogue_cell(table, item, 0);
        if (!*id || (before && strcmp(before, id) >= 0))
            return distil_fail(
                error, DISTIL_FORMAT,
                "%s: tensor order: element %ld: expected an id after '%.100s', found "
                "'%.100s'",
                catalogue->path, i, before ? before : "", id);
        if (strlen(id) > WEIGHTS_CATALOGUE_ID_MAX)
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: item %ld ('%.60s...'): its id has %zu bytes, at most %d may be",
                               catalogue->path, (long)item + 1, id, strlen(id),
                               WEIGHTS_CATALOGUE_ID_MAX);
        before = id;
    }
    return DISTIL_OK;
}

static distil_status read_tensors(struct weights_catalogue *catalogue, distil_error *error)
{
    const struct weights_safetensors *file = &catalogue->private_->file;
    struct weights_catalogue_table *table = &catalogue->table;
    const struct weights_stored *strings = NULL, *offsets = NULL, *order = NULL;
    distil_status status = read_vectors(catalogue, error);
    const int64_t cells[2] = {table->items, table->columns}, any = -1;
    if (!status)
        status = find_tensor(catalogue, "offsets", "U64", 2, cells, &offsets, error);
    if (!status)
        status = find_tensor(catalogue, "order", "U32", 1, cells, &order, error);
    if (!status)
        status = find_tensor(catalogue, "strings", "U8", 1, &any, &strings, error);
    for (size_t i = 0; i < file->count && !status; i++)
        if (!file->tensors[i].used)
            status = distil_fail(error, DISTIL_FORMAT, "%s: tensor %.200s is not expected",
                                 file->path, file->tensors[i].name);
    if (status)
        return status;
    table->offsets = (const uint64_t *)(const void *)offsets->data;
    catalogue->order = (const uint32_t *)(const void *)order->data;
    table->strings = (const char *)strings->data;
    table->string_bytes = strings->bytes;
    status = check_strings(catalogue, error);
    return status ? status : check_order(catalogue, error);
}

distil_status weights_catalogue_open(struct weights_catalogue **out, const char *path,
                                     distil_error *error)
{
    *out = NULL;
    struct weights_catalogue *catalogue = calloc(1, sizeof *catalogue);
    struct weights_catalogue_private *private_ = calloc(1, sizeof *private_);
    distil_status status = DISTIL_OK;
    if (!catalogue || !private_) {
        free(catalogue);
        free(private_);
        return weights_no_memory(path, error);
    }
    catalogue->private_ = private_;
    catalogue->path = weights_arena_copy(&private_->arena, path);
    if (!catalogue->path)
        status = weights_no_memory(path, error);
    if (!status)
        status = weights_safetensors_open(&private_->file, path, error);
    if (!status)
        status = read_metadata(catalogue, error);
    if (!status)
        status = read_tensors(catalogue, error);
    if (status) {
        weights_catalogue_free(catalogue);
        return status;
    }
    *out = catalogue;
    return DISTIL_OK;
}

void weights_catalogue_free(struct weights_catalogue *catalogue)
{
    if (!catalogue)
        return;
    weights_safetensors_close(&catalogue->private_->file);
    weights_arena_free(&catalogue->private_->arena);
    free(catalogue->private_);
    free(catalogue);
}

distil_status weights_catalogue_verify(const struct weights_catalogue *catalogue,
                                       distil_error *error)
{
    /* Rounding to fp16 changes a length by less than 0.001, rounding to int8 by less than 0.02. */
    const double allowed = catalogue->vectors.dtype == WEIGHTS_I8 ? 0.02 : 0.001;
    struct kern_table kernels;
    kern_table_init(&kernels, KERN_SCALAR);
    float *values = malloc((size_t)catalogue->vectors.cols * sizeof *values);
    if (!values)
        return weights_no_memory(catalogue->path, error);
    distil_status status =
        weights_check_digest(&catalogue->private_->file, catalogue->digest, error);
    for (long item = 0; item < catalogue->table.items && !status; item++) {
        const float *row = weights_row(&catalogue->vectors, item, &kernels, values);
        double squares = 0;
        for (int i = 0; i < catalogue->width; i++)
            squares += (double)row[i] * (double)row[i];
        if (!(fabs(sqrt(squares) - 1) <= allowed))
            status = distil_fail(
                error, DISTIL_FORMAT, "%s: item '%.100s': expected a vector of length 1, found %g",
                catalogue->path, weights_catalogue_cell(&catalogue->table, item, 0), sqrt(squares));
    }
    free(values);
    return status;
}

bool weights_catalogue_same(const struct weights_catalogue *a, const struct weights_catalogue *b)
{
    return weights_same_file(&a->private_->file.mapping, &b->private_->file.mapping);
}

const char *weights_catalogue_cell(const struct weights_catalogue_table *table, long item,
                                   int column)
{
    return table->strings + table->offsets[item * table->columns + column];
}

long weights_catalogue_find(const struct weights_catalogue *catalogue, const char *id)
{
    long low = 0, high = catalogue->table.items;
    while (low < high) {
        long middle = low + (high - low) / 2;
        long item = catalogue->order[middle];
        int difference = strcmp(weights_catalogue_cell(&catalogue->table, item, 0), id);
        if (difference == 0)
            return item;
        if (difference < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

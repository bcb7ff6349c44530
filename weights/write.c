/* write.c: writing a model file. docs/model-file.md describes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/convert_values.h"
#include "weights/file.h"
#include "weights/metadata.h"
#include "weights/names.h"
#include "weights/output.h"
#include "weights/pack.h"
#include "weights/private.h"

/* One tensor of the file to be. */
struct item {
    char name[80];
    const struct weights_tensor *tensor; /* where the values come from */
    bool scale;                          /* the scales of the tensor's rows, not its values */
    bool vector;
    enum weights_dtype dtype;
    size_t bytes;
    int order; /* canonical */
};

struct writer {
    const struct weights_model *model;
    const struct weights_golden *golden;
    const char *path;
    distil_error *error;
    struct weights_output output;
    struct item *items;
    int count;
    struct weights_text header;
    size_t done, total; /* bytes */
    weights_progress *progress;
    void *context;
    struct kern_table table; /* scalar: the same bytes on every machine */
    /* Scratch, each of as many values as the longest row or column of a matrix. */
    float *row, *scales;
    int8_t *quantised;
    size_t longest;
};

static int alignment_of(size_t bytes)
{
    int alignment = 1;
    while (alignment < WEIGHTS_DATA_ALIGN && bytes % (size_t)(2 * alignment) == 0)
        alignment *= 2;
    return alignment;
}

/* A safetensors file has no gaps, so tensors stand in order of the largest power of two, up to 64,
 * that divides their bytes: each then begins at a multiple of its own. Every matrix of an encoder
 * as they are made is a multiple of 64. */
static int by_alignment(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int difference = alignment_of(y->bytes) - alignment_of(x->bytes);
    return difference ? difference : x->order - y->order;
}

/* Vectors are few and decide much: they stay F32. Positions are added to every token, so that rounding them to I8 turns more
 * labels than the rest of the embeddings does, and they are small: they are halved instead. */
static enum weights_dtype stored_dtype(const struct writer *writer, const struct weights_slot *slot,
                                       const struct weights_tensor *tensor,
                                       enum weights_dtype dtype)
{
    /* A head on embeddings is small, and all that was learnt. */
    if (slot->vector || (tensor == &writer->model->head.weight &&
                         writer->model->config.head_input == WEIGHTS_HEAD_EMBEDDING))
        return WEIGHTS_F32;
    if (dtype == WEIGHTS_I8 && tensor == &writer->model->position)
        return WEIGHTS_F16;
    return dtype;
}

static distil_status list_items(struct writer *writer, enum weights_dtype dtype)
{
    int slots = weights_slot_count(&writer->model->config);
    writer->items = calloc((size_t)slots * 2 + 1, sizeof *writer->items);
    if (!writer->items)
        return weights_no_memory(writer->path, writer->error);
    for (int i = 0; i < slots; i++) {
        struct weights_slot slot;
        weights_slot_at(&slot, &writer->model->config, i);
        const struct weights_tensor *tensor = weights_slot_tensor_const(writer->model, &slot);
        if (!tensor->data)
            continue;
        struct item *item = &writer->items[writer->count++];
        *item = (struct item){.tensor = tensor,
                              .vector = slot.vector,
                              .dtype = stored_dtype(writer, &slot, tensor, dtype),
                              .order = writer->count};
        snprintf(item->name, sizeof item->name, "%s", slot.name);
        item->bytes = (size_t)slot.rows * (size_t)slot.cols * weights_dtype_bytes(item->dtype);
        writer->total += item->bytes;
        size_t longest = (size_t)(slot.cols > slot.rows ? slot.cols : slot.rows);
        writer->longest = longest > writer->longest ? longest : writer->longest;
        if (item->dtype != WEIGHTS_I8)
            continue;
        struct item *scale = &writer->items[writer->count++];
        *scale = (struct item){.tensor = tensor,
                               .scale = true,
                               .vector = true,
                               .dtype = WEIGHTS_F32,
                               .bytes = (size_t)slot.rows * sizeof(float),
                               .order = writer->count};
        snprintf(scale->name, sizeof scale->name, "%s.scale", slot.name);
        writer->total += scale->bytes;
    }
    qsort(writer->items, (size_t)writer->count, sizeof *writer->items, by_alignment);
    return DISTIL_OK;
}

static const char *stored_name(enum weights_dtype dtype)
{
    return dtype == WEIGHTS_F32 ? "F32" : dtype == WEIGHTS_F16 ? "F16" : "I8";
}

/* The JSON header. */
static distil_status build_header(struct writer *writer, enum weights_dtype dtype)
{
    struct weights_text *header = &writer->header;
    size_t begin = 0;
    weights_text_format(header, "{\"__metadata__\":");
    weights_write_metadata(header, writer->model, dtype, writer->golden);
    for (int i = 0; i < writer->count; i++) {
        const struct item *item = &writer->items[i];
        weights_text_format(header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", item->name,
                            stored_name(item->dtype));
        if (!item->vector)
            weights_text_format(header, "%ld,", item->tensor->rows);
        weights_text_format(header, "%ld],\"data_offsets\":[%zu,%zu]}",
                            item->scale ? item->tensor->rows : item->tensor->cols, begin,
                            begin + item->bytes);
        begin += item->bytes;
    }
    weights_text_add(header, "}", 1);
    return header->failed ? weights_no_memory(writer->path, writer->error) : DISTIL_OK;
}

/* Row `row` as floats, all of them finite. *values may be the tensor's own memory. */
static distil_status read_row(struct writer *writer, const struct item *item, long row,
                              const float **values)
{
    size_t cols = (size_t)item->tensor->cols;
    *values = weights_row(item->tensor, row, &writer->table, writer->row);
    size_t at = weights_first_not_finite(*values, WEIGHTS_F32, cols);
    if (at == cols)
        return DISTIL_OK;
    return distil_fail(writer->error, DISTIL_FORMAT,
                       "%s: tensor %s: expected finite values, found %g in row %ld, column %zu",
                       writer->model->path, item->name, (double)(*values)[at], row, at);
}

static distil_status to_half(const struct writer *writer, const struct item *item, long row,
                             const float *values, void *out)
{
    size_t cols = (size_t)item->tensor->cols;
    uint16_t *half = out;
    for (size_t i = 0; i < cols; i++)
        half[i] = weights_float_to_half(values[i]);
    size_t at = weights_first_not_finite(half, WEIGHTS_F16, cols);
    if (at == cols)
        return DISTIL_OK;
    return distil_fail(
        writer->error, DISTIL_UNSUPPORTED,
        "%s: tensor %s: expected values that fp16 can hold (up to 65504), found %g in "
        "row %ld, column %zu",
        writer->model->path, item->name, (double)values[at], row, at);
}

/* Row `row` of a tensor as it is stored. */
static distil_status convert_row(struct writer *writer, const struct item *item, long row,
                                 void *out)
{
    const struct weights_tensor *tensor = item->tensor;
    size_t cols = (size_t)tensor->cols;
    if (item->dtype == WEIGHTS_I8 && tensor->dtype == WEIGHTS_I8) {
        memcpy(out, (const int8_t *)tensor->data + (size_t)row * cols, cols);
        return DISTIL_OK;
    }
    const float *values;
    distil_status status = read_row(writer, item, row, &values);
    if (status)
        return status;
    if (item->dtype == WEIGHTS_F16)
        return to_half(writer, item, row, values, out);
    if (item->dtype == WEIGHTS_I8)
        writer->table.quantise_weights(out, values, tensor->cols);
    else
        memcpy(out, values, cols * sizeof *values);
    return DISTIL_OK;
}

/* A row's scale is what quantising the row gives, once for the scales and once more for the values.
 */
static distil_status put_scales(struct writer *writer, const struct item *item)
{
    const struct weights_tensor *tensor = item->tensor;
    if (tensor->dtype == WEIGHTS_I8)
        return weights_output_put(&writer->output, tensor->scale, item->bytes);
    distil_status status = DISTIL_OK;
    for (long row = 0; row < tensor->rows && !status; row++) {
        const float *values;
        status = read_row(writer, item, row, &values);
        if (!status)
            writer->scales[row] =
                writer->table.quantise_weights(writer->quantised, values, tensor->cols);
    }
    return status ? status : weights_output_put(&writer->output, writer->scales, item->bytes);
}

static void report(struct writer *writer, size_t bytes)
{
    writer->done += bytes;
    if (writer->progress)
        writer->progress(writer->context, writer->done, writer->total);
}

static distil_status put_item(struct writer *writer, const struct item *item)
{
    if (item->scale) {
        distil_status status = put_scales(writer, item);
        report(writer, item->bytes);
        return status;
    }
    /* Rows are gathered so that a system call has some hundred kilobytes. */
    enum { BLOCK = 1 << 18 };
    size_t row_bytes = (size_t)item->tensor->cols * weights_dtype_bytes(item->dtype);
    size_t rows_per_block = row_bytes < BLOCK ? BLOCK / row_bytes : 1, used = 0;
    unsigned char *block = malloc(rows_per_block * row_bytes);
    if (!block)
        return weights_no_memory(writer->path, writer->error);
    distil_status status = DISTIL_OK;
    for (long row = 0; row < item->tensor->rows && !status; row++) {
        status = convert_row(writer, item, row, block + used);
        used += row_bytes;
        if (status || (used < rows_per_block * row_bytes && row + 1 < item->tensor->rows))
            continue;
        status = weights_output_put(&writer->output, block, used);
        report(writer, used);
        used = 0;
    }
    free(block);
    return status;
}

/* Header with zeros for the digest, data, then the digest over both in its place. */
static distil_status put_all(struct writer *writer)
{
    distil_status status = weights_output_header(&writer->output, &writer->header);
    for (int i = 0; i < writer->count && !status; i++)
        status = put_item(writer, &writer->items[i]);
    return status ? status : weights_output_finish(&writer->output);
}

distil_status weights_write(const struct weights_model *model, const char *path,
                            enum weights_dtype dtype, const struct weights_golden *golden,
                            weights_progress *progress, void *context, distil_error *error)
{
    struct writer writer = {.model = model,
                            .golden = golden,
                            .path = path,
                            .error = error,
                            .progress = progress,
                            .context = context};
    distil_status status;
    if (dtype != WEIGHTS_F32 && dtype != WEIGHTS_F16 && dtype != WEIGHTS_I8)
        return distil_fail(error, DISTIL_INVALID,
                           "%s: a model file holds fp32, fp16 or int8, not %s", path,
                           weights_dtype_name(dtype));
    kern_table_init(&writer.table, KERN_SCALAR);
    status = list_items(&writer, dtype);
    if (!status)
        status = build_header(&writer, dtype);
    if (!status) {
        writer.row = malloc(writer.longest * sizeof *writer.row);
        writer.scales = malloc(writer.longest * sizeof *writer.scales);
        writer.quantised = malloc(writer.longest);
        if (!writer.row || !writer.scales || !writer.quantised)
            status = weights_no_memory(path, error);
    }
    if (!status)
        status = weights_output_open(&writer.output, path, error);
    if (!status)
        status = put_all(&writer);
    weights_output_close(&writer.output);
    free(writer.items);
    free(writer.row);
    free(writer.scales);
    free(writer.quantised);
    weights_text_free(&writer.header);
    return status;
}

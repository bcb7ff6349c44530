/* catalogue_write.c: writing a catalogue file. Vectors come first and one by one, so that a large catalogue is never in
 * memory as a whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "weights/catalogue_format.h"
#include "weights/convert_values.h"
#include "weights/file.h"
#include "weights/json.h"
#include "weights/output.h"

enum { BLOCK = 1 << 18 /* bytes of vectors that one system call writes */ };

struct weights_catalogue_writer {
    struct weights_catalogue_source source;
    const char *path;
    distil_error *error;
    struct weights_output output;
    struct weights_text header;
    struct kern_table kernels; /* scalar: the same bytes on every machine */
    long stride, done;         /* values of a stored row; items written */
    size_t row_bytes, used, capacity;
    unsigned char *block;
    float *row;      /* (stride) */
    float *scale;    /* (items), I8 only */
    uint32_t *order; /* (items) */
};

static distil_status check_cells(const struct weights_catalogue_writer *writer)
{
    const struct weights_catalogue_table *table = &writer->source.table;
    for (long item = 0; item < table->items; item++)
        for (int column = 0; column < table->columns; column++) {
            const char *cell = weights_catalogue_cell(table, item, column);
            if (column == 0 && !*cell)
                return distil_fail(writer->error, DISTIL_INVALID, "%s: item %ld: its id is empty",
                                   writer->source.name, item + 1);
            if (column == 0 && strlen(cell) > WEIGHTS_CATALOGUE_ID_MAX)
                return distil_fail(writer->error, DISTIL_INVALID,
                                   "%s: item %ld: its id has %zu bytes, at most %d may be",
                                   writer->source.name, item + 1, strlen(cell),
                                   WEIGHTS_CATALOGUE_ID_MAX);
            if (!weights_utf8_valid(cell, strlen(cell)))
                return distil_fail(writer->error, DISTIL_INVALID,
                                   "%s: item %ld: column %.60s: not valid UTF-8",
                                   writer->source.name, item + 1, table->names[column]);
        }
    return DISTIL_OK;
}

static int compare_ids(const void *a, const void *b, void *context)
{
    const struct weights_catalogue_table *table = context;
    return strcmp(weights_catalogue_cell(table, (long)*(const uint32_t *)a, 0),
                  weights_catalogue_cell(table, (long)*(const uint32_t *)b, 0));
}

static distil_status order_items(struct weights_catalogue_writer *writer)
{
    struct weights_catalogue_table *table = &writer->source.table;
    for (long i = 0; i < table->items; i++)
        writer->order[i] = (uint32_t)i;
    qsort_r(writer->order, (size_t)table->items, sizeof *writer->order, compare_ids, table);
    for (long i = 1; i < table->items; i++) {
        long first = (long)writer->order[i - 1], second = (long)writer->order[i];
        if (compare_ids(&writer->order[i - 1], &writer->order[i], table) == 0)
            return distil_fail(
                writer->error, DISTIL_INVALID, "%s: items %ld and %ld have the same id '%.100s'",
                writer->source.name, (first < second ? first : second) + 1,
                (first < second ? second : first) + 1, weights_catalogue_cell(table, first, 0));
    }
    return DISTIL_OK;
}

static void add_tensor(struct weights_text *header, const char *name, const char *dtype, long rows,
                       long columns, size_t bytes, size_t *begin)
{
    weights_text_format(header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%ld", name, dtype, rows);
    if (columns > 0)
        weights_text_format(header, ",%ld", columns);
    weights_text_format(header, "],\"data_offsets\":[%zu,%zu]}", *begin, *begin + bytes);
    *begin += bytes;
}

/* In this order every tensor begins at a multiple of the size of its numbers. */
static void build_header(struct weights_catalogue_writer *writer)
{
    const struct weights_catalogue_source *source = &writer->source;
    const struct weights_catalogue_table *table = &source->table;
    struct weights_text *header = &writer->header, names = {0};
    const size_t items = (size_t)table->items;
    static const char *const dtypes[] = {
        [WEIGHTS_F32] = "F32", [WEIGHTS_F16] = "F16", [WEIGHTS_I8] = "I8"};
    size_t begin = 0;
    for (int i = 0; i < table->columns; i++) {
        weights_text_add(&names, i ? "," : "[", 1);
        weights_text_json(&names, table->names[i]);
    }
    weights_text_add(&names, "]", 1);
    weights_text_format(header,
                        "{\"__metadata__\":{\"format\":\"" WEIGHTS_CATALOGUE_FORMAT
                        "\",\"" WEIGHTS_KEY_CATALOGUE_VERSION "\":\"%d\",\"" WEIGHTS_KEY_DIGEST
                        "\":\"%0*d\",\"" WEIGHTS_KEY_ENCODER "\":\"%s\",\"" WEIGHTS_KEY_WIDTH
                        "\":\"%d\",\"" WEIGHTS_KEY_COLUMNS "\":",
                        WEIGHTS_CATALOGUE_MAJOR, WEIGHTS_DIGEST_LENGTH, 0, source->encoder,
                        source->width);
    weights_text_json(header, names.data ? names.data : "");
    weights_text_add(header, "}", 1);
    add_tensor(header, "vectors", dtypes[source->dtype], table->items, writer->stride,
               items * writer->row_bytes, &begin);
    add_tensor(header, "offsets", "U64", table->items, table->columns,
               items * (size_t)table->columns * sizeof *table->offsets, &begin);
    add_tensor(header, "order", "U32", table->items, 0, items * sizeof *writer->order, &begin);
    if (source->dtype == WEIGHTS_I8)
        add_tensor(header, "vectors.scale", "F32", table->items, 0, items * sizeof *writer->scale,
                   &begin);
    add_tensor(header, "strings", "U8", (long)table->string_bytes, 0, table->string_bytes, &begin);
    weights_text_add(header, "}", 1);
    header->failed |= names.failed;
    weights_text_free(&names);
}

static distil_status check_source(const struct weights_catalogue_source *source, const char *path,
                                  distil_error *error)
{
    const struct weights_catalogue_table *table = &source->table;
    if (table->items < 1 || table->items > WEIGHTS_CATALOGUE_ITEMS_MAX)
        return distil_fail(error, DISTIL_INVALID, "%s: expected 1 to %d items, found %ld",
                           source->name, WEIGHTS_CATALOGUE_ITEMS_MAX, table->items);
    if (source->width < 1 || source->width > WEIGHTS_CATALOGUE_WIDTH_MAX)
        return distil_fail(error, DISTIL_INVALID,
                           "%s: expected vectors of 1 to %d values, found %d", source->name,
                           WEIGHTS_CATALOGUE_WIDTH_MAX, source->width);
    if (table->columns < 1 || table->columns > WEIGHTS_CATALOGUE_COLUMNS_MAX)
        return distil_fail(error, DISTIL_INVALID, "%s: expected 1 to %d columns, found %d",
                           source->name, WEIGHTS_CATALOGUE_COLUMNS_MAX, table->columns);
    if (source->dtype == WEIGHTS_BF16)
        return distil_fail(error, DISTIL_INVALID, "%s: a catalogue holds fp32, fp16 or int8", path);
    return DISTIL_OK;
}

static bool allocate(struct weights_catalogue_writer *writer)
{
    const size_t items = (size_t)writer->source.table.items;
    writer->capacity =
        (writer->row_bytes < BLOCK ? BLOCK / writer->row_bytes : 1) * writer->row_bytes;
    writer->block = malloc(writer->capacity);
    writer->row = calloc((size_t)writer->stride, sizeof *writer->row);
    writer->order = malloc(items * sizeof *writer->order);
    if (writer->source.dtype == WEIGHTS_I8)
        writer->scale = malloc(items * sizeof *writer->scale);
    return writer->block && writer->row && writer->order &&
           (writer->scale || writer->source.dtype != WEIGHTS_I8);
}

distil_status weights_catalogue_begin(struct weights_catalogue_writer **out,
                                      const struct weights_catalogue_source *source,
                                      const char *path, distil_error *error)
{
    *out = NULL;
    distil_status status = check_source(source, path, error);
    if (status)
        return status;
    struct weights_catalogue_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return weights_no_memory(path, error);
    *writer = (struct weights_catalogue_writer){.source = *source, .path = path, .error = error};
    const size_t value_bytes = weights_dtype_bytes(source->dtype);
    kern_table_init(&writer->kernels, KERN_SCALAR);
    writer->stride = weights_catalogue_stride(source->width, value_bytes);
    writer->row_bytes = (size_t)writer->stride * value_bytes;
    if (!allocate(writer))
        status = weights_no_memory(path, error);
    if (!status)
        status = check_cells(writer);
    if (!status)
        status = order_items(writer);
    if (!status) {
        build_header(writer);
        status = weights_output_open(&writer->output, path, error);
    }
    if (!status)
        status = weights_output_header(&writer->output, &writer->header);
    if (status) {
        weights_catalogue_close(writer);
        return status;
    }
    *out = writer;
    return DISTIL_OK;
}

/* writer->row = the vector, scaled to length 1. */
static distil_status normalise(struct weights_catalogue_writer *writer, const float *vector)
{
    const int width = writer->source.width;
    const char *id = weights_catalogue_cell(&writer->source.table, writer->done, 0);
    double squares = 0;
    for (int i = 0; i < width; i++)
        squares += (double)vector[i] * (double)vector[i];
    if (!isfinite(squares))
        return distil_fail(
            writer->error, DISTIL_INVALID,
            "%s: item %ld ('%.100s'): its vector has a value that is infinite or not a "
            "number",
            writer->source.name, writer->done + 1, id);
    if (squares == 0)
        return distil_fail(
            writer->error, DISTIL_INVALID,
            "%s: item %ld ('%.100s'): its vector is all zeros, so it is like nothing",
            writer->source.name, writer->done + 1, id);
    const double inverse = 1 / sqrt(squares);
    for (int i = 0; i < width; i++)
        writer->row[i] = (float)((double)vector[i] * inverse);
    return DISTIL_OK;
}

distil_status weights_catalogue_put(struct weights_catalogue_writer *writer, const float *vector)
{
    if (writer->done == writer->source.table.items)
        return distil_fail(writer->error, DISTIL_INVALID, "%s: more vectors than the %ld items",
                           writer->path, writer->done);
    distil_status status = normalise(writer, vector);
    if (status)
        return status;
    void *to = writer->block + writer->used;
    if (writer->source.dtype == WEIGHTS_I8)
        writer->scale[writer->done] =
            writer->kernels.quantise_weights(to, writer->row, writer->stride);
    else if (writer->source.dtype == WEIGHTS_F32)
        memcpy(to, writer->row, writer->row_bytes);
    else
        for (long i = 0; i < writer->stride; i++)
            ((uint16_t *)to)[i] = weights_float_to_half(writer->row[i]);
    writer->used += writer->row_bytes;
    writer->done++;
    if (writer->used < writer->capacity && writer->done < writer->source.table.items)
        return DISTIL_OK;
    status = weights_output_put(&writer->output, writer->block, writer->used);
    writer->used = 0;
    return status;
}

distil_status weights_catalogue_finish(struct weights_catalogue_writer *writer)
{
    const struct weights_catalogue_table *table = &writer->source.table;
    const size_t items = (size_t)table->items;
    if (writer->done < table->items)
        return distil_fail(writer->error, DISTIL_INVALID, "%s: expected %ld vectors, found %ld",
                           writer->path, table->items, writer->done);
    distil_status status = weights_output_put(
        &writer->output, table->offsets, items * (size_t)table->columns * sizeof *table->offsets);
    if (!status)
        status = weights_output_put(&writer->output, writer->order, items * sizeof *writer->order);
    if (!status && writer->scale)
        status = weights_output_put(&writer->output, writer->scale, items * sizeof *writer->scale);
    if (!status)
        status = weights_output_put(&writer->output, table->strings, table->string_bytes);
    return status ? status : weights_output_finish(&writer->output);
}

void weights_catalogue_close(struct weights_catalogue_writer *writer)
{
    if (!writer)
        return;
    weights_output_close(&writer->output);
    weights_text_free(&writer->header);
    free(writer->block);
    free(writer->row);
    free(writer->scale);
    free(writer->order);
    free(writer);
}

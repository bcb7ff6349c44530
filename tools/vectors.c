#include "tools/vectors.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/catalogue.h"

static const char magic[] = "\x93NUMPY";
enum { MAGIC = sizeof magic - 1, HEADER_MAX = 65536 };

/* ---- NumPy ---- */

/* What follows `'key':` in the header, which is a Python dictionary; NULL where there is none. */
static const char *find_value(const char *header, const char *key)
{
    char quoted[40];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

/* A number of at most 18 digits; -1 for anything else. *end is behind it. */
static long long read_number(const char *at, const char **end)
{
    long long number = 0;
    int digits = 0;
    at += strspn(at, " ");
    for (; *at >= '0' && *at <= '9'; at++)
        if (++digits <= 18)
            number = 10 * number + (*at - '0');
    *end = at;
    return digits >= 1 && digits <= 18 ? number : -1;
}

/* "(1000, 384)" */
static bool read_shape(const char *at, long long *rows, long long *columns)
{
    const char *end;
    if (!at || *at != '(')
        return false;
    *rows = read_number(at + 1, &end);
    end += strspn(end, " ");
    if (*rows < 0 || *end != ',')
        return false;
    *columns = read_number(end + 1, &end);
    end += strspn(end, " ,");
    return *columns >= 0 && *end == ')';
}

static distil_status read_type(struct tool_vectors *vectors, const char *type, distil_error *error)
{
    if (type && strncmp(type, "'<f2'", 5) == 0)
        vectors->value_bytes = 2;
    else if (type && strncmp(type, "'<f4'", 5) == 0)
        vectors->value_bytes = 4;
    else if (type && strncmp(type, "'<f8'", 5) == 0)
        vectors->value_bytes = 8;
    else
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected float16, float32 or float64, little-endian ('<f2', '<f4' "
                           "or '<f8'), found %.*s",
                           vectors->path, type ? (int)strcspn(type, ",}") : 7,
                           type ? type : "nothing");
    return DISTIL_OK;
}

static distil_status read_numpy_header(struct tool_vectors *vectors, const char *header,
                                       distil_error *error)
{
    long long rows = 0, columns = 0;
    const char *order = find_value(header, "fortran_order"), *shape = find_value(header, "shape");
    size_t bytes;
    distil_status status = read_type(vectors, find_value(header, "descr"), error);
    if (status)
        return status;
    if (!order || strncmp(order, "False", 5) != 0)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected an array in C order (numpy.ascontiguousarray makes one), "
                           "found fortran_order %.*s",
                           vectors->path, order ? (int)strcspn(order, ",}") : 7,
                           order ? order : "nothing");
    if (!read_shape(shape, &rows, &columns) || rows < 1 || columns < 1 ||
        rows > WEIGHTS_CATALOGUE_ITEMS_MAX || columns > WEIGHTS_CATALOGUE_WIDTH_MAX)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected an array of shape (items, values), up to %d and %d, found "
                           "%.*s",
                           vectors->path, WEIGHTS_CATALOGUE_ITEMS_MAX, WEIGHTS_CATALOGUE_WIDTH_MAX,
                           shape ? (int)strcspn(shape, ")") + 1 : 7, shape ? shape : "nothing");
    vectors->count = (long)rows;
    vectors->width = (int)columns;
    bytes = (size_t)rows * (size_t)columns * vectors->value_bytes;
    if (vectors->mapping.size - vectors->start != bytes)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected %zu bytes for (%lld, %lld) of %zu bytes each, found %zu",
                           vectors->path, bytes, rows, columns, vectors->value_bytes,
                           vectors->mapping.size - vectors->start);
    return DISTIL_OK;
}

static distil_status open_numpy(struct tool_vectors *vectors, distil_error *error)
{
    distil_status status = weights_map(&vectors->mapping, vectors->path, error);
    if (status)
        return status;
    const unsigned char *data = vectors->mapping.data;
    const size_t size = vectors->mapping.size;
    size_t prefix = MAGIC + 2 + (size > MAGIC && data[MAGIC] == 1 ? 2 : 4), length = 0;
    if (size < prefix || memcmp(data, magic, MAGIC) != 0 || data[MAGIC] < 1 || data[MAGIC] > 3)
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: expected a NumPy file of version 1 to 3, found another kind of file "
            "or only a part of one",
            vectors->path);
    for (size_t i = MAGIC + 2; i < prefix; i++)
        length |= (size_t)data[i] << 8 * (i - MAGIC - 2);
    if (length > HEADER_MAX || length > size - prefix)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected a NumPy header within the file, found one of %zu bytes",
                           vectors->path, length);
    char *header = strndup((const char *)data + prefix, length);
    if (!header)
        return weights_no_memory(vectors->path, error);
    vectors->start = prefix + length;
    kern_table_init(&vectors->kernels, KERN_SCALAR);
    status = read_numpy_header(vectors, header, error);
    free(header);
    return status;
}

/* Row `next`; the file may be aligned to nothing. */
static void read_row(struct tool_vectors *vectors)
{
    const size_t width = (size_t)vectors->width;
    const unsigned char *row = vectors->mapping.data + vectors->start +
                               (size_t)vectors->next * width * vectors->value_bytes;
    if (vectors->value_bytes == sizeof(float)) {
        memcpy(vectors->values, row, width * sizeof(float));
        return;
    }
    for (size_t i = 0; i < width; i++) {
        double value;
        uint16_t half;
        if (vectors->value_bytes == sizeof value) {
            memcpy(&value, row + i * sizeof value, sizeof value);
            vectors->values[i] = (float)value;
        } else {
            memcpy(&half, row + i * sizeof half, sizeof half);
            vectors->kernels.f16_to_f32(vectors->values + i, &half, 1);
        }
    }
}

/* ---- TSV ---- */

/* Reads the next line that is not empty; *found is false at the end. */
static distil_status next_line(struct tool_vectors *vectors, bool *found, distil_error *error)
{
    enum tool_line outcome;
    do
        outcome = tool_input_next(&vectors->input, true, &vectors->line, &vectors->length, error);
    while (outcome == TOOL_LINE && vectors->length == 0);
    *found = outcome == TOOL_LINE;
    return outcome == TOOL_BROKEN ? error->code : DISTIL_OK;
}

static int count_numbers(const struct tool_vectors *vectors)
{
    size_t tabs = 0;
    for (size_t i = 0; i < vectors->length; i++)
        tabs += vectors->line[i] == '\t';
    return tabs > WEIGHTS_CATALOGUE_WIDTH_MAX ? WEIGHTS_CATALOGUE_WIDTH_MAX + 1 : (int)tabs;
}

static distil_status parse_line(struct tool_vectors *vectors, const char *id, distil_error *error)
{
    const char *tab = memchr(vectors->line, '\t', vectors->length);
    const char *at = tab, *end = vectors->line + vectors->length;
    size_t length = tab ? (size_t)(tab - vectors->line) : vectors->length;
    int found = count_numbers(vectors);
    if (strlen(id) != length || memcmp(id, vectors->line, length) != 0)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line %ld: expected the vector of item %ld, '%.60s', found that of "
                           "'%.*s'",
                           vectors->path, vectors->input.line, vectors->next + 1, id,
                           length < 60 ? (int)length : 60, vectors->line);
    if (!at || found != vectors->width)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line %ld: expected %d numbers as in the first line, found %d",
                           vectors->path, vectors->input.line, vectors->width, found);
    for (int i = 0; i < vectors->width; i++) {
        char cell[64], *stop;
        const char *begin = at + 1;
        at = memchr(begin, '\t', (size_t)(end - begin));
        at = at ? at : end;
        length = (size_t)(at - begin) < sizeof cell ? (size_t)(at - begin) : sizeof cell - 1;
        memcpy(cell, begin, length);
        cell[length] = '\0';
        vectors->values[i] = strtof(cell, &stop);
        if (stop == cell || *stop || begin + length != at)
            return distil_fail(error, DISTIL_FORMAT,
                               "%s, line %ld: expected a number in column %d, found '%.60s'",
                               vectors->path, vectors->input.line, i + 2, cell);
    }
    return DISTIL_OK;
}

static distil_status open_tsv(struct tool_vectors *vectors, distil_error *error)
{
    bool found = false;
    distil_status status = tool_input_open(&vectors->input, vectors->path, error);
    if (!status)
        status = next_line(vectors, &found, error);
    if (status)
        return status;
    vectors->count = -1;
    vectors->width = found ? count_numbers(vectors) : 0;
    if (vectors->width < 1 || vectors->width > WEIGHTS_CATALOGUE_WIDTH_MAX)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line 1: expected an id and 1 to %d numbers with tabs between them, "
                           "found %d numbers",
                           vectors->path, WEIGHTS_CATALOGUE_WIDTH_MAX, vectors->width);
    return DISTIL_OK;
}

/* ---- either ---- */

/* By its name or, where it is a file, its first bytes: a pipe is TSV. */
static bool is_numpy(const char *path)
{
    char start[MAGIC];
    struct stat about;
    const size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, ".npy") == 0)
        return true;
    if (stat(path, &about) != 0 || !S_ISREG(about.st_mode))
        return false;
    FILE *file = fopen(path, "re");
    bool found = file && fread(start, 1, MAGIC, file) == MAGIC && memcmp(start, magic, MAGIC) == 0;
    if (file)
        fclose(file);
    return found;
}

distil_status tool_vectors_open(struct tool_vectors *vectors, const char *path, distil_error *error)
{
    *vectors = (struct tool_vectors){.path = path};
    distil_status status = is_numpy(path) ? open_numpy(vectors, error) : open_tsv(vectors, error);
    if (status)
        return status;
    vectors->values = calloc((size_t)vectors->width + 1, sizeof *vectors->values);
    return vectors->values ? DISTIL_OK : weights_no_memory(path, error);
}

distil_status tool_vectors_next(struct tool_vectors *vectors, const char *id, distil_error *error)
{
    distil_status status = DISTIL_OK;
    bool found = true;
    if (vectors->count >= 0) {
        found = vectors->next < vectors->count;
        if (found)
            read_row(vectors);
    } else {
        if (vectors->next > 0) /* the first line has been read */
            status = next_line(vectors, &found, error);
        if (!status && found)
            status = parse_line(vectors, id, error);
    }
    if (!status && !found)
        status = distil_fail(error, DISTIL_FORMAT,
                             "%s: expected a vector for each item, found %ld: none for item %ld, "
                             "'%.60s'",
                             vectors->path, vectors->next, vectors->next + 1, id);
    vectors->next++;
    return status;
}

distil_status tool_vectors_end(struct tool_vectors *vectors, long items, distil_error *error)
{
    bool found = vectors->count > items;
    distil_status status = DISTIL_OK;
    if (vectors->count < 0)
        status = next_line(vectors, &found, error);
    if (!status && found)
        status = distil_fail(error, DISTIL_FORMAT,
                             "%s: expected as many vectors as there are items, %ld, found more",
                             vectors->path, items);
    return status;
}

void tool_vectors_close(struct tool_vectors *vectors)
{
    weights_unmap(&vectors->mapping);
    if (vectors->input.name)
        tool_input_close(&vectors->input);
    free(vectors->values);
}

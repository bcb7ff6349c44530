#include "tools/table.h"

#include <stdlib.h>
#include <string.h>

#include "weights/json.h"

/* A line's cells, each where it begins in the line. */
struct cells {
    const char *start[WEIGHTS_CATALOGUE_COLUMNS_MAX];
    size_t length[WEIGHTS_CATALOGUE_COLUMNS_MAX];
    int count; /* may be more than there is room for */
};

struct reader {
    struct tool_table *table;
    struct tool_input input;
    int id; /* the column of the file that holds it */
    distil_error *error;
};

void tool_table_free(struct tool_table *table)
{
    if (!table)
        return;
    for (int i = 0; i < table->columns; i++)
        free(table->names[i]);
    free(table->strings);
    free(table->offsets);
    *table = (struct tool_table){0};
}

static void cut(const char *line, size_t length, struct cells *cells)
{
    const char *at = line, *end = line + length;
    for (cells->count = 0;; at++) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        const char *stop = tab ? tab : end;
        if (cells->count < WEIGHTS_CATALOGUE_COLUMNS_MAX) {
            cells->start[cells->count] = at;
            cells->length[cells->count] = (size_t)(stop - at);
        }
        cells->count++;
        if (!tab)
            return;
        at = tab;
    }
}

static distil_status no_memory(const struct reader *reader)
{
    return distil_fail(reader->error, DISTIL_NO_MEMORY, "%s: out of memory at line %ld",
                       reader->input.name, reader->input.line);
}

/* The cell of the file that is column i of the table: the id comes first, the rest follow. */
static int place(const struct reader *reader, int i)
{
    return i == 0 ? reader->id : i <= reader->id ? i - 1 : i;
}

static distil_status read_header(struct reader *reader, const struct cells *cells)
{
    struct tool_table *table = reader->table;
    const char *file = reader->input.name, *twice = NULL;
    if (cells->count > WEIGHTS_CATALOGUE_COLUMNS_MAX)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line 1: expected at most %d columns, found %d", file,
                           WEIGHTS_CATALOGUE_COLUMNS_MAX, cells->count);
    reader->id = -1;
    for (int i = 0; i < cells->count; i++)
        if (cells->length[i] == 2 && memcmp(cells->start[i], "id", 2) == 0)
            reader->id = i;
    if (reader->id < 0)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line 1: expected a header with the columns id and text, with a tab "
                           "between them, found '%.*s'",
                           file, cells->length[0] < 60 ? (int)cells->length[0] : 60,
                           cells->start[0]);
    for (int i = 0; i < cells->count; i++) {
        int from = place(reader, i);
        table->names[i] = strndup(cells->start[from], cells->length[from]);
        if (!table->names[i])
            return no_memory(reader);
        table->columns++;
        if (!*table->names[i])
            return distil_fail(reader->error, DISTIL_FORMAT,
                               "%s, line 1: column %d has no name in the header", file, from + 1);
        if (strcmp(table->names[i], "text") == 0)
            table->text = i;
    }
    distil_status status = weights_find_duplicate(&twice, (const char *const *)table->names,
                                                  (size_t)table->columns, file, reader->error);
    if (!status && twice)
        status = distil_fail(reader->error, DISTIL_FORMAT,
                             "%s, line 1: two columns are named '%.60s'", file, twice);
    return status;
}

static bool add_cell(struct tool_table *table, const char *cell, size_t length)
{
    if (table->cells == table->cell_capacity) {
        size_t capacity = 2 * table->cell_capacity + 4096;
        uint64_t *offsets = realloc(table->offsets, capacity * sizeof *offsets);
        if (!offsets)
            return false;
        table->offsets = offsets;
        table->cell_capacity = capacity;
    }
    if (table->capacity - table->used <= length) {
        size_t capacity = 2 * table->capacity + length + 65536;
        char *strings = realloc(table->strings, capacity);
        if (!strings)
            return false;
        table->strings = strings;
        table->capacity = capacity;
    }
    table->offsets[table->cells++] = table->used;
    memcpy(table->strings + table->used, cell, length);
    table->strings[table->used + length] = '\0';
    table->used += length + 1;
    return true;
}

static distil_status read_item(struct reader *reader, const struct cells *cells)
{
    struct tool_table *table = reader->table;
    const char *file = reader->input.name;
    long line = reader->input.line;
    if (cells->count != table->columns)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line %ld: expected %d columns as in the header, found %d", file,
                           line, table->columns, cells->count);
    if (cells->length[reader->id] == 0)
        return distil_fail(reader->error, DISTIL_FORMAT, "%s, line %ld: the id is empty", file,
                           line);
    if (cells->length[reader->id] > WEIGHTS_CATALOGUE_ID_MAX)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line %ld: the id has %zu bytes, at most %d may be", file, line,
                           cells->length[reader->id], WEIGHTS_CATALOGUE_ID_MAX);
    for (int i = 0; i < table->columns; i++) {
        int from = place(reader, i);
        if (memchr(cells->start[from], '\0', cells->length[from]) ||
            !weights_utf8_valid(cells->start[from], cells->length[from]))
            return distil_fail(reader->error, DISTIL_FORMAT,
                               "%s, line %ld: column %s: expected UTF-8 without NUL", file, line,
                               table->names[i]);
        if (!add_cell(table, cells->start[from], cells->length[from]))
            return no_memory(reader);
    }
    if (++table->items > WEIGHTS_CATALOGUE_ITEMS_MAX)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s: expected at most %d items, found more", file,
                           WEIGHTS_CATALOGUE_ITEMS_MAX);
    return DISTIL_OK;
}

distil_status tool_table_read(struct tool_table *table, const char *path, distil_error *error)
{
    struct reader reader = {.table = table, .error = error};
    enum tool_line outcome = TOOL_LINE;
    table->text = -1;
    distil_status status = tool_input_open(&reader.input, path, error);
    while (!status) {
        struct cells cells;
        char *line;
        size_t length;
        outcome = tool_input_next(&reader.input, true, &line, &length, error);
        if (outcome != TOOL_LINE)
            break;
        if (reader.input.line == 1 && length >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
            line += 3; /* a byte-order mark, as spreadsheets write it */
            length -= 3;
        }
        if (length == 0)
            continue;
        cut(line, length, &cells);
        status = table->columns ? read_item(&reader, &cells) : read_header(&reader, &cells);
    }
    if (!status && outcome == TOOL_BROKEN)
        status = error->code;
    if (!status && table->items == 0)
        status = distil_fail(error, DISTIL_FORMAT, "%s: no items", reader.input.name);
    tool_input_close(&reader.input);
    return status;
}

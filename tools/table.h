/* table.h: the items of a catalogue, from TSV: a header that names the columns, then a line an item. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stdint.h>

#include "tools/input.h"
#include "weights/catalogue.h"

/* Zero-initialise. */
struct tool_table {
    int columns;
    char *names[WEIGHTS_CATALOGUE_COLUMNS_MAX]; /* that of column 0 is "id" */
    int text; /* the column named "text"; -1 where there is none */
    long items;
    char *strings; /* cells, each ending in a NUL */
    size_t used, capacity;
    uint64_t *offsets; /* (items, columns) into strings */
    size_t cells, cell_capacity;
};

/* Reads path ("-": standard input). The header names the columns in any order, one of them "id", which becomes column 0.
 * Empty lines are passed over. DISTIL_FORMAT names the first bad line: one with more or fewer columns than the header, with
 * an empty id, or that is not UTF-8. */
distil_status tool_table_read(struct tool_table *table, const char *path, distil_error *error);
void tool_table_free(struct tool_table *table);

#endif

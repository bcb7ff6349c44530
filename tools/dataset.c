#include "tools/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/jsonl.h"
#include "weights/json.h"

/* A part of a line. */
struct span {
    const char *start;
    size_t length;
};

struct reader {
    struct tool_dataset *dataset;
    const struct tool_dataset_options *options;
    const distil_model *model;
    struct tool_input input;
    int text_index, label_index; /* columns of a TSV file */
    bool started;                /* past the header, if there is one */
    distil_error *error;
};

void tool_dataset_free(struct tool_dataset *dataset)
{
    if (!dataset)
        return;
    for (int i = 0; i < dataset->label_count; i++)
        free(dataset->labels[i]);
    free(dataset->labels);
    free(dataset->arena);
    free(dataset->rows);
    *dataset = (struct tool_dataset){0};
}

static distil_status add_row(struct reader *reader, const struct span *text, int label)
{
    struct tool_dataset *set = reader->dataset;
    if (set->capacity - set->used < text->length) {
        size_t capacity = set->capacity * 2 + text->length + 4096;
        char *arena = realloc(set->arena, capacity);
        if (!arena)
            return distil_fail(reader->error, DISTIL_NO_MEMORY, "no memory for %zu bytes of text",
                               capacity);
        set->arena = arena;
        set->capacity = capacity;
    }
    if (set->count == set->row_capacity) {
        long capacity = set->row_capacity * 2 + 1024;
        struct tool_row *rows = realloc(set->rows, (size_t)capacity * sizeof *rows);
        if (!rows)
            return distil_fail(reader->error, DISTIL_NO_MEMORY, "no memory for %ld rows", capacity);
        set->rows = rows;
        set->row_capacity = capacity;
    }
    if (text->length)
        memcpy(set->arena + set->used, text->start, text->length);
    set->rows[set->count++] = (struct tool_row){
        .text = set->used, .length = text->length, .label = label, .line = reader->input.line};
    set->used += text->length;
    return DISTIL_OK;
}

static bool is_label(const char *name, const struct span *cell)
{
    return strlen(name) == cell->length && memcmp(name, cell->start, cell->length) == 0;
}

/* The model's label that a cell means; -1 for none. */
static int find_label(const distil_model *model, const struct span *cell)
{
    int count = distil_model_info(model)->label_count;
    for (int i = 0; i < count; i++) {
        if (is_label(distil_label(model, i), cell))
            return i;
    }
    int number = 0;
    size_t digits = 0;
    while (digits < cell->length && digits < 6 && cell->start[digits] >= '0' &&
           cell->start[digits] <= '9')
        number = number * 10 + cell->start[digits++] - '0';
    if (digits > 0 && digits == cell->length)
        return number < count ? number : -1;
    for (int i = 0; i < count; i++) {
        const char *name = distil_label(model, i);
        if (strlen(name) == cell->length && strncasecmp(name, cell->start, cell->length) == 0)
            return i;
    }
    return -1;
}

static distil_status bad_label(const struct reader *reader, const struct span *cell)
{
    char names[300] = "";
    int count = distil_model_info(reader->model)->label_count;
    size_t used = 0;
    for (int i = 0; i < count && used < 200; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, i ? ", %.80s" : "%.80s",
                                 distil_label(reader->model, i));
    return distil_fail(reader->error, DISTIL_FORMAT,
                       "%s, line %ld: label '%.*s' is neither a number from 0 to %d nor one of %s",
                       reader->input.name, reader->input.line,
                       cell->length < 60 ? (int)cell->length : 60, cell->start, count - 1, names);
}

/* The data set's label of a name, which is added where it is new. */
static distil_status own_label(struct reader *reader, const struct span *cell, int *label)
{
    struct tool_dataset *set = reader->dataset;
    for (*label = 0; *label < set->label_count; ++*label)
        if (is_label(set->labels[*label], cell))
            return DISTIL_OK;
    if (set->label_count == TOOL_LABELS_MAX)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line %ld: over %d different labels: is that the right column?",
                           reader->input.name, reader->input.line, TOOL_LABELS_MAX);
    if (!set->labels)
        set->labels = calloc(TOOL_LABELS_MAX, sizeof *set->labels);
    char *name = set->labels ? strndup(cell->start, cell->length) : NULL;
    if (!name)
        return distil_fail(reader->error, DISTIL_NO_MEMORY, "no memory for labels");
    set->labels[set->label_count++] = name;
    return DISTIL_OK;
}

/* A number as the whole of a cell. */
static bool read_number(const struct span *cell, double *number)
{
    char digits[40], *end;
    if (cell->length == 0 || cell->length >= sizeof digits)
        return false;
    memcpy(digits, cell->start, cell->length);
    digits[cell->length] = '\0';
    *number = strtod(digits, &end);
    return end == digits + cell->length && isfinite(*number);
}

/* The label that a cell means: itself or, where labels are numbers, by which side of positive_from it is on. */
static distil_status name_label(const struct reader *reader, const struct span *cell,
                                const struct span **name)
{
    static const struct span names[] = {{"NEGATIVE", 8}, {"POSITIVE", 8}};
    const double *from = reader->options->positive_from;
    double number;
    *name = cell;
    if (from && !read_number(cell, &number))
        return distil_fail(
            reader->error, DISTIL_FORMAT,
            "%s, line %ld: expected a number for a label, found '%.*s'%s", reader->input.name,
            reader->input.line, cell->length < 60 ? (int)cell->length : 60, cell->start,
            reader->input.line > 1 ? ""
                                   : " (a header names the columns text and label, or what "
                                     "--text-column and --label-column say)");
    if (from)
        *name = &names[number >= *from];
    return DISTIL_OK;
}

/* A row of a data set that says itself which labels there are. */
static distil_status learn_row(struct reader *reader, const struct span *text,
                               const struct span *cell)
{
    const struct span *name;
    int label;
    if (text->length == 0)
        return distil_fail(reader->error, DISTIL_FORMAT, "%s, line %ld: the text is empty",
                           reader->input.name, reader->input.line);
    if (cell->length == 0 || !weights_utf8_valid(cell->start, cell->length) ||
        memchr(cell->start, '\0', cell->length))
        return distil_fail(reader->error, DISTIL_FORMAT, "%s, line %ld: expected a label, found %s",
                           reader->input.name, reader->input.line,
                           cell->length ? "what is not UTF-8" : "nothing");
    distil_status status = name_label(reader, cell, &name);
    if (!status)
        status = own_label(reader, name, &label);
    return status ? status : add_row(reader, text, label);
}

/* A row whose label is one of the model's. */
static distil_status judge_row(struct reader *reader, const struct span *text,
                               const struct span *cell)
{
    const struct span *name;
    distil_status status = name_label(reader, cell, &name);
    if (status)
        return status;
    int label = find_label(reader->model, name);
    return label < 0 ? bad_label(reader, name) : add_row(reader, text, label);
}

/* Column `index` of a line; *columns is how many the line has. */
static struct span column(const struct span *line, int index, int *columns)
{
    struct span found = {line->start, 0};
    const char *at = line->start, *end = line->start + line->length;
    for (*columns = 0;; ++*columns) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        const char *stop = tab ? tab : end;
        if (*columns == index)
            found = (struct span){at, (size_t)(stop - at)};
        if (!tab)
            break;
        at = tab + 1;
    }
    ++*columns;
    return found;
}

static bool is_named(const struct span *cell, const char *wanted, const char *const *usual)
{
    if (wanted)
        return strlen(wanted) == cell->length && memcmp(wanted, cell->start, cell->length) == 0;
    for (; *usual; usual++) {
        if (strlen(*usual) == cell->length && strncasecmp(*usual, cell->start, cell->length) == 0)
            return true;
    }
    return false;
}

static const char *const TEXT_NAMES[] = {"sentence", "text", "inputs", NULL};
static const char *const LABEL_NAMES[] = {"label", NULL};

/* Whether the first line names the columns; if so they are remembered. */
static bool read_header(struct reader *reader, const struct span *line)
{
    const struct tool_dataset_options *options = reader->options;
    int columns, text = -1, label = -1;
    column(line, 0, &columns);
    for (int i = 0; i < columns; i++) {
        int unused;
        struct span cell = column(line, i, &unused);
        if (text < 0 && is_named(&cell, options->text_column, TEXT_NAMES))
            text = i;
        else if (label < 0 && is_named(&cell, options->label_column, LABEL_NAMES))
            label = i;
    }
    if (text < 0 || label < 0)
        return false;
    reader->text_index = text;
    reader->label_index = label;
    return true;
}

static distil_status read_tsv(struct reader *reader, const struct span *line)
{
    const struct tool_dataset_options *options = reader->options;
    bool first = !reader->started;
    reader->started = true;
    if (first && read_header(reader, line))
        return DISTIL_OK;
    if (first && (options->text_column || options->label_column))
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line %ld: no header with the columns '%.60s' and '%.60s'",
                           reader->input.name, reader->input.line,
                           options->text_column ? options->text_column : "sentence",
                           options->label_column ? options->label_column : "label");
    int columns;
    struct span text = column(line, reader->text_index, &columns);
    struct span cell = column(line, reader->label_index, &columns);
    int least =
        (reader->text_index > reader->label_index ? reader->text_index : reader->label_index) + 1;
    if (columns < least)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line %ld: expected %d columns with tabs between them, found %d",
                           reader->input.name, reader->input.line, least, columns);
    if (!reader->model)
        return learn_row(reader, &text, &cell);
    if (first && !options->positive_from && find_label(reader->model, &cell) < 0)
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line %ld: neither a header with the columns sentence (or text) and "
                           "label, nor a text "
                           "and a label of the model: found '%.*s'",
                           reader->input.name, reader->input.line,
                           line->length < 80 ? (int)line->length : 80, line->start);
    return judge_row(reader, &text, &cell);
}

static distil_status read_object(struct reader *reader, const struct span *line)
{
    struct tool_json_member member;
    struct span text = {0}, cell = {0};
    distil_error inner;
    size_t at = 0;
    if (tool_json_object(line->start, line->length, &inner))
        return distil_fail(reader->error, DISTIL_FORMAT, "%s, line %ld: %.600s", reader->input.name,
                           reader->input.line, inner.message);
    while (tool_json_next(line->start, line->length, &at, &member)) {
        struct span name = {member.name + 1, member.name_length - 2},
                    value = {member.value, member.value_length};
        if (is_named(&name, reader->options->text_column, TEXT_NAMES))
            text = value;
        else if (is_named(&name, reader->options->label_column, LABEL_NAMES))
            cell = value;
    }
    if (!text.start || !cell.start || text.start[0] != '"')
        return distil_fail(reader->error, DISTIL_FORMAT,
                           "%s, line %ld: expected a text in \"%.60s\" and a label in \"%.60s\"",
                           reader->input.name, reader->input.line,
                           reader->options->text_column ? reader->options->text_column : "text",
                           reader->options->label_column ? reader->options->label_column : "label");
    char *decoded = malloc(text.length + cell.length);
    if (!decoded)
        return distil_fail(reader->error, DISTIL_NO_MEMORY, "no memory for a text of %zu bytes",
                           text.length);
    text.length = tool_json_decode(text.start, text.length, decoded);
    text.start = decoded;
    if (cell.start[0] == '"') {
        cell.length = tool_json_decode(cell.start, cell.length, decoded + text.length);
        cell.start = decoded + text.length;
    }
    distil_status status =
        reader->model ? judge_row(reader, &text, &cell) : learn_row(reader, &text, &cell);
    free(decoded);
    return status;
}

static int by_value(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    const struct span p = {x, strlen(x)}, q = {y, strlen(y)};
    double m, n;
    bool number = read_number(&p, &m), other = read_number(&q, &n);
    if (number != other)
        return number ? -1 : 1;
    if (number && m != n)
        return m < n ? -1 : 1;
    return strcmp(x, y);
}

/* Puts the labels that were found into an order that does not depend on that of the rows. */
static distil_status sort_labels(struct tool_dataset *set, distil_error *error)
{
    const size_t count = (size_t)set->label_count;
    char **found = malloc((count + 1) * sizeof *found);
    int place[TOOL_LABELS_MAX];
    if (!found)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for labels");
    memcpy(found, set->labels, count * sizeof *found);
    qsort(set->labels, count, sizeof *set->labels, by_value);
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < set->label_count; k++)
            if (set->labels[k] == found[i])
                place[i] = k;
    for (long i = 0; i < set->count; i++)
        set->rows[i].label = place[set->rows[i].label];
    free(found);
    return DISTIL_OK;
}

distil_status tool_dataset_read(struct tool_dataset *dataset, const char *path,
                                const struct tool_dataset_options *options,
                                const distil_model *model, distil_error *error)
{
    struct reader reader = {
        .dataset = dataset, .options = options, .model = model, .label_index = 1, .error = error};
    enum tool_line outcome = TOOL_LINE;
    distil_status status = tool_input_open(&reader.input, path, error);
    while (!status) {
        char *bytes;
        struct span line;
        outcome = tool_input_next(&reader.input, true, &bytes, &line.length, error);
        if (outcome != TOOL_LINE)
            break;
        line.start = bytes;
        if (reader.input.line == 1 && line.length >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
            line.start += 3; /* a byte-order mark, as spreadsheets write it */
            line.length -= 3;
        }
        if (line.length > 0)
            status = options->jsonl ? read_object(&reader, &line) : read_tsv(&reader, &line);
    }
    if (!status && outcome == TOOL_BROKEN)
        status = error->code;
    if (!status && dataset->count == 0)
        status = distil_fail(error, DISTIL_FORMAT, "%s: no rows", reader.input.name);
    if (!status && !model)
        status = sort_labels(dataset, error);
    tool_input_close(&reader.input);
    return status;
}

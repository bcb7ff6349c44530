#include "tools/passages.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A text is cut no earlier than after this share of what may be. */
enum { LEAST_CUT = TOOL_PASSAGE_BYTES / 3 };

/* ---- what grows ---- */

/* The items, moved where they have no room for one more; NULL where memory runs out. */
static void *with_room(void *items, int count, int *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    int larger = *capacity ? 2 * *capacity : 64;
    void *moved = realloc(items, (size_t)larger * size);
    if (moved)
        *capacity = larger;
    return moved;
}

/* Adds a string, which is taken over, to a list. */
static bool add_string(char ***list, int *count, int *capacity, char *string)
{
    char **items = string ? with_room((void *)*list, *count, capacity, sizeof *items) : NULL;
    if (!items) {
        free(string);
        return false;
    }
    items[(*count)++] = string;
    *list = items;
    return true;
}

static bool append(struct tool_marked *to, const char *bytes, size_t length)
{
    if (to->capacity - to->length < length) {
        size_t larger = 2 * to->capacity + length + 256;
        char *moved = realloc(to->bytes, larger);
        if (!moved)
            return false;
        to->bytes = moved;
        to->capacity = larger;
    }
    if (length > 0)
        memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    return true;
}

static bool mark(struct tool_marked *to, int line)
{
    if (to->mark_count > 0 && to->marks[to->mark_count - 1].line == line)
        return true;
    if (to->mark_count == to->mark_capacity) {
        size_t larger = 2 * to->mark_capacity + 64;
        struct tool_mark *moved = realloc(to->marks, larger * sizeof *moved);
        if (!moved)
            return false;
        to->marks = moved;
        to->mark_capacity = larger;
    }
    to->marks[to->mark_count++] = (struct tool_mark){to->length, line};
    return true;
}

static void empty(struct tool_marked *marked)
{
    marked->length = marked->mark_count = 0;
}

static int line_at(const struct tool_marked *marked, size_t at)
{
    size_t low = 0, high = marked->mark_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (marked->marks[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    return high > 0 ? marked->marks[low].line : 0;
}

/* Appends bytes [from, to) of another, with their marks. */
static bool append_part(struct tool_marked *to, const struct tool_marked *other, size_t from,
                        size_t end)
{
    bool good = mark(to, line_at(other, from));
    for (size_t i = 0; good && i < other->mark_count; i++) {
        const struct tool_mark *next = &other->marks[i];
        if (next->at <= from || next->at >= end)
            continue;
        good = append(to, other->bytes + from, next->at - from) && mark(to, next->line);
        from = next->at;
    }
    return good && append(to, other->bytes + from, end - from);
}

static void free_marked(struct tool_marked *marked)
{
    free(marked->bytes);
    free(marked->marks);
}

static void free_strings(char **strings, int count)
{
    for (int i = 0; i < count; i++)
        free(strings[i]);
    free((void *)strings);
}

void tool_passages_free(struct tool_passages *passages)
{
    free(passages->items);
    free_strings(passages->files, passages->file_count);
    free_strings(passages->sections, passages->section_count);
    for (int i = 0; i < TOOL_HEADING_LEVELS; i++)
        free(passages->headings[i]);
    free_marked(&passages->text);
    free_marked(&passages->block);
    free_marked(&passages->header);
    *passages = (struct tool_passages){0};
}

static void out_of_memory(struct tool_passages *passages)
{
    passages->status = DISTIL_NO_MEMORY;
}

/* ---- passages ---- */

static void close_passage(struct tool_passages *passages)
{
    struct tool_marked *text = &passages->text;
    while (text->length > passages->open && strchr(" \t\n", text->bytes[text->length - 1]))
        text->length--;
    if (text->length > passages->open && !passages->status) {
        struct tool_passage *items =
            with_room(passages->items, passages->count, &passages->capacity, sizeof *items);
        if (!items) {
            out_of_memory(passages);
            return;
        }
        items[passages->count++] = (struct tool_passage){.file = passages->file_count - 1,
                                                         .section = passages->section_count - 1,
                                                         .text = passages->open,
                                                         .length = text->length - passages->open};
        passages->items = items;
    }
    passages->open = text->length;
}

/* The headings that hold, in one string. */
static void name_section(struct tool_passages *passages)
{
    static const char between[] = " > ";
    size_t length = 1;
    for (int i = 0; i < TOOL_HEADING_LEVELS; i++)
        length += passages->headings[i] ? strlen(passages->headings[i]) + sizeof between : 0;
    char *name = calloc(length, 1), *end = name;
    for (int i = 0; name && i < TOOL_HEADING_LEVELS; i++) {
        if (!passages->headings[i])
            continue;
        if (end > name)
            end = stpcpy(end, between);
        end = stpcpy(end, passages->headings[i]);
    }
    if (!add_string(&passages->sections, &passages->section_count, &passages->section_capacity,
                    name))
        out_of_memory(passages);
}

static void drop_headings(struct tool_passages *passages, int from)
{
    for (int i = from; i < TOOL_HEADING_LEVELS; i++) {
        free(passages->headings[i]);
        passages->headings[i] = NULL;
    }
}

void tool_passages_file(struct tool_passages *passages, const char *path)
{
    drop_headings(passages, 0);
    if (add_string(&passages->files, &passages->file_count, &passages->file_capacity, strdup(path)))
        name_section(passages);
    else
        out_of_memory(passages);
}

void tool_passages_text(struct tool_passages *passages, const char *text, size_t length, int line)
{
    if (!passages->status &&
        (!mark(&passages->block, line) || !append(&passages->block, text, length)))
        out_of_memory(passages);
}

void tool_passages_heading(struct tool_passages *passages, int level)
{
    struct tool_marked *block = &passages->block;
    int at = level < 1 ? 0 : level > TOOL_HEADING_LEVELS ? TOOL_HEADING_LEVELS - 1 : level - 1;
    close_passage(passages);
    empty(&passages->header);
    drop_headings(passages, at);
    if (block->length > 0 && !passages->status) {
        passages->headings[at] = strndup(block->bytes, block->length);
        if (!passages->headings[at])
            out_of_memory(passages);
    }
    empty(block);
    if (!passages->status)
        name_section(passages);
}

/* Whether a sentence ends before byte i of a text. */
static bool sentence_ends(const char *text, size_t i)
{
    return i > 1 && (text[i - 1] == ' ' || text[i - 1] == '\n') &&
           strchr(".!?:;", text[i - 2]) != NULL;
}

/* Where to cut [from, end) of a block that is too long: as late as it may be, after a sentence, or a
 * line, else after a word, else between characters. */
static size_t find_cut(const struct tool_marked *block, size_t from, enum tool_block kind)
{
    const char *text = block->bytes;
    size_t word = 0, cut = from + TOOL_PASSAGE_BYTES;
    for (size_t i = cut; i > from + LEAST_CUT; i--) {
        if (kind == TOOL_BLOCK_PROSE ? sentence_ends(text, i) : text[i - 1] == '\n')
            return i;
        if (word == 0 && text[i - 1] == ' ')
            word = i;
    }
    if (word > 0)
        return word;
    while (cut > from + 1 && ((unsigned char)text[cut] & 0xC0) == 0x80)
        cut--;
    return cut;
}

/* Appends a piece of the block to the passage that is being put together, or to a new one. */
static bool place(struct tool_passages *passages, size_t from, size_t end, enum tool_block kind)
{
    static const char between[] = "\n\n"; /* blocks; within one, a line ends with one of these */
    struct tool_marked *text = &passages->text;
    const struct tool_marked *header = &passages->header;
    size_t taken = text->length - passages->open;
    if (taken > 0 && taken + (end - from) > TOOL_PASSAGE_BYTES) {
        close_passage(passages);
        taken = 0;
    }
    if (taken == 0 && kind == TOOL_BLOCK_ROW && header->length > 0 &&
        (!append_part(text, header, 0, header->length) || !append(text, between, 2)))
        return false;
    return append_part(text, &passages->block, from, end) && append(text, between, 2);
}

void tool_passages_block(struct tool_passages *passages, enum tool_block kind)
{
    struct tool_marked *block = &passages->block;
    size_t from = 0;
    while (block->length > 0 && strchr(" \t\n", block->bytes[block->length - 1]))
        block->length--;
    if (kind != TOOL_BLOCK_ROW)
        empty(&passages->header);
    while (from < block->length && !passages->status) {
        size_t end = block->length;
        if (end - from > TOOL_PASSAGE_BYTES)
            end = find_cut(block, from, kind);
        if (!place(passages, from, end, kind))
            out_of_memory(passages);
        from = end;
    }
    if (kind == TOOL_BLOCK_HEADER && block->length > 0 && block->length <= LEAST_CUT &&
        !append_part(&passages->header, block, 0, block->length))
        out_of_memory(passages);
    empty(block);
}

void tool_passages_end(struct tool_passages *passages)
{
    tool_passages_block(passages, TOOL_BLOCK_PROSE);
    close_passage(passages);
    empty(&passages->header);
}

int tool_passage_line(const struct tool_passages *passages, const struct tool_passage *passage,
                      size_t at)
{
    return line_at(&passages->text, passage->text + at);
}

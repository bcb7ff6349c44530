#include "tools/markdown.h"

#include <md4c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What the parser is told of while it reads. */
struct reading {
    struct tool_passages *passages;
    const char *text; /* of the file, which the parser points into */
    size_t length;
    size_t at; /* up to where lines were counted */
    int line;
    bool head; /* within the heading line of a table */
    int cells; /* of the table's line so far */
};

/* The line of a place in the text; that of the place before for what is not in it. */
static int line_of(struct reading *reading, const char *place)
{
    uintptr_t to = (uintptr_t)place - (uintptr_t)reading->text;
    if (to > reading->length)
        return reading->line;
    if (to < reading->at) {
        reading->at = 0;
        reading->line = 1;
    }
    for (; reading->at < to; reading->at++)
        reading->line += reading->text[reading->at] == '\n';
    return reading->line;
}

static void tell(struct reading *reading, const char *text, size_t length, int line)
{
    tool_passages_text(reading->passages, text, length, line);
}

static void end_block(struct reading *reading, enum tool_block kind)
{
    tool_passages_block(reading->passages, kind);
}

/* Nothing but a lack of memory ends the parsing. */
static int outcome(const struct reading *reading)
{
    return reading->passages->status ? 1 : 0;
}

static int enter_block(MD_BLOCKTYPE type, void *detail, void *data)
{
    struct reading *reading = data;
    (void)detail;
    switch (type) {
    case MD_BLOCK_THEAD:
        reading->head = true;
        break;
    case MD_BLOCK_TBODY:
        break;
    case MD_BLOCK_TR:
        reading->cells = 0;
        break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD:
        if (reading->cells++ > 0)
            tell(reading, " | ", 3, reading->line);
        break;
    default: /* what a list's item said before another block in it begins */
        end_block(reading, TOOL_BLOCK_PROSE);
    }
    return outcome(reading);
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *data)
{
    struct reading *reading = data;
    switch (type) {
    case MD_BLOCK_H:
        tool_passages_heading(reading->passages, (int)((MD_BLOCK_H_DETAIL *)detail)->level);
        break;
    case MD_BLOCK_CODE:
        end_block(reading, TOOL_BLOCK_LINES);
        break;
    case MD_BLOCK_THEAD:
        reading->head = false;
        break;
    case MD_BLOCK_TR:
        end_block(reading, reading->head ? TOOL_BLOCK_HEADER : TOOL_BLOCK_ROW);
        break;
    case MD_BLOCK_TH:
    case MD_BLOCK_TD:
        break;
    default:
        end_block(reading, TOOL_BLOCK_PROSE);
    }
    return outcome(reading);
}

static int ignore_span(MD_SPANTYPE type, void *detail, void *data)
{
    (void)type;
    (void)detail;
    (void)data;
    return 0;
}

/* Writes a character as UTF-8; returns its bytes. */
static size_t put_character(unsigned long cp, char out[4])
{
    if (cp == 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        cp = 0xFFFD;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)(cp | (n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0));
    return n;
}

/* An entity by its number, or one of those that texts are written with; any other as it stands. */
static void tell_entity(struct reading *reading, const char *text, size_t length, int line)
{
    static const struct {
        const char *name;
        unsigned code;
    } known[] = {{"&amp;", '&'},       {"&lt;", '<'},      {"&gt;", '>'},       {"&quot;", '"'},
                 {"&apos;", '\''},     {"&nbsp;", ' '},    {"&ndash;", 0x2013}, {"&mdash;", 0x2014},
                 {"&hellip;", 0x2026}, {"&times;", 0xD7},  {"&copy;", 0xA9},    {"&deg;", 0xB0},
                 {"&rarr;", 0x2192},   {"&larr;", 0x2190}, {"&euro;", 0x20AC},  {"&pound;", 0xA3},
                 {"&micro;", 0xB5},    {"&sect;", 0xA7}};
    char digits[12] = "", bytes[4];
    if (length > 3 && text[1] == '#' && length - 2 < sizeof digits) {
        bool hex = text[2] == 'x' || text[2] == 'X';
        memcpy(digits, text + 2, length - 3);
        tell(reading, bytes, put_character(strtoul(digits + hex, NULL, hex ? 16 : 10), bytes),
             line);
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, text, length) == 0) {
            tell(reading, bytes, put_character(known[i].code, bytes), line);
            return;
        }
    tell(reading, text, length, line);
}

static int take_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE length, void *data)
{
    struct reading *reading = data;
    int line = line_of(reading, text);
    switch (type) {
    case MD_TEXT_BR:
    case MD_TEXT_SOFTBR:
        tell(reading, "\n", 1, line);
        break;
    case MD_TEXT_ENTITY:
        tell_entity(reading, text, length, line);
        break;
    case MD_TEXT_NULLCHAR:
    case MD_TEXT_HTML:
        break;
    default:
        tell(reading, text, length, line);
    }
    return outcome(reading);
}

/* The bytes of the settings at the start of a text, 0 where there are none. */
static size_t settings_length(const char *text, size_t length)
{
    size_t at = 0;
    for (int number = 1; at < length; number++) {
        const char *end = memchr(text + at, '\n', length - at);
        size_t next = end ? (size_t)(end - text) + 1 : length, line = next - at;
        while (line > 0 && strchr("\r\n", text[at + line - 1]))
            line--;
        bool dashes = line == 3 && memcmp(text + at, "---", 3) == 0;
        if (number == 1 && !dashes)
            return 0;
        if (number > 1 && dashes)
            return next;
        at = next;
    }
    return 0;
}

void tool_read_markdown(struct tool_passages *passages, const char *text, size_t length)
{
    struct reading reading = {.passages = passages, .text = text, .length = length, .line = 1};
    const MD_PARSER parser = {.flags = MD_DIALECT_GITHUB,
                              .enter_block = enter_block,
                              .leave_block = leave_block,
                              .enter_span = ignore_span,
                              .leave_span = ignore_span,
                              .text = take_text};
    size_t settings = settings_length(text, length);
    if (md_parse(text + settings, (MD_SIZE)(length - settings), &parser, &reading))
        passages->status = DISTIL_NO_MEMORY;
}

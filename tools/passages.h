/* passages.h: documents cut into passages, each of which knows where it stands.
 *
 * A reader of documents (markdown.h, prose.h) tells of files, headings and blocks of text, and
 * passages come of it: blocks under one heading are put together as long as they are short, and long
 * ones are cut between sentences or lines. In a passage's text two line breaks stand between blocks. */
#ifndef TOOLS_PASSAGES_H
#define TOOLS_PASSAGES_H

#include <stddef.h>

#include "weights/distil_status.h"

enum {
    TOOL_PASSAGE_BYTES = 800, /* of a passage, but for a table's heading line repeated in it */
    TOOL_HEADING_LEVELS = 6
};

struct tool_passage {
    int file, section; /* of the passages' */
    size_t text;       /* where it starts in the passages' text */
    size_t length;
};

/* From here on, and until the next mark, the text stands in this line of its file. */
struct tool_mark {
    size_t at;
    int line;
};

/* Bytes that grow, with marks. */
struct tool_marked {
    char *bytes;
    size_t length, capacity;
    struct tool_mark *marks;
    size_t mark_count, mark_capacity;
};

/* Zero-initialise; to be freed by tool_passages_free. */
struct tool_passages {
    struct tool_passage *items;
    int count, capacity;
    char **files;
    int file_count, file_capacity;
    char **
        sections; /* headings from the outermost to the innermost, " > " between them; "" for none */
    int section_count, section_capacity;
    struct tool_marked text; /* of all passages, one after another */

    /* While documents are read. */
    struct tool_marked block;  /* the one that is being told */
    struct tool_marked header; /* the heading line of the table that is being told */
    char *headings[TOOL_HEADING_LEVELS];
    size_t open;          /* where the passage that is being put together starts in text */
    distil_status status; /* DISTIL_NO_MEMORY: what comes after is not taken */
};

enum tool_block {
    TOOL_BLOCK_PROSE,  /* cut between sentences */
    TOOL_BLOCK_LINES,  /* code and the like: cut between lines */
    TOOL_BLOCK_HEADER, /* a table's heading line */
    TOOL_BLOCK_ROW     /* a line of a table, which goes with its heading line */
};

void tool_passages_free(struct tool_passages *passages);

/* Begins a file. */
void tool_passages_file(struct tool_passages *passages, const char *path);
/* Adds to the block being told what stands in a line of the file, counted from 1. */
void tool_passages_text(struct tool_passages *passages, const char *text, size_t length, int line);
/* Ends the block; an empty one counts for nothing. */
void tool_passages_block(struct tool_passages *passages, enum tool_block kind);
/* Ends the block as a heading of level 1 to TOOL_HEADING_LEVELS. */
void tool_passages_heading(struct tool_passages *passages, int level);
/* Ends the file. */
void tool_passages_end(struct tool_passages *passages);

/* The line of the file in which byte `at` of a passage stands. */
int tool_passage_line(const struct tool_passages *passages, const struct tool_passage *passage,
                      size_t at);

#endif

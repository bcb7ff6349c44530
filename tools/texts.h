/* texts.h: the texts that predict and tokenize work on, wherever they come from. */
#ifndef TOOLS_TEXTS_H
#define TOOLS_TEXTS_H

#include "tools/input.h"
#include "tools/options.h"

/* One text; zero-initialise. Its memory is reused by the next one read into it. */
struct tool_text {
    const char *text; /* UTF-8, not NUL-terminated */
    size_t length;
    distil_error problem; /* code is not DISTIL_OK where a JSON line holds no text */
    char *line;           /* as it came */
    size_t line_length;
    size_t line_capacity;
    char *decoded; /* a JSON line's text */
    size_t decoded_capacity;
};

/* Zero-initialise; tool_texts_open fills it. */
struct tool_texts {
    char **operands; /* texts of the command line; no input is read when there are any */
    int count, next;
    bool jsonl;
    struct tool_input input;
};

/* Texts from operands, else from path (NULL or "-": standard input). Says on standard error what to
 * do when that is a terminal. */
distil_status tool_texts_open(struct tool_texts *texts, char **operands, int count,
                              const char *path, bool jsonl, distil_error *error);
void tool_texts_close(struct tool_texts *texts);

/* Reads the next text, as tool_input_next does. A JSON line that holds no text is TOOL_LINE with
 * text->problem set. */
enum tool_line tool_texts_next(struct tool_texts *texts, bool wait, struct tool_text *text,
                               distil_error *error);
void tool_text_free(struct tool_text *text);

/* Writes the fields of a JSON line, as they came, each with a comma after it, leaving out those
 * named in `without` (NULL-terminated). */
void tool_text_fields(FILE *out, const struct tool_text *text, const char *const *without);

#endif

/* input.h: texts from a file or from standard input, one a line. */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "weights/distil_status.h"

/* Zero-initialise; tool_input_open fills it. */
struct tool_input {
    const char *name; /* for messages */
    int descriptor;
    bool owned;   /* the descriptor is ours to close */
    bool regular; /* a file, whose size is known */
    bool ended;   /* nothing more can be read */
    char *buffer;
    size_t start, end, capacity;
    size_t searched; /* bytes after start that hold no newline */
    long line;       /* number of the line returned last, from 1 */
    size_t size;     /* of a regular file, else 0 */
    size_t taken;    /* bytes returned so far, terminators included */
};

enum tool_line {
    TOOL_LINE,
    TOOL_WAIT, /* no whole line is there yet */
    TOOL_END,
    TOOL_BROKEN /* the error says why */
};

/* path: NULL or "-" for standard input. */
distil_status tool_input_open(struct tool_input *input, const char *path, distil_error *error);
void tool_input_close(struct tool_input *input);

/* The next line, without its newline or CR LF; *text is valid until the next call. An unterminated
 * last line counts. Unless `wait` is set, a line that has not arrived whole is TOOL_WAIT, so that a
 * caller can answer what it has meanwhile. */
enum tool_line tool_input_next(struct tool_input *input, bool wait, char **text, size_t *length,
                               distil_error *error);

/* The whole of a file, or for NULL or "-" of standard input, with a NUL after it; freed by the caller. DISTIL_FORMAT
 * where it has more than `most` bytes. */
distil_status tool_input_all(const char *path, size_t most, char **text, size_t *length,
                             distil_error *error);

#endif

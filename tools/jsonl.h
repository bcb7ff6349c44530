/* jsonl.h: the fields of one JSON object, as they stand in a line, so that those that are only
 * passed on keep every digit and escape they came with. */
#ifndef TOOLS_JSONL_H
#define TOOLS_JSONL_H

#include <stdbool.h>
#include <stddef.h>

#include "weights/distil_status.h"

struct tool_json_member {
    const char *name; /* with its quotes */
    size_t name_length;
    const char *value;
    size_t value_length;
};

/* Whether the line is one JSON object, to the letter of RFC 8259; DISTIL_FORMAT says what stands
 * where. */
distil_status tool_json_object(const char *line, size_t length, distil_error *error);

/* The next member of a line that tool_json_object accepted; *at is 0 before the first. False after
 * the last one. */
bool tool_json_next(const char *line, size_t length, size_t *at, struct tool_json_member *member);

/* Whether a member's name is the plain ASCII `name`. */
bool tool_json_named(const struct tool_json_member *member, const char *name);

/* Decodes an accepted JSON string with its quotes into out, which has room for `length` bytes.
 * Returns the bytes written. */
size_t tool_json_decode(const char *text, size_t length, char *out);

#endif

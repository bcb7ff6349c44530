/* output.h: numbers and texts as JSON, TSV and terminals want them. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stddef.h>
#include <stdio.h>

#include "weights/distil_status.h"

enum tool_format { TOOL_TABLE, TOOL_JSON, TOOL_TSV };

/* A JSON string with its quotes. Malformed UTF-8 is written as U+FFFD, one for each maximal
 * ill-formed part. */
void tool_json_text(FILE *out, const char *text, size_t length);
void tool_json_string(FILE *out, const char *text); /* NUL-terminated */
/* Bytes as they are, but for malformed UTF-8: for JSON that is passed on. */
void tool_utf8_text(FILE *out, const char *text, size_t length);
/* The fewest digits that read back as the same number; "null" for what JSON cannot say. */
void tool_json_float(FILE *out, float number);
void tool_json_double(FILE *out, double number);

/* A TSV field: tab, newline, carriage return and backslash as \t \n \r \\. */
void tool_tsv_text(FILE *out, const char *text, size_t length);

/* Text for people: control characters as spaces, malformed UTF-8 as U+FFFD, cut with "..." after
 * `width` characters (0: never). */
void tool_plain_text(FILE *out, const char *text, size_t length, int width);

/* Bytes of the character that starts text, 1 to 4; 0 where text starts with an ill-formed part,
 * whose bytes *skip gets. */
int tool_character(const char *text, size_t length, int *skip);
/* Characters (code points) of a NUL-terminated text, for aligning columns. */
int tool_width(const char *text);
/* Text and spaces up to `width` characters. */
void tool_padded(FILE *out, const char *text, int width);

/* Writes a file beside its place and moves it there once all of it is on the disk, so that a reader never sees half of it. */
distil_status tool_save(const char *path, void (*write)(FILE *out, const void *context),
                        const void *context, distil_error *error);
/* Refuses a path that no file can be written to, before the work whose result is to go there. */
distil_status tool_can_save(const char *path, distil_error *error);

/* Flushes out, standard output, and says whether everything reached it. */
distil_status tool_flush(FILE *out, distil_error *error);

#endif

#include "tools/texts.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/jsonl.h"
#include "tools/output.h"

distil_status tool_texts_open(struct tool_texts *texts, char **operands, int count,
                              const char *path, bool jsonl, distil_error *error)
{
    *texts = (struct tool_texts){.operands = operands, .count = count, .jsonl = jsonl};
    if (count > 0)
        return DISTIL_OK;
    distil_status status = tool_input_open(&texts->input, path, error);
    if (!status && !texts->input.regular && isatty(texts->input.descriptor) == 1)
        fputs("Reading texts, one a line; Ctrl-D ends.\n", stderr);
    return status;
}

void tool_texts_close(struct tool_texts *texts)
{
    if (texts->count == 0)
        tool_input_close(&texts->input);
}

void tool_text_free(struct tool_text *text)
{
    free(text->line);
    free(text->decoded);
    *text = (struct tool_text){0};
}

/* At least `size` bytes, and one. */
static distil_status reserve(char **buffer, size_t *capacity, size_t size, distil_error *error)
{
    if (*buffer && size < *capacity)
        return DISTIL_OK;
    char *larger = realloc(*buffer, size + size / 2 + 1);
    if (!larger)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a text of %zu bytes", size);
    *buffer = larger;
    *capacity = size + size / 2 + 1;
    return DISTIL_OK;
}

/* Finds the text of a JSON line: the field "text", else "inputs". */
static distil_status read_json(struct tool_text *text, const char *name, long line,
                               distil_error *error)
{
    struct tool_json_member member, found = {0};
    distil_error inner;
    size_t at = 0;
    if (tool_json_object(text->line, text->line_length, &inner)) {
        distil_fail(&text->problem, DISTIL_FORMAT, "%s, line %ld: %.600s", name, line,
                    inner.message);
        return DISTIL_OK;
    }
    while (tool_json_next(text->line, text->line_length, &at, &member)) {
        if (tool_json_named(&member, "text") ||
            (!found.value && tool_json_named(&member, "inputs")))
            found = member;
    }
    if (!found.value)
        distil_fail(&text->problem, DISTIL_FORMAT, "%s, line %ld: no field \"text\" or \"inputs\"",
                    name, line);
    else if (found.value[0] != '"')
        distil_fail(&text->problem, DISTIL_FORMAT, "%s, line %ld: %.*s is not a string", name, line,
                    (int)found.name_length, found.name);
    if (text->problem.code)
        return DISTIL_OK;
    if (reserve(&text->decoded, &text->decoded_capacity, found.value_length, error))
        return DISTIL_NO_MEMORY;
    text->text = text->decoded;
    text->length = tool_json_decode(found.value, found.value_length, text->decoded);
    return DISTIL_OK;
}

enum tool_line tool_texts_next(struct tool_texts *texts, bool wait, struct tool_text *text,
                               distil_error *error)
{
    char *line;
    size_t length;
    const char *name = texts->input.name;
    text->problem.code = DISTIL_OK;
    if (texts->count > 0) {
        if (texts->next == texts->count)
            return TOOL_END;
        line = texts->operands[texts->next++];
        length = strlen(line);
        name = "arguments";
    } else {
        enum tool_line outcome = tool_input_next(&texts->input, wait, &line, &length, error);
        if (outcome != TOOL_LINE)
            return outcome;
        if (texts->jsonl && texts->input.line == 1 && length >= 3 &&
            memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
            line += 3; /* a byte-order mark; in a plain text it is a character like others */
            length -= 3;
        }
    }
    if (reserve(&text->line, &text->line_capacity, length, error))
        return TOOL_BROKEN;
    memcpy(text->line, line, length);
    text->text = text->line;
    text->length = text->line_length = length;
    if (texts->jsonl &&
        read_json(text, name, texts->count > 0 ? texts->next : texts->input.line, error))
        return TOOL_BROKEN;
    return TOOL_LINE;
}

void tool_text_fields(FILE *out, const struct tool_text *text, const char *const *without)
{
    struct tool_json_member member;
    size_t at = 0;
    while (tool_json_next(text->line, text->line_length, &at, &member)) {
        bool left_out = false;
        for (const char *const *name = without; *name; name++)
            left_out = left_out || tool_json_named(&member, *name);
        if (left_out)
            continue;
        tool_utf8_text(out, member.name, member.name_length);
        fputc(':', out);
        tool_utf8_text(out, member.value, member.value_length);
        fputc(',', out);
    }
}

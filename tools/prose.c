#include "tools/prose.h"

#include <stdbool.h>
#include <string.h>

enum { LEAST_UNDERLINE = 3 };

struct line {
    const char *text;
    size_t length; /* without white space at its end */
};

/* The line at text[*at], which moves on to the next one. */
static struct line next_line(const char *text, size_t length, size_t *at)
{
    const char *end = *at < length ? memchr(text + *at, '\n', length - *at) : NULL;
    struct line line = {text + *at, (end ? (size_t)(end - text) : length) - *at};
    *at += line.length + (end ? 1 : 0);
    while (line.length > 0 && strchr(" \t\r\f\v", line.text[line.length - 1]))
        line.length--;
    return line;
}

/* The character of a line that underlines; 0 for any other line. */
static char underline_of(struct line line)
{
    if (line.length < LEAST_UNDERLINE || !strchr("=-~^", line.text[0]))
        return 0;
    for (size_t i = 1; i < line.length; i++)
        if (line.text[i] != line.text[0])
            return 0;
    return line.text[0];
}

/* The level that a character has, 1 for the first one that came up. */
static int level_of(char *order, char underline)
{
    char *found = strchr(order, underline);
    if (!found) {
        found = order + strlen(order);
        *found = underline;
    }
    return (int)(found - order) + 1;
}

void tool_read_prose(struct tool_passages *passages, const char *text, size_t length)
{
    char order[5] = "";
    bool within = false; /* a paragraph */
    size_t at = 0;
    for (int number = 1; at < length; number++) {
        struct line line = next_line(text, length, &at);
        size_t after = at;
        char underline =
            line.length > 0 && !within ? underline_of(next_line(text, length, &after)) : 0;
        if (underline && !underline_of(line)) {
            while (line.length > 0 && *line.text == ' ')
                line = (struct line){line.text + 1, line.length - 1};
            tool_passages_text(passages, line.text, line.length, number);
            tool_passages_heading(passages, level_of(order, underline));
            at = after;
            number++;
        } else if (line.length > 0) {
            if (within)
                tool_passages_text(passages, "\n", 1, number);
            tool_passages_text(passages, line.text, line.length, number);
            within = true;
        } else if (within) {
            tool_passages_block(passages, TOOL_BLOCK_PROSE);
            within = false;
        }
    }
}

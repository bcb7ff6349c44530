/* prose.h: plain text, in passages by its empty lines and underlined headings. */
#ifndef TOOLS_PROSE_H
#define TOOLS_PROSE_H

#include <stddef.h>

#include "tools/passages.h"

/* Tells of a file's text. A line that is underlined by a line of one of = - ~ ^ is a heading, whose
 * level is the order in which its character comes up. */
void tool_read_prose(struct tool_passages *passages, const char *text, size_t length);

#endif

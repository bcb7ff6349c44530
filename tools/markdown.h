/* markdown.h: Markdown, in passages by its headings, paragraphs, lists, tables and code. */
#ifndef TOOLS_MARKDOWN_H
#define TOOLS_MARKDOWN_H

#include <stddef.h>

#include "tools/passages.h"

/* Tells of a file's text (GitHub's dialect): without markup, raw HTML, and the settings between lines of
 * "---" at its start. Cells of a table's line have " | " between them. */
void tool_read_markdown(struct tool_passages *passages, const char *text, size_t length);

#endif

/* html.h: text in pages. */
#ifndef SERVER_HTML_H
#define SERVER_HTML_H

#include <stdio.h>

/* Text, with what HTML wants escaped and malformed UTF-8 as U+FFFD. */
void server_html_write_text(FILE *out, const char *text);

#endif

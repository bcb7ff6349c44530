/* html.c: see html.h. */
#include "server/html.h"

#include <string.h>

#include "server/utf8.h"

void server_html_write_text(FILE *out, const char *text)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t left = strlen(text);
    while (left > 0) {
        size_t length = server_utf8_sequence(bytes, left);
        if (*bytes == '<' || *bytes == '>' || *bytes == '&' || *bytes == '"')
            fprintf(out, "&#%d;", *bytes);
        else if (length == 0 || *bytes < 0x20)
            fputs("\xEF\xBF\xBD", out);
        else
            fwrite(bytes, 1, length, out);
        length = length ? length : 1;
        bytes += length;
        left -= length;
    }
}

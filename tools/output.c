#include "tools/output.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights/decimal.h"
#include "weights/replacement.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

/* Table 3-7 of the Unicode standard: the range of the second byte depends on the first. */
int tool_character(const char *text, size_t length, int *skip)
{
    const unsigned char *s = (const unsigned char *)text;
    int need = s[0] < 0x80   ? 1
               : s[0] < 0xC2 ? 0
               : s[0] < 0xE0 ? 2
               : s[0] < 0xF0 ? 3
               : s[0] < 0xF5 ? 4
                             : 0;
    unsigned low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    *skip = 1;
    for (int i = 1; i < need; i++) {
        *skip = i;
        if ((size_t)i >= length || s[i] < low || s[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return need;
}

void tool_json_text(FILE *out, const char *text, size_t length)
{
    fputc('"', out);
    for (size_t i = 0; i < length;) {
        int skip;
        int bytes = tool_character(text + i, length - i, &skip);
        unsigned char c = (unsigned char)text[i];
        if (bytes == 0)
            fputs(REPLACEMENT, out);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c == '\n' || c == '\t' || c == '\r')
            fputs(c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r", out);
        else if (c < 0x20 || c == 0x7F)
            fprintf(out, "\\u%04x", c);
        else
            fwrite(text + i, 1, (size_t)bytes, out);
        i += (size_t)(bytes ? bytes : skip);
    }
    fputc('"', out);
}

void tool_utf8_text(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        int skip;
        int bytes = tool_character(text + i, length - i, &skip);
        if (bytes)
            fwrite(text + i, 1, (size_t)bytes, out);
        else
            fputs(REPLACEMENT, out);
        i += (size_t)(bytes ? bytes : skip);
    }
}

void tool_json_string(FILE *out, const char *text)
{
    tool_json_text(out, text, strlen(text));
}

void tool_json_float(FILE *out, float number)
{
    char text[WEIGHTS_DECIMAL] = "null";
    if (isfinite(number))
        weights_decimal_float(number, text);
    fputs(text, out);
}

void tool_json_double(FILE *out, double number)
{
    char text[WEIGHTS_DECIMAL] = "null";
    if (isfinite(number))
        weights_decimal_double(number, text);
    fputs(text, out);
}

void tool_tsv_text(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        const char *escape = text[i] == '\t'   ? "\\t"
                             : text[i] == '\n' ? "\\n"
                             : text[i] == '\r' ? "\\r"
                                               : "\\\\";
        if (text[i] == '\t' || text[i] == '\n' || text[i] == '\r' || text[i] == '\\')
            fputs(escape, out);
        else
            fputc(text[i], out);
    }
}

void tool_plain_text(FILE *out, const char *text, size_t length, int width)
{
    int column = 0;
    for (size_t i = 0; i < length; column++) {
        int skip;
        int bytes = tool_character(text + i, length - i, &skip);
        unsigned char c = (unsigned char)text[i];
        if (width > 0 && column >= width) {
            fputs("...", out);
            return;
        }
        /* U+0080..U+009F are control characters too, and some terminals obey them. */
        if (c < 0x20 || c == 0x7F || (c == 0xC2 && bytes == 2 && (unsigned char)text[i + 1] < 0xA0))
            fputc(' ', out);
        else if (bytes == 0)
            fputs(REPLACEMENT, out);
        else
            fwrite(text + i, 1, (size_t)bytes, out);
        i += (size_t)(bytes ? bytes : skip);
    }
}

int tool_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

void tool_padded(FILE *out, const char *text, int width)
{
    int left = width - tool_width(text);
    tool_plain_text(out, text, strlen(text), 0);
    fprintf(out, "%*s", left > 0 ? left : 0, "");
}

distil_status tool_flush(FILE *out, distil_error *error)
{
    if (fflush(out) == 0 && !ferror(out))
        return DISTIL_OK;
    return distil_fail(error, DISTIL_IO, "standard output: %s", strerror(errno));
}

distil_status tool_can_save(const char *path, distil_error *error)
{
    struct weights_replacement file;
    distil_status status = weights_replacement_open(&file, path, 0666, error);
    weights_replacement_close(&file);
    return status;
}

distil_status tool_save(const char *path, void (*write)(FILE *out, const void *context),
                        const void *context, distil_error *error)
{
    struct weights_replacement file;
    distil_status status = weights_replacement_open(&file, path, 0666, error);
    if (!status) {
        write(file.out, context);
        status = weights_replacement_finish(&file, error);
    }
    weights_replacement_close(&file);
    return status;
}

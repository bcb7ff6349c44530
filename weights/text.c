#include "weights/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct weights_text *text, size_t more)
{
    if (text->failed || more > SIZE_MAX / 4 - text->length) {
        text->failed = true;
        return false;
    }
    size_t needed = text->length + more + 1;
    if (needed <= text->capacity)
        return true;
    size_t capacity = needed < 128 ? 256 : 2 * needed;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void weights_text_add(struct weights_text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length))
        return;
    memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void weights_text_format(struct weights_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        text->failed = true;
    if (text->failed || !reserve(text, (size_t)length))
        return;
    va_start(arguments, format);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)length;
}

void weights_text_json(struct weights_text *text, const char *string)
{
    weights_text_add(text, "\"", 1);
    while (*string) {
        size_t plain = 0;
        while ((unsigned char)string[plain] >= 0x20 && string[plain] != '"' &&
               string[plain] != '\\')
            plain++;
        weights_text_add(text, string, plain);
        string += plain;
        if (!*string)
            break;
        if (*string == '"' || *string == '\\')
            weights_text_format(text, "\\%c", *string);
        else if (*string == '\n')
            weights_text_add(text, "\\n", 2);
        else
            weights_text_format(text, "\\u%04x", (unsigned)*string);
        string++;
    }
    weights_text_add(text, "\"", 1);
}

void weights_text_free(struct weights_text *text)
{
    free(text->data);
    *text = (struct weights_text){0};
}

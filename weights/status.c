#include "weights/distil_status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *distil_strerror(distil_status status)
{
    switch (status) {
#define STATUS_TEXT(name, value, text)                                                             \
    case DISTIL_##name:                                                                            \
        return text;
        DISTIL_STATUS_TABLE(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

/* Writes control characters, which a name or a token may hold, as escapes, so that a message is one
 * line and a terminal shows it as it is. A message that is too long is cut. */
static void copy_escaped(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char escape[8] = {*text};
        if (c == '\n' || c == '\t' || c == '\r')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        else if (c < 0x20 || c == 0x7F)
            snprintf(escape, sizeof escape, "\\u%04x", c);
        size_t length = strlen(escape);
        if (length >= size - used)
            break;
        memcpy(out + used, escape, length);
        used += length;
    }
    out[used] = '\0';
}

#undef distil_fail /* a macro where it is analysed */
distil_status distil_fail(distil_error *error, distil_status status, const char *format, ...)
{
    if (error) {
        char message[sizeof error->message];
        va_list arguments;
        va_start(arguments, format);
        error->code = status;
        /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 does not see va_start */
        vsnprintf(message, sizeof message, format, arguments);
        va_end(arguments);
        copy_escaped(error->message, sizeof error->message, message);
    }
    return status;
}

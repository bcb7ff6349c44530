#include "weights/distil_status.h"

#include <stdarg.h>
#include <stdio.h>

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

distil_status distil_fail(distil_error *error, distil_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        error->code = status;
        /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang-tidy 14 does not see va_start */
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

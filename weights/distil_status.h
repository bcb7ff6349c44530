/* distil_status.h: the outcome of every call that can fail, on every floor from weights/ up.
 *
 * A fallible function returns a distil_status and takes a distil_error, which may be NULL. On failure the
 * error holds the same code and one sentence that says what was wrong and where: the file, the
 * tensor or field, what was expected and what was found. */
#ifndef DISTIL_STATUS_H
#define DISTIL_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DISTIL_API __attribute__((visibility("default")))
#define DISTIL_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define DISTIL_API
#define DISTIL_PRINTF(fmt, first)
#endif

/* X(name, value, text) */
#define DISTIL_STATUS_TABLE(X)                                                                     \
    X(OK, 0, "success")                                                                            \
    X(NO_MEMORY, 1, "out of memory")                                                               \
    X(IO, 2, "a file could not be read or written")                                                \
    X(NOT_FOUND, 3, "there is no such file, model or name")                                        \
    X(FORMAT, 4, "a file is malformed")                                                            \
    X(UNSUPPORTED, 5, "the model or option is not supported")                                      \
    X(INVALID, 6, "an argument is out of its range")                                               \
    X(TOO_LONG, 7, "the text has more tokens than the model's window")                             \
    X(TASK, 8, "the model has no head for this task")                                              \
    X(BUSY, 9, "the queue is full")                                                                \
    X(SYSTEM, 10, "the operating system refused a resource")                                       \
    X(NOT_FINITE, 11, "the model computed a value that is not a number")                           \
    X(SELF_TEST, 12, "the model does not compute here what it should")

typedef enum {
#define DISTIL_STATUS_ENUM(name, value, text) DISTIL_##name = (value),
    DISTIL_STATUS_TABLE(DISTIL_STATUS_ENUM)
#undef DISTIL_STATUS_ENUM
} distil_status;

typedef struct {
    distil_status code;
    char message[1000]; /* one line, NUL-terminated, without a final stop or newline */
} distil_error;

/* The table's text for a status; "unknown status" for a number outside it. */
DISTIL_API const char *distil_strerror(distil_status status);

/* Fills *error (ignored when NULL) and returns status, so that a failing function can end in
 * `return distil_fail(error, DISTIL_FORMAT, "%s: ...", path)`. A message that is too long is cut;
 * control characters in it are written as escapes (\n, \u001b). */
DISTIL_API distil_status distil_fail(distil_error *error, distil_status status, const char *format,
                                     ...) DISTIL_PRINTF(3, 4);
#ifdef __clang_analyzer__
/* What static analysis cannot see from a declaration: that it returns the status. */
static inline distil_status distil_failed_with(distil_status status)
{
    return status;
}
#define distil_fail(error, status, ...)                                                            \
    (distil_fail(error, status, __VA_ARGS__), distil_failed_with(status))
#endif

#ifdef __cplusplus
}
#endif
#endif

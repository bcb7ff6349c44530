#include "tools/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 1 << 16 };

distil_status tool_input_open(struct tool_input *input, const char *path, distil_error *error)
{
    bool standard = !path || strcmp(path, "-") == 0;
    *input = (struct tool_input){
        .name = standard ? "standard input" : path, .descriptor = STDIN_FILENO, .owned = !standard};
    if (!standard)
        input->descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (input->descriptor < 0 || fstat(input->descriptor, &about) != 0) {
        int reason = errno;
        tool_input_close(input);
        return distil_fail(error, reason == ENOENT ? DISTIL_NOT_FOUND : DISTIL_IO, "%s: %s",
                           input->name, strerror(reason));
    }
    if (S_ISDIR(about.st_mode)) {
        tool_input_close(input);
        return distil_fail(error, DISTIL_IO, "%s: is a directory", input->name);
    }
    input->regular = S_ISREG(about.st_mode);
    input->size = input->regular && about.st_size > 0 ? (size_t)about.st_size : 0;
    return DISTIL_OK;
}

void tool_input_close(struct tool_input *input)
{
    if (input->owned && input->descriptor >= 0)
        close(input->descriptor);
    free(input->buffer);
    input->buffer = NULL;
    input->owned = false;
}

/* Makes room for at least READ_SIZE bytes after input->end. */
static distil_status make_room(struct tool_input *input, distil_error *error)
{
    if (input->start > 0) {
        memmove(input->buffer, input->buffer + input->start, input->end - input->start);
        input->end -= input->start;
        input->start = 0;
    }
    if (input->capacity - input->end >= READ_SIZE)
        return DISTIL_OK;
    if (input->capacity > SIZE_MAX / 2 - READ_SIZE)
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: line %ld is too long", input->name,
                           input->line + 1);
    size_t capacity = input->capacity * 2 + READ_SIZE;
    char *buffer = realloc(input->buffer, capacity);
    if (!buffer)
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: no memory for line %ld", input->name,
                           input->line + 1);
    input->buffer = buffer;
    input->capacity = capacity;
    return DISTIL_OK;
}

/* Reads once. TOOL_LINE stands for "more is in the buffer, or the end was reached". */
static enum tool_line read_more(struct tool_input *input, bool wait, distil_error *error)
{
    struct pollfd ready = {.fd = input->descriptor, .events = POLLIN};
    if (!wait && poll(&ready, 1, 0) == 0)
        return TOOL_WAIT;
    if (make_room(input, error))
        return TOOL_BROKEN;
    ssize_t got = read(input->descriptor, input->buffer + input->end, input->capacity - input->end);
    if (got < 0 && errno == EINTR)
        return TOOL_LINE;
    if (got < 0 && errno == EAGAIN) {
        /* Someone else set the descriptor non-blocking. */
        poll(&ready, 1, wait ? -1 : 0);
        return wait ? TOOL_LINE : TOOL_WAIT;
    }
    if (got < 0) {
        distil_fail(error, DISTIL_IO, "%s: %s", input->name, strerror(errno));
        return TOOL_BROKEN;
    }
    input->ended = got == 0;
    input->end += (size_t)got;
    return TOOL_LINE;
}

enum tool_line tool_input_next(struct tool_input *input, bool wait, char **text, size_t *length,
                               distil_error *error)
{
    for (;;) {
        size_t held = input->end - input->start;
        char *newline = NULL;
        if (held > input->searched)
            newline = memchr(input->buffer + input->start + input->searched, '\n',
                             held - input->searched);
        input->searched = held;
        if (newline || (input->ended && held > 0)) {
            *text = input->buffer + input->start;
            *length = newline ? (size_t)(newline - *text) : held;
            size_t whole = *length + (newline != NULL);
            input->start += whole;
            input->taken += whole;
            input->searched = 0;
            input->line++;
            if (newline && *length > 0 && (*text)[*length - 1] == '\r')
                (*length)--;
            return TOOL_LINE;
        }
        if (input->ended)
            return TOOL_END;
        enum tool_line outcome = read_more(input, wait, error);
        if (outcome != TOOL_LINE)
            return outcome;
    }
}

distil_status tool_input_all(const char *path, size_t most, char **text, size_t *length,
                             distil_error *error)
{
    struct tool_input input;
    distil_status status = tool_input_open(&input, path, error);
    *text = NULL;
    while (!status && !input.ended) {
        if (read_more(&input, true, error) == TOOL_BROKEN)
            status = error->code;
        else if (input.end > most)
            status = distil_fail(error, DISTIL_FORMAT, "%s: over %zu bytes", input.name, most);
    }
    if (!status) {
        *text = input.buffer; /* which has room: the end was found by reading on */
        *length = input.end;
        (*text)[*length] = '\0';
        input.buffer = NULL;
    }
    tool_input_close(&input);
    return status;
}

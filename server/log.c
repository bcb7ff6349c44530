/* log.c: see log.h. */
#include "server/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/json_writer.h"
#include "server/log_writer.h"
#include "server/utf8.h"

enum { MAX_LINE = 4096, PATIENCE_MS = 1000 /* with a reader that does not read */ };

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"}; /* of syslog */

bool server_log_level_parse(const char *name, enum server_log_level *level)
{
    size_t i;
    for (i = 0; i < sizeof(level_names) / sizeof(*level_names); i++)
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum server_log_level)i;
            return true;
        }
    return false;
}

bool server_log_is_journal(int fd, const char *journal_stream)
{
    struct stat file;
    char wanted[64];
    if (!journal_stream || fstat(fd, &file))
        return false;
    snprintf(wanted, sizeof(wanted), "%llu:%llu", (unsigned long long)file.st_dev,
             (unsigned long long)file.st_ino);
    return strcmp(wanted, journal_stream) == 0;
}

/* RFC 3339 in UTC, with milliseconds. */
static void timestamp(char *text, size_t size)
{
    struct timespec now;
    struct tm parts;
    size_t length;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    length = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + length, size - length, ".%03ldZ", now.tv_nsec / 1000000);
}

/* A log that cannot be written must not stop the server: the result is not looked at. */
static void write_line(const struct server_log *log, const char *line, size_t length)
{
    if (log->writer) {
        server_log_writer_put(log->writer, line, length);
    } else {
        /* a pipe that is called writable takes a line of this length without blocking */
        struct pollfd fd = {.fd = log->fd, .events = POLLOUT};
        ssize_t written = poll(&fd, 1, PATIENCE_MS) > 0 ? write(log->fd, line, length) : 0;
        (void)written;
    }
}

static void write_json(const struct server_log *log, enum server_log_level level, const char *time,
                       const char *message, const struct server_log_field *fields, int count)
{
    struct server_json json = {0};
    char *line;
    size_t length;
    int i;
    if (log->journal)
        server_json_raw(&json, priorities[level], strlen(priorities[level]));
    server_json_begin_object(&json);
    server_json_put_string(&json, "time", time);
    server_json_put_string(&json, "level", level_names[level]);
    server_json_put_string(&json, "message", message);
    for (i = 0; i < count; i++) {
        server_json_key(&json, fields[i].name);
        if (fields[i].kind == SERVER_LOG_TEXT)
            server_json_string_n(&json, fields[i].text, strnlen(fields[i].text, MAX_LINE / 4));
        else if (fields[i].kind == SERVER_LOG_INTEGER)
            server_json_integer(&json, fields[i].integer);
        else
            server_json_fixed(&json, fields[i].real, 3);
    }
    server_json_end_object(&json);
    server_json_raw(&json, "\n", 1);
    line = server_json_take(&json, &length);
    if (line)
        write_line(log, line, length);
    free(line);
}

/* Text from outside must not start a line of its own or send codes to a terminal: malformed UTF-8,
 * control characters and, in the value of a field, white space are written as \xHH. */
static void append_clean(char *line, size_t *length, const char *text, bool is_value)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t left = strlen(text);
    while (left > 0 && *length < MAX_LINE - 8) {
        size_t sequence = server_utf8_sequence(bytes, left);
        bool control = *bytes < 0x20 || *bytes == 0x7F || (*bytes == 0xC2 && bytes[1] < 0xA0);
        if (sequence == 0 || control || (is_value && *bytes == ' ')) {
            sequence = 1;
            *length += (size_t)snprintf(line + *length, 5, "\\x%02X", *bytes);
        } else {
            memcpy(line + *length, bytes, sequence);
            *length += sequence;
        }
        bytes += sequence;
        left -= sequence;
    }
}

static void write_text(const struct server_log *log, enum server_log_level level, const char *time,
                       const char *message, const struct server_log_field *fields, int count)
{
    char line[MAX_LINE], number[64] = "";
    size_t length = 0;
    int i;
    if (log->journal)
        append_clean(line, &length, priorities[level], false);
    append_clean(line, &length, time, false);
    append_clean(line, &length, " ", false);
    append_clean(line, &length, level_names[level], false);
    append_clean(line, &length, " ", false);
    append_clean(line, &length, message, false);
    for (i = 0; i < count; i++) {
        append_clean(line, &length, " ", false);
        append_clean(line, &length, fields[i].name, false);
        append_clean(line, &length, "=", false);
        if (fields[i].kind == SERVER_LOG_INTEGER)
            snprintf(number, sizeof(number), "%lld", (long long)fields[i].integer);
        else if (fields[i].kind == SERVER_LOG_REAL)
            snprintf(number, sizeof(number), "%.3f", fields[i].real);
        append_clean(line, &length, fields[i].kind == SERVER_LOG_TEXT ? fields[i].text : number,
                     true);
    }
    line[length++] = '\n';
    write_line(log, line, length);
}

void server_log_write(const struct server_log *log, enum server_log_level level,
                      const char *message, const struct server_log_field *fields, int count)
{
    char time[64];
    timestamp(time, sizeof(time));
    if (log->json)
        write_json(log, level, time, message, fields, count);
    else
        write_text(log, level, time, message, fields, count);
}

/* Counted whether or not it is written: what watches the counts need not know the level of the log. */
static void note(const struct server_log *log, enum server_log_level level)
{
    if (log->writer)
        server_log_writer_count(log->writer, level);
}

static bool held_back(const struct server_log *log, enum server_log_level level, const void *key,
                      const char *message)
{
    return log->writer && level <= SERVER_LOG_WARN &&
           server_log_writer_holds(log->writer, level, key, message);
}

void server_log_event(const struct server_log *log, enum server_log_level level,
                      const char *message, const struct server_log_field *fields, int count)
{
    note(log, level);
    if (server_log_enabled(log, level) && !held_back(log, level, message, message))
        server_log_write(log, level, message, fields, count);
}

void server_log_printf(const struct server_log *log, enum server_log_level level,
                       const char *format, ...)
{
    char message[MAX_LINE / 2];
    va_list arguments;
    note(log, level);
    if (!server_log_enabled(log, level))
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (!held_back(log, level, format, message))
        server_log_write(log, level, message, NULL, 0);
}

void server_log_announce(const struct server_log *log, const char *format, ...)
{
    char message[MAX_LINE / 2] = "";
    const char *priority = log->journal && !log->json ? priorities[SERVER_LOG_INFO] : "";
    size_t prefix = strlen(priority);
    va_list arguments;
    snprintf(message, sizeof(message), "%s", priority);
    va_start(arguments, format);
    vsnprintf(message + prefix, sizeof(message) - prefix, format, arguments);
    va_end(arguments);
    if (log->json) {
        server_log_write(log, SERVER_LOG_INFO, message, NULL, 0);
    } else {
        size_t length = strlen(message);
        message[length < sizeof(message) - 1 ? length++ : length - 1] = '\n';
        write_line(log, message, length);
    }
}

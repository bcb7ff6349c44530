/* log.h: one line per event on a file descriptor, as text or as JSON. With a writer, lines are
 * written by a thread of its own and nobody waits for them (log_writer.h); without one, each by one
 * write(2) where it is made. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "weights/distil_status.h"

enum server_log_level { SERVER_LOG_ERROR, SERVER_LOG_WARN, SERVER_LOG_INFO, SERVER_LOG_DEBUG };

struct server_log_writer;

struct server_log {
    int fd;
    enum server_log_level level; /* the most talkative level that is written */
    bool json;
    bool journal; /* lines begin with their priority, <0> to <7>, for systemd's journal */
    struct server_log_writer *writer; /* NULL: none */
};

enum server_log_kind { SERVER_LOG_TEXT, SERVER_LOG_INTEGER, SERVER_LOG_REAL };

struct server_log_field {
    const char *name;
    enum server_log_kind kind;
    const char *text;
    int64_t integer;
    double real; /* written with three decimals */
};

/* "error", "warn", "info" or "debug"; false for another name. */
bool server_log_level_parse(const char *name, enum server_log_level *level);

/* Whether a descriptor is the stream to systemd's journal that the environment variable
 * JOURNAL_STREAM names, as DEVICE:INODE; NULL: it is not set. */
bool server_log_is_journal(int fd, const char *journal_stream);

static inline bool server_log_enabled(const struct server_log *log, enum server_log_level level)
{
    return level <= log->level;
}

/* Writes a message with count fields, whatever the level. Lines over 4 KB are cut. */
void server_log_write(const struct server_log *log, enum server_log_level level,
                      const char *message, const struct server_log_field *fields, int count);
/* The same where the level is enabled. With a writer, an error or warning that comes again and again
 * is held back and told of later with a count; the messages of one format are one. */
void server_log_event(const struct server_log *log, enum server_log_level level,
                      const char *message, const struct server_log_field *fields, int count);
void server_log_printf(const struct server_log *log, enum server_log_level level,
                       const char *format, ...) DISTIL_PRINTF(3, 4);
/* Writes whatever the level: for what scripts wait for, such as the line that says where the server
 * listens. */
void server_log_announce(const struct server_log *log, const char *format, ...) DISTIL_PRINTF(2, 3);

#endif

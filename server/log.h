/* log.h: one line per event on a file descriptor, as text or as JSON, each written by one write(2).
 */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "weights/distil_status.h"

enum server_log_level { SERVER_LOG_ERROR, SERVER_LOG_WARN, SERVER_LOG_INFO, SERVER_LOG_DEBUG };

struct server_log {
    int fd;
    enum server_log_level level; /* the most talkative level that is written */
    bool json;
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

static inline bool server_log_enabled(const struct server_log *log, enum server_log_level level)
{
    return level <= log->level;
}

/* Writes a message with count fields. Lines over 4 KB are cut. */
void server_log_event(const struct server_log *log, enum server_log_level level,
                      const char *message, const struct server_log_field *fields, int count);
void server_log_printf(const struct server_log *log, enum server_log_level level,
                       const char *format, ...) DISTIL_PRINTF(3, 4);
/* Writes whatever the level: for what scripts wait for, such as the line that says where the server
 * listens. */
void server_log_announce(const struct server_log *log, const char *format, ...) DISTIL_PRINTF(2, 3);

#endif

/* log_writer.h: the thread behind the log. Lines are put into a ring of bounded size and written by
 * a thread of their own, so that nobody who logs waits for whoever reads the log; what does not fit
 * is dropped and counted. Messages that come again and again are held back and counted. */
#ifndef SERVER_LOG_WRITER_H
#define SERVER_LOG_WRITER_H

#include <stddef.h>

#include "server/log.h"

struct server_log_writer;

/* For a log whose writer it is to become; NULL when memory or threads run out. */
struct server_log_writer *server_log_writer_start(const struct server_log *log);
/* Writes what is left, for up to a second, and ends. */
void server_log_writer_free(struct server_log_writer *writer);
/* Waits until everything is written, for up to a second. */
void server_log_writer_flush(struct server_log_writer *writer);

/* Adds a line, which ends in a newline. */
void server_log_writer_put(struct server_log_writer *writer, const char *line, size_t length);
/* Whether a message is to be held back, as it has come too often of late. Messages with the same key,
 * an address of static storage, are one. Those held back are told of together later. */
bool server_log_writer_holds(struct server_log_writer *writer, enum server_log_level level,
                             const void *key, const char *message);

/* Counts a message, and how many of a level were counted. */
void server_log_writer_count(struct server_log_writer *writer, enum server_log_level level);
uint64_t server_log_writer_counted(struct server_log_writer *writer, enum server_log_level level);

/* Lines dropped because the ring was full, and messages held back. */
uint64_t server_log_writer_dropped(struct server_log_writer *writer);
uint64_t server_log_writer_held(struct server_log_writer *writer);

#endif

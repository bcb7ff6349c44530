/* log_writer.c: see log_writer.h. */
#include "server/log_writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    RING = 1 << 20,
    PIECE = 4096, /* a pipe that poll calls writable takes so much without blocking */
    KEPT_MESSAGES = 32,
    MESSAGE = 240,
    BURST = 5, /* times that a message is written within an interval */
    TICK_MS = 250
};

static const int64_t interval_ns = 10000000000;
static const int64_t patience_ns = 1000000000; /* at the end, with a reader that does not read */

struct kept {
    const void *key;
    enum server_log_level level;
    int64_t began;
    int written;
    uint64_t held;
    char message[MESSAGE]; /* the last one held back */
};

struct server_log_writer {
    struct server_log log;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool stopping;
    bool writing; /* the thread has taken a piece out of the ring */
    size_t start, length;
    uint64_t dropped, dropped_told, held;
    struct kept kept[KEPT_MESSAGES];
    atomic_ullong messages[SERVER_LOG_DEBUG + 1]; /* by level; needs no lock */
    char ring[RING];
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits for a change, but not for ever; with the lock held. */
static void wait_changed(struct server_log_writer *writer, int64_t until)
{
    struct timespec time = {until / 1000000000, until % 1000000000};
    pthread_cond_timedwait(&writer->changed, &writer->lock, &time);
}

void server_log_writer_put(struct server_log_writer *writer, const char *line, size_t length)
{
    size_t end, first;
    pthread_mutex_lock(&writer->lock);
    if (length > RING - writer->length) {
        writer->dropped++;
    } else {
        end = (writer->start + writer->length) % RING;
        first = length < RING - end ? length : RING - end;
        memcpy(writer->ring + end, line, first);
        memcpy(writer->ring, line + first, length - first);
        writer->length += length;
        pthread_cond_broadcast(&writer->changed);
    }
    pthread_mutex_unlock(&writer->lock);
}

/* The entry of a key, or one to be used for it; NULL where all are in use. With the lock held. */
static struct kept *find_kept(struct server_log_writer *writer, const void *key, int64_t now)
{
    struct kept *unused = NULL;
    int i;
    for (i = 0; i < KEPT_MESSAGES; i++) {
        struct kept *kept = &writer->kept[i];
        if (kept->key == key)
            return kept;
        if (!kept->key || (kept->held == 0 && now - kept->began > interval_ns))
            unused = kept;
    }
    if (unused) {
        memset(unused, 0, sizeof(*unused));
        unused->key = key;
        unused->began = now;
    }
    return unused;
}

bool server_log_writer_holds(struct server_log_writer *writer, enum server_log_level level,
                             const void *key, const char *message)
{
    int64_t now = now_ns();
    struct kept *kept;
    bool holds = false;
    pthread_mutex_lock(&writer->lock);
    kept = find_kept(writer, key, now);
    if (kept) {
        if (now - kept->began > interval_ns && kept->held == 0) {
            kept->began = now;
            kept->written = 0;
        }
        holds = kept->written >= BURST;
        kept->written += !holds;
        kept->held += holds;
        writer->held += holds;
        kept->level = level;
        if (holds) {
            size_t length = strnlen(message, MESSAGE - 1);
            memcpy(kept->message, message, length);
            kept->message[length] = '\0';
        }
        if (kept->held == 1)
            pthread_cond_broadcast(&writer->changed); /* there is something to tell later */
    }
    pthread_mutex_unlock(&writer->lock);
    return holds;
}

/* Tells of one message that was held back, if its time has come, or of lines dropped. True when it
 * did. With the lock held, which it lets go of to write. */
static bool tell(struct server_log_writer *writer, int64_t now)
{
    struct server_log_field field = {.kind = SERVER_LOG_INTEGER};
    enum server_log_level level = SERVER_LOG_WARN;
    char message[MESSAGE] = "lines of the log were dropped";
    int i;
    if (writer->dropped > writer->dropped_told && writer->length < RING / 2) {
        field.name = "lines";
        field.integer = (int64_t)(writer->dropped - writer->dropped_told);
        writer->dropped_told = writer->dropped;
    }
    for (i = 0; i < KEPT_MESSAGES && !field.name; i++) {
        struct kept *kept = &writer->kept[i];
        if (kept->held == 0 || (now - kept->began < interval_ns && !writer->stopping))
            continue;
        field.name = "repeated";
        field.integer = (int64_t)kept->held;
        level = kept->level;
        memcpy(message, kept->message, MESSAGE);
        kept->held = 0;
        kept->written = 0;
        kept->began = now;
    }
    if (!field.name)
        return false;
    pthread_mutex_unlock(&writer->lock);
    server_log_write(&writer->log, level, message, &field, 1);
    pthread_mutex_lock(&writer->lock);
    return true;
}

static bool anything_held(const struct server_log_writer *writer)
{
    int i;
    for (i = 0; i < KEPT_MESSAGES; i++)
        if (writer->kept[i].held > 0)
            return true;
    return writer->dropped > writer->dropped_told;
}

/* Writes a piece as soon as that is possible without waiting for the reader; false when it was not
 * within a tick. *sent is what was written. */
static void write_piece(const struct server_log_writer *writer, const char *piece, size_t length,
                        size_t *sent)
{
    struct pollfd fd = {.fd = writer->log.fd, .events = POLLOUT};
    ssize_t written;
    if (poll(&fd, 1, TICK_MS) <= 0)
        return;
    written = write(fd.fd, piece + *sent, length - *sent);
    if (written > 0)
        *sent += (size_t)written;
    else if (written < 0 && errno != EAGAIN && errno != EINTR)
        *sent = length; /* a log that cannot be written must not stop the server */
}

/* Takes a piece out of the ring and writes it. False when the end came first. */
static bool drain_some(struct server_log_writer *writer, int64_t *give_up)
{
    char piece[PIECE];
    size_t length = writer->length < PIECE ? writer->length : PIECE, sent = 0;
    bool in_time = true;
    if (length > RING - writer->start)
        length = RING - writer->start;
    memcpy(piece, writer->ring + writer->start, length);
    writer->start = (writer->start + length) % RING;
    writer->length -= length;
    writer->writing = true;
    while (sent < length && in_time) {
        pthread_mutex_unlock(&writer->lock);
        write_piece(writer, piece, length, &sent);
        pthread_mutex_lock(&writer->lock);
        if (writer->stopping && *give_up == 0)
            *give_up = now_ns() + patience_ns;
        in_time = *give_up == 0 || now_ns() < *give_up;
    }
    writer->writing = false;
    pthread_cond_broadcast(&writer->changed);
    return in_time;
}

static void *run(void *argument)
{
    struct server_log_writer *writer = argument;
    int64_t give_up = 0;
    bool going = true;
    pthread_mutex_lock(&writer->lock);
    while (going) {
        if (writer->length > 0)
            going = drain_some(writer, &give_up);
        else if (tell(writer, now_ns()))
            continue;
        else if (writer->stopping)
            going = false;
        else if (anything_held(writer))
            wait_changed(writer, now_ns() + (int64_t)TICK_MS * 1000000);
        else
            pthread_cond_wait(&writer->changed, &writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

struct server_log_writer *server_log_writer_start(const struct server_log *log)
{
    struct server_log_writer *writer = calloc(1, sizeof(*writer));
    pthread_condattr_t attributes;
    bool started;
    if (!writer)
        return NULL;
    writer->log = *log;
    writer->log.writer = writer;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    started = pthread_create(&writer->thread, NULL, run, writer) == 0;
    if (started)
        return writer;
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
    return NULL;
}

void server_log_writer_flush(struct server_log_writer *writer)
{
    int64_t deadline = now_ns() + patience_ns;
    pthread_mutex_lock(&writer->lock);
    while ((writer->length > 0 || writer->writing) && now_ns() < deadline)
        wait_changed(writer, deadline);
    pthread_mutex_unlock(&writer->lock);
}

void server_log_writer_free(struct server_log_writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

void server_log_writer_count(struct server_log_writer *writer, enum server_log_level level)
{
    atomic_fetch_add_explicit(&writer->messages[level], 1, memory_order_relaxed);
}

uint64_t server_log_writer_counted(struct server_log_writer *writer, enum server_log_level level)
{
    return atomic_load_explicit(&writer->messages[level], memory_order_relaxed);
}

uint64_t server_log_writer_dropped(struct server_log_writer *writer)
{
    uint64_t dropped;
    pthread_mutex_lock(&writer->lock);
    dropped = writer->dropped;
    pthread_mutex_unlock(&writer->lock);
    return dropped;
}

uint64_t server_log_writer_held(struct server_log_writer *writer)
{
    uint64_t held;
    pthread_mutex_lock(&writer->lock);
    held = writer->held;
    pthread_mutex_unlock(&writer->lock);
    return held;
}

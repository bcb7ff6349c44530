/* prediction_keep.c: how long predictions are kept, and what becomes of damaged files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "server/prediction_db.h"
#include "server/prediction_internal.h"
#include "server/queue.h"
#include "server/timestamp.h"

enum {
    PIECE = 2000,      /* rows deleted in one transaction, so that none takes long */
    PIECE_PAGES = 500, /* given back to the file system at once */
    MOST_PUT_ASIDE = 3
};

/* In nanoseconds. */
static const int64_t day = 86400000000000;
static const int64_t period_ns = 10000000000; /* between looks */
static const int64_t again_ns = 100000000;    /* the same while there is more to delete */
/* A clock that was put forward by mistake must not delete what is not old. */
static const int64_t jump_ns = 60000000000; /* by which it must change to count as put */
static const int64_t distrust_ns =
    3600000000000; /* for which nothing is then deleted for its age */

/* ---- the clock ---- */

/* The system's clock less one that also runs while the machine sleeps, and that nobody puts. */
static int64_t offset_of_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return server_clock() - ((int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
}

void server_prediction_watch_clock(struct server_prediction_writer *writer)
{
    writer->clock_offset = offset_of_clock();
    writer->clock_jumped = server_now() - distrust_ns;
}

static bool is_clock_trusted(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    int64_t offset = offset_of_clock(), change = offset - writer->clock_offset;
    writer->clock_offset = offset;
    if (llabs(change) > jump_ns) {
        writer->clock_jumped = server_now();
        server_log_printf(&log->log, SERVER_LOG_WARN,
                          "the system's clock was put %s by %lld s: no prediction is deleted for "
                          "its age within the next hour",
                          change > 0 ? "forward" : "back", (long long)(llabs(change) / 1000000000));
    }
    return server_now() - writer->clock_jumped >= distrust_ns;
}

/* ---- deleting ---- */

static distil_status ask(struct server_prediction_writer *writer, const char *pragma,
                         long long *number, distil_error *error)
{
    sqlite3_stmt *statement = NULL;
    distil_status status = DISTIL_OK;
    if (sqlite3_prepare_v2(writer->db, pragma, -1, &statement, NULL) ||
        sqlite3_step(statement) != SQLITE_ROW)
        status = server_prediction_db_fail(writer->db, writer->path, error);
    else
        *number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

/* Deletes the predictions that a condition selects, a piece at most, and the feedback on them. */
static distil_status delete_where(struct server_prediction_log *log, const char *condition,
                                  enum server_counter counter, int *deleted, distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    char *sql = sqlite3_mprintf(
        "BEGIN IMMEDIATE;"
        "DELETE FROM feedback WHERE prediction_id IN"
        " (SELECT id FROM prediction WHERE %s LIMIT %d);"
        "DELETE FROM prediction WHERE seq IN (SELECT seq FROM prediction WHERE %s LIMIT %d);",
        condition, (int)PIECE, condition, (int)PIECE);
    distil_status status = DISTIL_OK;
    if (!sql)
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", writer->path);
    if (sqlite3_exec(writer->db, sql, NULL, NULL, NULL))
        status = server_prediction_db_fail(writer->db, writer->path, error);
    *deleted = status ? 0 : sqlite3_changes(writer->db);
    if (!status && sqlite3_exec(writer->db, "COMMIT", NULL, NULL, NULL))
        status = server_prediction_db_fail(writer->db, writer->path, error);
    if (status && !sqlite3_get_autocommit(writer->db))
        sqlite3_exec(writer->db, "ROLLBACK", NULL, NULL, NULL);
    if (!status)
        server_count(log->meter, counter, (uint64_t)*deleted);
    sqlite3_free(sql);
    return status;
}

static distil_status delete_old(struct server_prediction_log *log, bool *more, distil_error *error)
{
    int64_t limit = server_clock() - log->options.days * day;
    char condition[80];
    int deleted = 0;
    distil_status status;
    snprintf(condition, sizeof(condition), "at_ns < %lld ORDER BY at_ns, seq", (long long)limit);
    status = delete_where(log, condition, SERVER_COUNT_LOG_DELETED_AGE, &deleted, error);
    *more = *more || deleted == PIECE;
    return status;
}

static distil_status delete_much(struct server_prediction_log *log, bool *more, distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    long long pages = 0, unused = 0, size = 0;
    int deleted = 0;
    distil_status status = ask(writer, "PRAGMA page_size", &size, error);
    if (!status)
        status = ask(writer, "PRAGMA page_count", &pages, error);
    if (!status)
        status = ask(writer, "PRAGMA freelist_count", &unused, error);
    if (status)
        return status;
    if (log->options.max_bytes > 0 && (pages - unused) * size > log->options.max_bytes)
        status =
            delete_where(log, "1 ORDER BY seq", SERVER_COUNT_LOG_DELETED_SIZE, &deleted, error);
    *more = *more || deleted > 0 || unused > PIECE_PAGES;
    atomic_store_explicit(&log->file_bytes, pages * size, memory_order_relaxed);
    return status;
}

distil_status server_prediction_keep(struct server_prediction_log *log, distil_error *error)
{
    struct server_prediction_writer *writer = &log->writer;
    bool trusted = is_clock_trusted(log), more = false;
    char give_back[60];
    distil_status status = DISTIL_OK;
    writer->next_keep = server_now() + period_ns;
    writer->since_keep = 0;
    if (server_prediction_moved(writer)) {
        server_log_printf(&log->log, SERVER_LOG_WARN,
                          "%s is gone: a new log of predictions is begun", writer->path);
        server_prediction_close(writer);
        return DISTIL_OK;
    }
    if (log->options.days > 0 && trusted)
        status = delete_old(log, &more, error);
    if (!status)
        status = delete_much(log, &more, error);
    snprintf(give_back, sizeof(give_back), "PRAGMA incremental_vacuum(%d)", (int)PIECE_PAGES);
    if (!status && sqlite3_exec(writer->db, give_back, NULL, NULL, NULL))
        status = server_prediction_db_fail(writer->db, writer->path, error);
    if (!status && more)
        writer->next_keep = server_now() + again_ns;
    return status;
}

/* ---- files ---- */

bool server_prediction_moved(const struct server_prediction_writer *writer)
{
    int moved = 0;
    return sqlite3_file_control(writer->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
           moved;
}

bool server_prediction_put_aside(struct server_prediction_log *log)
{
    struct server_prediction_writer *writer = &log->writer;
    static const char *const suffixes[] = {"-wal", "-shm", ""};
    char from[SERVER_PREDICTION_PATH + 8], to[SERVER_PREDICTION_PATH + 80];
    long long now = server_clock() / 1000000;
    size_t i;
    if (writer->put_aside >= MOST_PUT_ASIDE)
        return false;
    for (i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
        snprintf(from, sizeof(from), "%s%s", writer->path, suffixes[i]);
        snprintf(to, sizeof(to), "%s.damaged-%lld%s", writer->path, now, suffixes[i]);
        if (rename(from, to) && errno != ENOENT) {
            server_log_printf(&log->log, SERVER_LOG_ERROR, "%s cannot be renamed to %s: %s", from,
                              to, strerror(errno));
            return false;
        }
    }
    writer->put_aside++;
    server_log_printf(&log->log, SERVER_LOG_ERROR,
                      "the log of predictions was damaged: it is kept as %s, and a new one begun",
                      to);
    return true;
}

static bool write_all(int fd, const unsigned char *bytes, size_t length)
{
    return write(fd, bytes, length) == (ssize_t)length && fsync(fd) == 0;
}

/* Makes a file of random bytes where there is none, whole or not at all. */
static distil_status make_key(const char *path, distil_error *error)
{
    unsigned char key[SERVER_PREDICTION_KEY];
    char temporary[SERVER_PREDICTION_PATH + 8];
    distil_status status = DISTIL_OK;
    int fd;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", temporary, strerror(errno));
    if (getrandom(key, sizeof(key), 0) != sizeof(key) || !write_all(fd, key, sizeof(key)) ||
        rename(temporary, path))
        status = distil_fail(error, DISTIL_IO, "%s: %s", temporary, strerror(errno));
    explicit_bzero(key, sizeof(key));
    close(fd);
    return status;
}

distil_status server_prediction_read_key(const char *directory,
                                         unsigned char key[SERVER_PREDICTION_KEY],
                                         distil_error *error)
{
    char path[SERVER_PREDICTION_PATH];
    unsigned char bytes[SERVER_PREDICTION_KEY + 1];
    distil_status status = DISTIL_OK;
    ssize_t length;
    int fd;
    if (snprintf(path, sizeof(path), "%s/predictions.key", directory) >= (int)sizeof(path))
        return distil_fail(error, DISTIL_INVALID, "%.60s...: the path is too long", directory);
    if (access(path, F_OK) && errno == ENOENT)
        status = make_key(path, error);
    if (status)
        return status;
    fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    length = read(fd, bytes, sizeof(bytes));
    if (length == SERVER_PREDICTION_KEY)
        memcpy(key, bytes, SERVER_PREDICTION_KEY);
    else
        status =
            distil_fail(error, DISTIL_FORMAT, "%s: %d bytes are expected, found %s%zd", path,
                        (int)SERVER_PREDICTION_KEY, length > SERVER_PREDICTION_KEY ? "over " : "",
                        length > SERVER_PREDICTION_KEY ? (ssize_t)SERVER_PREDICTION_KEY : length);
    explicit_bzero(bytes, sizeof(bytes));
    close(fd);
    return status;
}

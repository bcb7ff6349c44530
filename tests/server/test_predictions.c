/* test_predictions.c: the log of predictions by itself: what it writes, what it does while it cannot,
 * what it deletes. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/prediction_db.h"
#include "server/prediction_internal.h"
#include "server/queue.h"
#include "server/timestamp.h"
#include "tests/suite.h"

static const int64_t second = 1000000000, day = 86400000000000;

struct fixture {
    char folder[80], path[120];
    struct server_prediction_options options;
    struct server_log log;
    struct server_metrics *metrics;
    struct server_prediction_log *predictions;
};

static void set_up(struct fixture *f)
{
    const char *where = getenv("TMPDIR");
    memset(f, 0, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "%.50s/distild-log-XXXXXX", where ? where : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/%s", f->folder, SERVER_PREDICTION_FILE);
    f->options = (struct server_prediction_options){.enabled = true};
    f->log = (struct server_log){.fd = open("/dev/null", O_WRONLY | O_CLOEXEC),
                                 .level = SERVER_LOG_DEBUG};
    f->metrics = server_metrics_create(1);
}

static void begin(struct fixture *f)
{
    distil_error error;
    ck_assert_msg(server_prediction_log_start(f->folder, &f->options, &f->log,
                                              server_metrics_meter(f->metrics, 0), &f->predictions,
                                              &error) == DISTIL_OK,
                  "%s", error.message);
}

static void end(struct fixture *f)
{
    ck_assert(server_prediction_log_free(f->predictions));
    f->predictions = NULL;
}

static void tear_down(struct fixture *f)
{
    char pattern[200];
    glob_t found;
    size_t i;
    snprintf(pattern, sizeof(pattern), "%s/*", f->folder);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
        globfree(&found);
    }
    ck_assert_int_eq(rmdir(f->folder), 0);
    close(f->log.fd);
    server_metrics_free(f->metrics);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool put(struct fixture *f, const char *id, const char *text)
{
    return server_prediction_log_put(f->predictions,
                                     &(struct server_prediction){
                                         .id = id,
                                         .at_ns = server_clock(),
                                         .model = "default",
                                         .digest = "8f65",
                                         .text = text,
                                         .label = "good",
                                         .score = 0.75,
                                         .scores = "{\"bad\":0.25,\"good\":0.75}",
                                         .tokens = 4,
                                         .unknown = 1,
                                     },
                                     server_metrics_meter(f->metrics, 0));
}

static bool put_number(struct fixture *f, int number)
{
    char id[40];
    snprintf(id, sizeof(id), "id-%d", number);
    return put(f, id, "some text");
}

/* A number that the database answers with, by a connection of its own. */
static long long ask(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    distil_error error;
    long long number;
    ck_assert_msg(server_prediction_db_read(f->path, &db, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

/* The value of a counter's series. */
static long long counted(struct fixture *f, const char *series)
{
    char *text = NULL, *at, line[120];
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    long long value;
    server_metrics_write(f->metrics, out);
    fclose(out);
    snprintf(line, sizeof(line), "\n%s", series);
    at = strstr(text, line);
    ck_assert_msg(at != NULL, "there is no %s", series);
    value = strtoll(at + strlen(line), NULL, 10);
    free(text);
    return value;
}

static void wait_for(struct fixture *f, const char *series, long long value)
{
    int i;
    for (i = 0; i < 3000 && counted(f, series) < value; i++)
        pause_ms(10);
    ck_assert_int_ge(counted(f, series), value);
}

static const char *const rows_total = "distild_prediction_log_rows_total ";

/* ---- writing ---- */

START_TEST(rows_hold_what_was_put)
{
    static const float projection[] = {1, -2, 0.5F};
    struct fixture f;
    sqlite3 *db;
    sqlite3_stmt *row;
    struct stat file;
    set_up(&f);
    begin(&f);
    ck_assert(server_prediction_log_put(f.predictions,
                                        &(struct server_prediction){
                                            .id = "a",
                                            .at_ns = 1772368200123456789,
                                            .model = "m",
                                            .digest = "d",
                                            .text = "t\xC3\xA9xt",
                                            .pair = "p",
                                            .product_id = "B00",
                                            .timestamp = "2026-03-01T12:30:00Z",
                                            .label = "good",
                                            .score = 0.75,
                                            .scores = "{}",
                                            .tokens = 7,
                                            .unknown = 2,
                                            .truncated = true,
                                            .projection = projection,
                                            .projection_count = 3,
                                        },
                                        NULL));
    ck_assert(put(&f, "b", "text"));
    ck_assert(put(&f, "b", "the id is taken"));
    end(&f);
    ck_assert_int_eq(stat(f.path, &file), 0);
    ck_assert_uint_eq(file.st_mode & 0777, 0600);
    ck_assert_int_eq(server_prediction_db_read(f.path, &db, NULL), DISTIL_OK);
    ck_assert_int_eq(
        sqlite3_prepare_v2(db, "SELECT * FROM prediction ORDER BY seq", -1, &row, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(row), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_column_int64(row, 0), 1);
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 1), "a");
    ck_assert_int_eq(sqlite3_column_int64(row, 2), 1772368200123456789);
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 3), "m");
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 4), "d");
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 5), "t\xC3\xA9xt");
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 6), "p");
    ck_assert_int_eq(sqlite3_column_type(row, 7), SQLITE_NULL);
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 8), "B00");
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 9), "2026-03-01T12:30:00Z");
    ck_assert_str_eq((const char *)sqlite3_column_text(row, 10), "good");
    ck_assert_double_eq(sqlite3_column_double(row, 11), 0.75);
    ck_assert_int_eq(sqlite3_column_int(row, 13), 7);
    ck_assert_int_eq(sqlite3_column_int(row, 14), 2);
    ck_assert_int_eq(sqlite3_column_int(row, 15), 1);
    ck_assert_int_eq(sqlite3_column_bytes(row, 16), sizeof(projection));
    ck_assert_mem_eq(sqlite3_column_blob(row, 16), projection, sizeof(projection));
    ck_assert_int_eq(sqlite3_step(row), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_column_type(row, 6), SQLITE_NULL);
    ck_assert_int_eq(sqlite3_column_type(row, 16), SQLITE_NULL);
    ck_assert_int_eq(sqlite3_step(row), SQLITE_DONE);
    sqlite3_finalize(row);
    sqlite3_close(db);
    tear_down(&f);
}
END_TEST

START_TEST(texts_are_kept_as_hashes_or_not_at_all)
{
    struct fixture f;
    char key[200];
    struct stat file;
    set_up(&f);
    f.options.text = SERVER_PREDICTION_TEXT_HASH;
    begin(&f);
    ck_assert(put(&f, "a", "one"));
    ck_assert(put(&f, "b", "two"));
    end(&f);
    begin(&f); /* the key is the same */
    ck_assert(put(&f, "c", "one"));
    end(&f);
    f.options.text = SERVER_PREDICTION_TEXT_NONE;
    begin(&f);
    ck_assert(put(&f, "d", "one"));
    end(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(text) FROM prediction"), 0);
    ck_assert_int_eq(ask(&f, "SELECT count(text_hash) FROM prediction"), 3);
    ck_assert_int_eq(ask(&f, "SELECT count(DISTINCT text_hash) FROM prediction"), 2);
    ck_assert_int_eq(ask(&f, "SELECT min(length(text_hash)) FROM prediction"), 32);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction a JOIN prediction c USING (text_hash)"
                             " WHERE a.id = 'a' AND c.id = 'c'"),
                     1);
    snprintf(key, sizeof(key), "%s/predictions.key", f.folder);
    ck_assert_int_eq(stat(key, &file), 0);
    ck_assert_uint_eq(file.st_mode & 0777, 0600);
    ck_assert_int_eq(truncate(key, 5), 0);
    f.options.text = SERVER_PREDICTION_TEXT_HASH;
    ck_assert_int_eq(
        server_prediction_log_start(f.folder, &f.options, &f.log, NULL, &f.predictions, NULL),
        DISTIL_FORMAT);
    tear_down(&f);
}
END_TEST

enum { PRODUCERS = 4, EACH = 3000 };

struct producer {
    struct fixture *f;
    int number;
};

static void *produce(void *argument)
{
    const struct producer *producer = argument;
    int i;
    for (i = 0; i < EACH; i++)
        ck_assert(put_number(producer->f, producer->number * 100000 + i));
    return NULL;
}

START_TEST(many_threads_lose_nothing)
{
    struct fixture f;
    pthread_t threads[PRODUCERS];
    struct producer producers[PRODUCERS];
    int i;
    set_up(&f);
    begin(&f);
    for (i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){&f, i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    end(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), PRODUCERS * EACH);
    /* in the order of each */
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM (SELECT CAST(substr(id, 4) AS INTEGER) AS n,"
                             " lag(CAST(substr(id, 4) AS INTEGER)) OVER (PARTITION BY"
                             " CAST(substr(id, 4) AS INTEGER) / 100000 ORDER BY seq) AS before"
                             " FROM prediction) WHERE n <> before + 1"),
                     0);
    ck_assert_int_eq(counted(&f, rows_total), PRODUCERS * EACH);
    tear_down(&f);
}
END_TEST

/* ---- feedback ---- */

static atomic_int answered;

static void on_done(struct server_feedback *feedback)
{
    (void)feedback;
    atomic_fetch_add(&answered, 1);
}

static void give(struct fixture *f, struct server_feedback *feedback, const char *id,
                 const char *label)
{
    memset(feedback, 0, sizeof(*feedback));
    snprintf(feedback->id, sizeof(feedback->id), "%s", id);
    snprintf(feedback->label, sizeof(feedback->label), "%s", label);
    feedback->done = on_done;
    server_prediction_log_give(f->predictions, feedback);
}

/* Gives feedback and waits for what becomes of it. */
static struct server_feedback say(struct fixture *f, const char *id, const char *label)
{
    struct server_feedback feedback;
    int before = atomic_load(&answered), i;
    give(f, &feedback, id, label);
    for (i = 0; i < 3000 && atomic_load(&answered) == before; i++) {
        server_prediction_log_sweep(f->predictions);
        pause_ms(5);
    }
    ck_assert_int_eq(atomic_load(&answered), before + 1);
    return feedback;
}

START_TEST(feedback_is_kept)
{
    struct fixture f;
    struct server_feedback said;
    int64_t first;
    set_up(&f);
    begin(&f);
    ck_assert(put(&f, "a", "text"));
    said = say(&f, "a", "bad"); /* its row is still in the ring, or just written */
    ck_assert_int_eq(said.outcome, SERVER_FEEDBACK_KEPT);
    ck_assert_str_eq(said.predicted, "good");
    ck_assert_str_eq(said.previous, "");
    first = ask(&f, "SELECT at_ns FROM feedback");
    said = say(&f, "a", "bad"); /* again: nothing changes */
    ck_assert_int_eq(said.outcome, SERVER_FEEDBACK_KEPT);
    ck_assert_str_eq(said.previous, "bad");
    ck_assert_int_eq(ask(&f, "SELECT at_ns FROM feedback"), first);
    said = say(&f, "a", "good"); /* another: it replaces the first */
    ck_assert_int_eq(said.outcome, SERVER_FEEDBACK_KEPT);
    ck_assert_str_eq(said.previous, "bad");
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM feedback WHERE label = 'good'"), 1);
    said = say(&f, "a", "Good");
    ck_assert_int_eq(said.outcome, SERVER_FEEDBACK_WRONG_LABEL);
    ck_assert_str_eq(said.labels, "bad, good");
    ck_assert_int_eq(say(&f, "b", "good").outcome, SERVER_FEEDBACK_UNKNOWN);
    ck_assert_int_eq(say(&f, "a' OR '1'='1", "good").outcome, SERVER_FEEDBACK_UNKNOWN);
    server_prediction_log_end_feedback(f.predictions);
    ck_assert_int_eq(say(&f, "a", "good").outcome, SERVER_FEEDBACK_STOPPED);
    end(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM feedback"), 1);
    tear_down(&f);
}
END_TEST

/* ---- when it goes wrong ---- */

static sqlite3 *lock(struct fixture *f)
{
    sqlite3 *db;
    int i;
    ck_assert_int_eq(sqlite3_open(f->path, &db), SQLITE_OK);
    for (i = 0; i < 1000 && sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL); i++)
        pause_ms(5);
    ck_assert_int_eq(sqlite3_get_autocommit(db), 0);
    return db;
}

START_TEST(a_locked_database_holds_nobody_up)
{
    struct fixture f;
    sqlite3 *other;
    char *text = malloc(1000001);
    int64_t began, longest = 0;
    int i, refused = 0;
    set_up(&f);
    begin(&f);
    ck_assert(put(&f, "first", "text"));
    wait_for(&f, rows_total, 1);
    other = lock(&f);
    memset(text, 'x', 1000000);
    text[1000000] = '\0';
    for (i = 0; i < 50; i++) {
        char id[40];
        snprintf(id, sizeof(id), "id-%d", i);
        began = server_now();
        refused += !put(&f, id, text);
        longest = server_now() - began > longest ? server_now() - began : longest;
    }
    ck_assert_int_eq(refused, 50 - 33); /* of 32 MiB */
    ck_assert_int_lt(longest, second / 2);
    ck_assert_int_eq(counted(&f, "distild_prediction_log_dropped_total{reason=\"queue_full\"} "),
                     refused);
    ck_assert_int_eq(say(&f, "first", "good").outcome, SERVER_FEEDBACK_LATE);
    ck_assert_int_gt(counted(&f, "distild_prediction_log_failures_total{cause=\"locked\"} "), 0);
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    wait_for(&f, rows_total, 34);
    ck_assert_int_eq(say(&f, "id-0", "good").outcome, SERVER_FEEDBACK_KEPT);
    end(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), 34);
    free(text);
    tear_down(&f);
}
END_TEST

START_TEST(a_full_disk_is_waited_for)
{
    struct fixture f;
    struct rlimit files, before;
    int i;
    signal(SIGXFSZ, SIG_IGN);
    set_up(&f);
    begin(&f);
    ck_assert(put_number(&f, 0));
    wait_for(&f, rows_total, 1);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    files = before;
    files.rlim_cur = 1; /* of every file, as if the disk were full */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &files), 0);
    for (i = 1; i < 100; i++)
        ck_assert(put_number(&f, i));
    wait_for(&f, "distild_prediction_log_failures_total{cause=\"disk_full\"} ", 2);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    wait_for(&f, rows_total, 100);
    end(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), 100);
    tear_down(&f);
}
END_TEST

static int files_like(const struct fixture *f, const char *pattern)
{
    char path[200];
    glob_t found;
    int count;
    snprintf(path, sizeof(path), "%s/%s", f->folder, pattern);
    count = glob(path, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
    if (count > 0)
        globfree(&found);
    return count;
}

START_TEST(a_damaged_file_is_put_aside)
{
    struct fixture f;
    FILE *file;
    set_up(&f);
    file = fopen(f.path, "w");
    fputs("SQLite format 3 is what this should be, and is not; at least not for so long as this.",
          file);
    fclose(file);
    begin(&f);
    ck_assert(put(&f, "a", "text"));
    end(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), 1);
    ck_assert_int_eq(files_like(&f, "predictions.db.damaged-*"), 1);
    ck_assert_int_eq(counted(&f, "distild_prediction_log_failures_total{cause=\"damaged\"} "), 1);
    tear_down(&f);
}
END_TEST

START_TEST(other_files_are_left_alone)
{
    struct fixture f;
    sqlite3 *db;
    distil_error error;
    set_up(&f);
    ck_assert_int_eq(server_prediction_db_read(f.path, &db, &error), DISTIL_NOT_FOUND);
    ck_assert_int_eq(sqlite3_open(f.path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE accounts(x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    ck_assert_int_eq(server_prediction_db_write(f.path, &db, &error), DISTIL_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "another program"));
    ck_assert_int_eq(server_prediction_db_read(f.path, &db, &error), DISTIL_UNSUPPORTED);
    unlink(f.path);
    ck_assert_int_eq(server_prediction_db_write(f.path, &db, &error), DISTIL_OK);
    ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    ck_assert_int_eq(server_prediction_db_write(f.path, &db, &error), DISTIL_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "schema 99"));
    unlink(f.path);
    ck_assert_int_eq(symlink("/dev/null", f.path), 0);
    ck_assert_int_eq(server_prediction_db_write(f.path, &db, &error), DISTIL_IO);
    tear_down(&f);
}
END_TEST

START_TEST(a_file_that_was_taken_away_is_made_again)
{
    struct fixture f;
    int i;
    set_up(&f);
    begin(&f);
    ck_assert(put(&f, "a", "text"));
    wait_for(&f, rows_total, 1);
    unlink(f.path);
    for (i = 0; i < 20000; i++) /* enough that it looks */
        ck_assert(put_number(&f, i));
    end(&f);
    ck_assert_int_gt(ask(&f, "SELECT count(*) FROM prediction"), 5000);
    tear_down(&f);
}
END_TEST

/* ---- how long it is kept ---- */

/* A log without its thread, to be told what to do. */
static void open_by_hand(struct fixture *f)
{
    distil_error error;
    f->predictions = calloc(1, sizeof(*f->predictions));
    f->predictions->options = f->options;
    f->predictions->log = f->log;
    f->predictions->meter = server_metrics_meter(f->metrics, 0);
    snprintf(f->predictions->writer.path, SERVER_PREDICTION_PATH, "%s", f->path);
    server_prediction_watch_clock(&f->predictions->writer);
    ck_assert_msg(server_prediction_open(f->predictions, &error) == DISTIL_OK, "%s", error.message);
}

static void close_by_hand(struct fixture *f)
{
    server_prediction_close(&f->predictions->writer);
    free(f->predictions);
    f->predictions = NULL;
}

/* Makes rows, the first of them oldest, with a minute between them and the last one now. */
static void make_rows(struct fixture *f, int count)
{
    char sql[600];
    snprintf(sql, sizeof(sql),
             "INSERT INTO prediction(id, at_ns, model, digest, text, label, score, scores, tokens,"
             " unknown, truncated) SELECT 'id-' || value, %lld + value * 60000000000, 'm', 'd',"
             " printf('%%.200c', 'x'), 'good', 1, '{\"good\":1}', 3, 0, 0"
             " FROM generate_numbers;"
             "INSERT INTO feedback SELECT id, 'good', 1 FROM prediction WHERE seq %% 2 = 0;",
             (long long)(server_clock() - count * 60 * second));
    char make[300];
    snprintf(make, sizeof(make),
             "CREATE TEMP VIEW generate_numbers AS WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL"
             " SELECT value + 1 FROM n WHERE value < %d) SELECT value FROM n;",
             count);
    ck_assert_int_eq(sqlite3_exec(f->predictions->writer.db, make, NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(f->predictions->writer.db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* Lets it delete until it sees no more to delete. */
static void keep(struct fixture *f)
{
    distil_error error;
    int i;
    for (i = 0; i < 1000; i++) {
        ck_assert_msg(server_prediction_keep(f->predictions, &error) == DISTIL_OK, "%s",
                      error.message);
        if (f->predictions->writer.next_keep - server_now() > second)
            return;
    }
    ck_abort_msg("it never ends");
}

START_TEST(what_is_old_is_deleted)
{
    enum { ROWS = 5000 };
    struct fixture f;
    set_up(&f);
    f.options.days = 2;
    open_by_hand(&f);
    make_rows(&f, ROWS);
    keep(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), 2 * 24 * 60);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM feedback"), 24 * 60);
    ck_assert_int_eq(ask(&f, "SELECT max(seq) FROM prediction"), ROWS);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM feedback WHERE prediction_id NOT IN"
                             " (SELECT id FROM prediction)"),
                     0);
    ck_assert_int_eq(counted(&f, "distild_prediction_log_deleted_total{reason=\"age\"} "),
                     ROWS - 2 * 24 * 60);
    close_by_hand(&f);
    tear_down(&f);
}
END_TEST

START_TEST(a_clock_that_was_put_forward_deletes_nothing)
{
    enum { ROWS = 3000 };
    struct fixture f;
    set_up(&f);
    f.options.days = 1;
    open_by_hand(&f);
    make_rows(&f, ROWS);
    f.predictions->writer.clock_offset -= 3 * day; /* as if it had been three days earlier */
    keep(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), ROWS);
    f.predictions->writer.clock_jumped -= 3600 * second; /* an hour later */
    keep(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), 24 * 60);
    close_by_hand(&f);
    tear_down(&f);
}
END_TEST

START_TEST(what_is_too_much_is_deleted)
{
    enum { ROWS = 20000 };
    struct fixture f;
    struct stat file;
    long long before, kept;
    set_up(&f);
    f.options.max_bytes = 2000000;
    open_by_hand(&f);
    make_rows(&f, ROWS);
    before = ask(&f, "PRAGMA page_count") * ask(&f, "PRAGMA page_size");
    ck_assert_int_gt(before, 5000000);
    keep(&f);
    kept = ask(&f, "SELECT count(*) FROM prediction");
    ck_assert_int_gt(kept, 1000);
    ck_assert_int_eq(ask(&f, "SELECT min(seq) FROM prediction"), ROWS - kept + 1);
    ck_assert_int_eq(counted(&f, "distild_prediction_log_deleted_total{reason=\"size\"} "),
                     ROWS - kept);
    close_by_hand(&f); /* which moves the write-ahead log into the file */
    ck_assert_int_eq(stat(f.path, &file), 0);
    ck_assert_int_le(file.st_size, 4200000); /* but for pages that are given back later */
    open_by_hand(&f);
    keep(&f);
    close_by_hand(&f);
    ck_assert_int_eq(stat(f.path, &file), 0);
    ck_assert_int_le(file.st_size, 2000000);
    tear_down(&f);
}
END_TEST

/* ---- the ring ---- */

START_TEST(a_full_ring_refuses)
{
    struct server_ring *ring = server_ring_create(4);
    int items[6], i, round;
    ck_assert_ptr_null(server_ring_pop(ring));
    for (round = 0; round < 5; round++) {
        ck_assert(server_ring_empty(ring));
        for (i = 0; i < 4; i++)
            ck_assert(server_ring_push(ring, &items[i]));
        ck_assert(!server_ring_push(ring, &items[4]));
        ck_assert(!server_ring_empty(ring));
        ck_assert_ptr_eq(server_ring_pop(ring), &items[0]);
        ck_assert(server_ring_push(ring, &items[5]));
        for (i = 1; i < 4; i++)
            ck_assert_ptr_eq(server_ring_pop(ring), &items[i]);
        ck_assert_ptr_eq(server_ring_pop(ring), &items[5]);
        ck_assert_ptr_null(server_ring_pop(ring));
        ck_assert_uint_eq(server_ring_given(ring), server_ring_taken(ring));
    }
    server_ring_free(ring);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        rows_hold_what_was_put,
        texts_are_kept_as_hashes_or_not_at_all,
        many_threads_lose_nothing,
        feedback_is_kept,
        a_locked_database_holds_nobody_up,
        a_full_disk_is_waited_for,
        a_damaged_file_is_put_aside,
        other_files_are_left_alone,
        a_file_that_was_taken_away_is_made_again,
        what_is_old_is_deleted,
        a_clock_that_was_put_forward_deletes_nothing,
        what_is_too_much_is_deleted,
        a_full_ring_refuses,
    };
    return run_tests("predictions", 60, tests, sizeof(tests) / sizeof(*tests));
}

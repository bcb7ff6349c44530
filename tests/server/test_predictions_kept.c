/* test_predictions_kept.c: the log of predictions when writing it fails, and how long it is kept. */
#include <check.h>
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/prediction_db.h"
#include "server/prediction_internal.h"
#include "server/queue.h"
#include "server/timestamp.h"
#include "tests/server/prediction_fixture.h"
#include "tests/suite.h"

static const int64_t second = 1000000000, day = 86400000000000;

/* ---- when it goes wrong ---- */

static sqlite3 *lock(struct fixture *f)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(f->path, &db), SQLITE_OK);
    wait_until(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK);
    return db;
}

START_TEST(a_locked_database_holds_nobody_up)
{
    struct fixture f;
    sqlite3 *other;
    char *text = malloc(1000001);
    int64_t began;
    int i, refused = 0, slow = 0;
    set_up(&f);
    begin_log(&f);
    ck_assert(put(&f, "first", "text"));
    wait_for(&f, ROWS_TOTAL, 1);
    other = lock(&f);
    memset(text, 'x', 1000000);
    text[1000000] = '\0';
    for (i = 0; i < 50; i++) {
        char id[40];
        snprintf(id, sizeof(id), "id-%d", i);
        began = server_now();
        refused += !put(&f, id, text);
        slow += server_now() - began > second / 2;
    }
    ck_assert_int_eq(refused, 50 - 33); /* of 32 MiB */
    ck_assert_int_lt(slow,
                     10); /* the machine may have been busy elsewhere, but not as often as that */
    ck_assert_int_eq(counted(&f, "distild_prediction_log_dropped_total{reason=\"queue_full\"} "),
                     refused);
    ck_assert_int_eq(say(&f, "first", "good").outcome, SERVER_FEEDBACK_LATE);
    ck_assert_int_gt(counted(&f, "distild_prediction_log_failures_total{cause=\"locked\"} "), 0);
    sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(other);
    wait_for(&f, ROWS_TOTAL, 34);
    ck_assert_int_eq(say(&f, "id-0", "good").outcome, SERVER_FEEDBACK_KEPT);
    end_log(&f);
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
    begin_log(&f);
    ck_assert(put_number(&f, 0));
    wait_for(&f, ROWS_TOTAL, 1);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    files = before;
    files.rlim_cur = 1; /* of every file, as if the disk were full */
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &files), 0);
    for (i = 1; i < 100; i++)
        ck_assert(put_number(&f, i));
    wait_for(&f, "distild_prediction_log_failures_total{cause=\"disk_full\"} ", 2);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    wait_for(&f, ROWS_TOTAL, 100);
    end_log(&f);
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
    begin_log(&f);
    ck_assert(put(&f, "a", "text"));
    end_log(&f);
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
    begin_log(&f);
    ck_assert(put(&f, "a", "text"));
    wait_for(&f, ROWS_TOTAL, 1);
    unlink(f.path);
    for (i = 0; i < 20000; i++) /* enough that it looks */
        ck_assert(put_number(&f, i));
    end_log(&f);
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

int main(void)
{
    const TTest *const tests[] = {
        a_locked_database_holds_nobody_up,
        a_full_disk_is_waited_for,
        a_damaged_file_is_put_aside,
        other_files_are_left_alone,
        a_file_that_was_taken_away_is_made_again,
        what_is_old_is_deleted,
        a_clock_that_was_put_forward_deletes_nothing,
        what_is_too_much_is_deleted,
    };
    return run_tests("predictions_kept", 60, tests, sizeof(tests) / sizeof(*tests));
}

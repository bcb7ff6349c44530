/* test_predictions.c: what the log of predictions holds: rows, texts, feedback, and its ring. */
#include <check.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/prediction_db.h"
#include "server/prediction_internal.h"
#include "tests/server/prediction_fixture.h"
#include "tests/suite.h"

/* ---- writing ---- */

START_TEST(rows_hold_what_was_put)
{
    static const float projection[] = {1, -2, 0.5F};
    struct fixture f;
    sqlite3 *db;
    sqlite3_stmt *row;
    struct stat file;
    set_up(&f);
    begin_log(&f);
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
    end_log(&f);
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
    begin_log(&f);
    ck_assert(put(&f, "a", "one"));
    ck_assert(put(&f, "b", "two"));
    end_log(&f);
    begin_log(&f); /* the key is the same */
    ck_assert(put(&f, "c", "one"));
    end_log(&f);
    f.options.text = SERVER_PREDICTION_TEXT_NONE;
    begin_log(&f);
    ck_assert(put(&f, "d", "one"));
    end_log(&f);
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
    begin_log(&f);
    for (i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){&f, i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    end_log(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM prediction"), PRODUCERS * EACH);
    /* in the order of each */
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM (SELECT CAST(substr(id, 4) AS INTEGER) AS n,"
                             " lag(CAST(substr(id, 4) AS INTEGER)) OVER (PARTITION BY"
                             " CAST(substr(id, 4) AS INTEGER) / 100000 ORDER BY seq) AS before"
                             " FROM prediction) WHERE n <> before + 1"),
                     0);
    ck_assert_int_eq(counted(&f, ROWS_TOTAL), PRODUCERS * EACH);
    tear_down(&f);
}
END_TEST

/* ---- feedback ---- */

START_TEST(feedback_is_kept)
{
    struct fixture f;
    struct server_feedback said;
    int64_t first;
    set_up(&f);
    begin_log(&f);
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
    end_log(&f);
    ck_assert_int_eq(ask(&f, "SELECT count(*) FROM feedback"), 1);
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
        rows_hold_what_was_put,    texts_are_kept_as_hashes_or_not_at_all,
        many_threads_lose_nothing, feedback_is_kept,
        a_full_ring_refuses,
    };
    return run_tests("predictions", 60, tests, sizeof(tests) / sizeof(*tests));
}

/* test_scores.c: ids that tie scores to what was shown, and scores on the disk. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/estimator.h"
#include "server/score_store.h"
#include "server/shown.h"
#include "tests/server/folder.h"
#include "tests/suite.h"

/* ---- ids ---- */

static const unsigned char key[SERVER_SHOWN_KEY] = "0123456789abcdef0123456789abcde";

static struct server_shown make_shown(int count)
{
    struct server_shown shown = {.at = 1000000, .profile = {130, 2, 20}, .count = count};
    char name[16];
    ck_assert(server_shown_begin(&shown));
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "item %d", i);
        shown.items[i] = server_shown_hash(name);
        shown.similarities[i] = server_similarity_quantise((float)(i - 50) / 3);
    }
    return shown;
}

START_TEST(an_id_says_what_was_shown)
{
    char text[SERVER_SHOWN_TEXT], other[SERVER_SHOWN_TEXT];
    for (int count = 0; count <= SERVER_SHOWN_MOST; count += 25) {
        struct server_shown shown = make_shown(count), again = shown, read;
        ck_assert(server_shown_write(&shown, key, text));
        ck_assert_ptr_null(server_shown_read(text, key, shown.at + 60, &read));
        ck_assert_mem_eq(read.number, shown.number, sizeof(shown.number));
        ck_assert_int_eq(read.profile.age, 130);
        ck_assert_int_eq(read.profile.gender, 2);
        ck_assert_int_eq(read.profile.occupation, 20);
        ck_assert_int_eq(read.count, count);
        for (int i = 0; i < count; i++)
            ck_assert_float_eq(read.similarities[i], shown.similarities[i]);
        ck_assert_int_eq(server_shown_find(&read, "item 7"), count > 7 ? 7 : -1);
        ck_assert_int_eq(server_shown_find(&read, "item 700"), -1);
        ck_assert(server_shown_begin(&again)); /* the same list, shown again */
        ck_assert(server_shown_write(&again, key, other));
        ck_assert_str_ne(text, other);
    }
}
END_TEST

START_TEST(no_other_id_is_taken)
{
    struct server_shown shown = make_shown(3), read;
    unsigned char other[SERVER_SHOWN_KEY] = "x";
    char text[SERVER_SHOWN_TEXT], changed[SERVER_SHOWN_TEXT + 8];
    int64_t week = 7 * 86400;
    ck_assert(server_shown_write(&shown, key, text));
    ck_assert_ptr_null(server_shown_read(text, key, shown.at + week, &read));
    ck_assert_ptr_nonnull(
        strstr(server_shown_read(text, key, shown.at + week + 1, &read), "expired"));
    ck_assert_ptr_nonnull(server_shown_read(text, other, shown.at, &read));
    for (size_t i = 0; i < strlen(text); i++) {
        memcpy(changed, text, sizeof(text));
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        ck_assert_ptr_nonnull(server_shown_read(changed, key, shown.at, &read));
        memcpy(changed, text, sizeof(text));
        changed[i] = '\0';
        ck_assert_ptr_nonnull(server_shown_read(changed, key, shown.at, &read));
    }
    snprintf(changed, sizeof(changed), "%sA", text);
    ck_assert_ptr_nonnull(server_shown_read(changed, key, shown.at, &read));
    memset(changed, 'A', sizeof(changed) - 1);
    changed[sizeof(changed) - 1] = '\0';
    ck_assert_ptr_nonnull(server_shown_read(changed, key, shown.at, &read));
    changed[SERVER_SHOWN_TEXT - 1] = '\0'; /* the longest that is decoded */
    ck_assert_ptr_nonnull(server_shown_read(changed, key, shown.at, &read));
    ck_assert_ptr_nonnull(server_shown_read("\xC3\xA9!", key, shown.at, &read));
}
END_TEST

/* ---- scores on the disk ---- */

static struct server_score_store *open_store(void)
{
    struct server_score_store *store;
    distil_error error;
    char path[PATH_ROOM];
    path_of(SERVER_SCORE_FILE, path);
    ck_assert_msg(server_score_store_open(path, &store, &error) == DISTIL_OK, "%s", error.message);
    return store;
}

static distil_status try_open(distil_error *error)
{
    struct server_score_store *store;
    char path[PATH_ROOM];
    path_of(SERVER_SCORE_FILE, path);
    distil_status status = server_score_store_open(path, &store, error);
    server_score_store_close(store);
    return status;
}

static struct server_score_row make_row(int list, const char *item, float score)
{
    struct server_score_row row = {.item = item,
                                   .profile = {.age = 40, .gender = 1, .occupation = 3},
                                   .similarity = score == 0 ? score : 0.5F,
                                   .score = score,
                                   .at_ns = 123456789};
    memcpy(row.shown, &list, sizeof(list));
    return row;
}

static void put(struct server_score_store *store, int list, const char *item, float score)
{
    struct server_score_row row = make_row(list, item, score);
    float before;
    bool replaced;
    ck_assert_int_eq(server_score_store_begin(store, NULL), DISTIL_OK);
    ck_assert_int_eq(server_score_store_put(store, &row, &replaced, &before, NULL), DISTIL_OK);
    ck_assert_int_eq(server_score_store_commit(store, NULL), DISTIL_OK);
}

/* Many rows in one transaction. */
static void put_many(struct server_score_store *store, int count, const char *item)
{
    float before;
    bool replaced;
    ck_assert_int_eq(server_score_store_begin(store, NULL), DISTIL_OK);
    for (int i = 0; i < count; i++) {
        struct server_score_row row = make_row(i, item, 1);
        ck_assert_int_eq(server_score_store_put(store, &row, &replaced, &before, NULL), DISTIL_OK);
    }
    ck_assert_int_eq(server_score_store_commit(store, NULL), DISTIL_OK);
}

struct tally {
    int count;
    double sum;
};

static distil_status tally_row(void *context, const struct server_score_row *row,
                               distil_error *error)
{
    struct tally *tally = context;
    (void)error;
    ck_assert_int_eq(row->profile.age, 40);
    ck_assert_float_eq(row->similarity, row->score == 0 ? 0 : 0.5F);
    ck_assert_int_eq(row->at_ns, 123456789);
    tally->count++;
    tally->sum += (double)row->score;
    return DISTIL_OK;
}

static struct tally tally_up(struct server_score_store *store)
{
    struct tally tally = {0};
    distil_error error;
    ck_assert_msg(server_score_store_each(store, tally_row, &tally, &error) == DISTIL_OK, "%s",
                  error.message);
    return tally;
}

START_TEST(scores_are_kept_and_replaced)
{
    struct server_score_store *store = open_store();
    unsigned char before_key[SERVER_SHOWN_KEY];
    struct server_score_row row = make_row(1, "b", 1);
    struct stat file;
    char path[PATH_ROOM];
    float before;
    bool replaced;
    memcpy(before_key, server_score_store_key(store), sizeof(before_key));
    path_of(SERVER_SCORE_FILE, path);
    ck_assert_int_eq(stat(path, &file), 0);
    ck_assert_int_eq(file.st_mode & 0777, 0600);
    put(store, 1, "a", 4);
    put(store, 1, "b", 2.5F);
    put(store, 2, "a", -0.0F);
    ck_assert_int_eq(server_score_store_begin(store, NULL), DISTIL_OK);
    ck_assert_int_eq(server_score_store_put(store, &row, &replaced, &before, NULL), DISTIL_OK);
    ck_assert(replaced);
    ck_assert_float_eq(before, 2.5F);
    server_score_store_rollback(store);
    ck_assert_double_eq(tally_up(store).sum, 6.5);
    put(store, 1, "b", 1);
    server_score_store_close(store);
    store = open_store();
    ck_assert_int_eq(tally_up(store).count, 3);
    ck_assert_double_eq(tally_up(store).sum, 5);
    ck_assert_mem_eq(server_score_store_key(store), before_key, sizeof(before_key));
    server_score_store_close(store);
    server_score_store_close(NULL);
}
END_TEST

START_TEST(a_second_process_is_refused)
{
    struct server_score_store *store = open_store();
    distil_error error;
    pid_t child = fork(); /* locks are a process's */
    if (child == 0)
        _exit(try_open(&error) == DISTIL_BUSY && strstr(error.message, "another process") ? 0 : 1);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    server_score_store_close(store);
    ck_assert_int_eq(try_open(&error), DISTIL_OK);
}
END_TEST

/* Writes score after score, and says so after each, until it is killed. */
static void write_on(int said, int from)
{
    struct server_score_store *store = open_store();
    for (int i = from;; i++) {
        put(store, i, "a", 1);
        if (write(said, &i, sizeof(i)) != (ssize_t)sizeof(i))
            _exit(1);
    }
}

START_TEST(what_was_said_to_be_kept_survives_being_killed)
{
    int kept = 0;
    for (int round = 0; round < 6; round++) {
        int pipes[2], last;
        ck_assert_int_eq(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            close(pipes[0]);
            write_on(pipes[1], kept);
        }
        close(pipes[1]);
        for (int heard = 0; heard < 3 + 5 * round; heard++)
            ck_assert_int_eq(read(pipes[0], &last, sizeof(last)), sizeof(last));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipes[0], &last, sizeof(last)) == (ssize_t)sizeof(last))
            ;
        close(pipes[0]);
        struct server_score_store *store = open_store();
        int count = tally_up(store).count;
        server_score_store_close(store);
        ck_assert_int_ge(count, last + 1);
        ck_assert_int_le(count, last + 2); /* one may be on the disk that was not spoken of */
        kept = count;
    }
}
END_TEST

static void copy_file(const char *from, const char *to, long bytes)
{
    static char buffer[1 << 20];
    char source[PATH_ROOM], target[PATH_ROOM];
    path_of(from, source);
    path_of(to, target);
    FILE *in = fopen(source, "rb"), *out = fopen(target, "wb");
    ck_assert(in && out);
    size_t length = fread(buffer, 1, sizeof(buffer), in);
    if (bytes >= 0 && (size_t)bytes < length)
        length = (size_t)bytes;
    ck_assert_uint_eq(fwrite(buffer, 1, length, out), length);
    fclose(in);
    ck_assert_int_eq(fclose(out), 0);
}

static long size_of(const char *name)
{
    struct stat file;
    char path[PATH_ROOM];
    path_of(name, path);
    ck_assert_int_eq(stat(path, &file), 0);
    return (long)file.st_size;
}

/* A write that was cut anywhere loses what came after it, and nothing before. */
START_TEST(torn_writes_lose_what_was_not_yet_kept)
{
    struct server_score_store *store = open_store();
    long whole, cut, step;
    int least = 20;
    for (int i = 0; i < 20; i++)
        put(store, i, "a", 1);
    /* as the files lie after a crash: the store is still open */
    copy_file(SERVER_SCORE_FILE, "db", -1);
    copy_file(SERVER_SCORE_FILE "-wal", "wal", -1);
    server_score_store_close(store);
    whole = size_of("wal");
    step = whole / 40 + 1;
    for (cut = whole; cut > 0; cut -= step) {
        distil_error error;
        copy_file("db", SERVER_SCORE_FILE, -1);
        copy_file("wal", SERVER_SCORE_FILE "-wal", cut);
        distil_status status = try_open(&error);
        ck_assert_msg(status == DISTIL_OK, "cut at %ld: %s", cut, error.message);
        store = open_store();
        int count = tally_up(store).count;
        server_score_store_close(store);
        ck_assert_int_le(count, least);
        least = count;
    }
    ck_assert_int_lt(least, 3);
}
END_TEST

START_TEST(damage_is_refused)
{
    struct server_score_store *store = open_store();
    distil_error error;
    sqlite3 *db;
    char path[PATH_ROOM];
    long whole;
    path_of(SERVER_SCORE_FILE, path);
    put_many(store, 400, "a film with a name of some length, so that there are several pages");
    server_score_store_close(store);
    whole = size_of(SERVER_SCORE_FILE);
    ck_assert_int_gt(whole, 20000);
    copy_file(SERVER_SCORE_FILE, "good", -1);
    copy_file("good", SERVER_SCORE_FILE, whole / 2);
    ck_assert_int_eq(try_open(&error), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message, path));
    for (long at = 0; at < whole; at += 4096) { /* a page of zeros */
        copy_file("good", SERVER_SCORE_FILE, -1);
        int fd = open(path, O_WRONLY);
        static const char zeros[4096];
        ck_assert_int_eq(pwrite(fd, zeros, sizeof(zeros), at), sizeof(zeros));
        close(fd);
        ck_assert_msg(try_open(&error) == DISTIL_FORMAT, "page at %ld", at);
    }
    FILE *other = fopen(path, "wb");
    fputs("this is a letter and no database, however long it may go on about itself and others",
          other);
    fclose(other);
    ck_assert_int_eq(try_open(&error), DISTIL_FORMAT);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    ck_assert_int_eq(try_open(&error), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message, "another program"));
    copy_file("good", SERVER_SCORE_FILE, -1);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "PRAGMA user_version = 2", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    ck_assert_int_eq(try_open(&error), DISTIL_UNSUPPORTED);
}
END_TEST

/* What SQLite cannot see: a number that is another one. */
START_TEST(a_row_that_was_changed_is_refused)
{
    struct server_score_store *store = open_store();
    struct tally tally = {0};
    distil_error error;
    sqlite3 *db;
    char path[PATH_ROOM];
    put(store, 1, "a", 1);
    server_score_store_close(store);
    path_of(SERVER_SCORE_FILE, path);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "UPDATE score SET score = 5", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    store = open_store();
    ck_assert_int_eq(server_score_store_each(store, tally_row, &tally, &error), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message, "checksum"));
    server_score_store_close(store);
}
END_TEST

START_TEST(a_full_disk_is_said_and_survived)
{
    struct server_score_store *store = open_store();
    struct rlimit before, small;
    struct server_score_row row = make_row(0, "a", 1);
    distil_error error = {.message = ""};
    float other;
    bool replaced;
    int kept = 0;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = (rlim_t)size_of(SERVER_SCORE_FILE "-wal") + 30000;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    distil_status status = DISTIL_OK;
    for (int i = 0; i < 1000 && !status; i++) {
        memcpy(row.shown, &i, sizeof(i));
        status = server_score_store_begin(store, &error);
        if (!status)
            status = server_score_store_put(store, &row, &replaced, &other, &error);
        if (!status)
            status = server_score_store_commit(store, &error);
        kept += !status;
    }
    server_score_store_rollback(store);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(status, DISTIL_IO);
    ck_assert_int_gt(kept, 0);
    ck_assert_int_eq(tally_up(store).count, kept);
    put(store, 5000, "a", 1); /* there is room again */
    server_score_store_close(store);
    store = open_store();
    ck_assert_int_eq(tally_up(store).count, kept + 1);
    server_score_store_close(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scores");
    TCase *ids = tcase_create("ids"), *store = tcase_create("store");
    tcase_add_test(ids, an_id_says_what_was_shown);
    tcase_add_test(ids, no_other_id_is_taken);
    tcase_set_timeout(store, 60);
    tcase_add_checked_fixture(store, make_folder, remove_folder);
    tcase_add_test(store, scores_are_kept_and_replaced);
    tcase_add_test(store, a_second_process_is_refused);
    tcase_add_test(store, what_was_said_to_be_kept_survives_being_killed);
    tcase_add_test(store, torn_writes_lose_what_was_not_yet_kept);
    tcase_add_test(store, damage_is_refused);
    tcase_add_test(store, a_row_that_was_changed_is_refused);
    tcase_add_test(store, a_full_disk_is_said_and_survived);
    suite_add_tcase(suite, ids);
    suite_add_tcase(suite, store);
    return run_suite(suite);
}

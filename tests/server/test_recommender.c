/* test_recommender.c: ids that tie scores to what was shown, scores on the disk, and the recommender over a
 * catalogue made here. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/recommender.h"
#include "tests/suite.h"
#include "weights/catalogue.h"

enum { ITEMS = 40, WIDTH = 8, PATH_ROOM = 200 };

static char folder[64];
static const char encoder_digest[] =
    "8f65e8986399e0c333b567d545c12aa20566a8d144d3e89c129d9cc4d5f3eda3";

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/distild-recommender-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
    char command[PATH_ROOM];
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own folder */
}

static void path_of(const char *name, char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s/%s", folder, name);
}

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
                                   .similarity = 0.5F,
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
    ck_assert_float_eq(row->similarity, 0.5F);
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
    put(store, 2, "a", 0);
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

/* ---- the recommender ---- */

struct fixture {
    struct server_recommender_options options;
    struct server_log log;
    distil_catalogue *catalogue;
    struct server_stock stock;
    struct server_recommender *recommender;
};

/* Items "item 0" on, of which each eighth has the same vector. */
static void write_catalogue(const char *path, int items)
{
    static const char *const names[] = {"id"};
    static char strings[ITEMS][16];
    static uint64_t offsets[ITEMS];
    struct weights_catalogue_writer *writer;
    for (int i = 0; i < items; i++) {
        snprintf(strings[i], sizeof(strings[i]), "item %d", i);
        offsets[i] = (uint64_t)i * sizeof(strings[i]);
    }
    const struct weights_catalogue_source source = {.name = "items",
                                                    .table = {.items = items,
                                                              .columns = 1,
                                                              .names = names,
                                                              .strings = strings[0],
                                                              .string_bytes = sizeof(strings),
                                                              .offsets = offsets},
                                                    .encoder = encoder_digest,
                                                    .width = WIDTH,
                                                    .dtype = WEIGHTS_F32};
    ck_assert_int_eq(weights_catalogue_begin(&writer, &source, path, NULL), DISTIL_OK);
    for (int i = 0; i < items; i++) {
        float vector[WIDTH] = {0};
        vector[i % WIDTH] = 1;
        ck_assert_int_eq(weights_catalogue_put(writer, vector), DISTIL_OK);
    }
    ck_assert_int_eq(weights_catalogue_finish(writer), DISTIL_OK);
    weights_catalogue_close(writer);
}

static void begin(struct fixture *f, int items)
{
    char path[PATH_ROOM];
    distil_error error;
    path_of("items.catalogue", path);
    write_catalogue(path, items);
    *f = (struct fixture){.log = {.fd = -1}};
    ck_assert_msg(distil_catalogue_open(path, &f->catalogue, &error) == DISTIL_OK, "%s",
                  error.message);
    f->options = (struct server_recommender_options){.state_dir = folder, .log = &f->log};
    f->stock.items = f->catalogue;
    ck_assert_msg(server_recommender_create(&f->options, &f->stock, &f->recommender, &error) ==
                      DISTIL_OK,
                  "%s", error.message);
}

static void end(struct fixture *f)
{
    server_recommender_free(f->recommender);
    server_stock_clear(&f->stock);
    distil_catalogue_free(f->catalogue);
}

static struct server_shown list(struct fixture *f, int age, const float *embedding, int most,
                                long *items)
{
    struct server_listing listing = {
        .stock = &f->stock,
        .shown = {.at = 1000, .profile = {.age = age, .gender = 0, .occupation = 18}},
        .embedding = embedding,
        .most = most};
    server_recommender_list(f->recommender, &listing);
    ck_assert_int_eq(listing.handed.outcome, SERVER_OUTCOME_DONE);
    memcpy(items, listing.items, sizeof(listing.items));
    return listing.shown;
}

/* A score that its giver waits for. */
struct waiting {
    struct server_scoring scoring;
    atomic_int ended;
};

static void on_done(struct server_handed *handed)
{
    atomic_store(&((struct waiting *)handed->context)->ended, 1);
}

static int give(struct fixture *f, const struct server_shown *shown, long item, float score)
{
    struct waiting waiting = {
        .scoring = {.stock = &f->stock, .item = item, .handed.done = on_done}};
    const char *name = distil_catalogue_cell(f->catalogue, item, 0);
    int place = server_shown_find(shown, name);
    ck_assert_int_ge(place, 0);
    waiting.scoring.handed.context = &waiting;
    waiting.scoring.row = (struct server_score_row){.item = name,
                                                    .profile = shown->profile,
                                                    .similarity = shown->similarities[place],
                                                    .score = score,
                                                    .at_ns = 1};
    memcpy(waiting.scoring.row.shown, shown->number, sizeof(shown->number));
    server_recommender_push_scoring(f->recommender, &waiting.scoring);
    while (!atomic_load(&waiting.ended))
        usleep(100);
    return waiting.scoring.handed.outcome;
}

START_TEST(near_items_come_first_and_all_are_there)
{
    struct fixture f;
    long items[SERVER_SHOWN_MOST];
    float embedding[WIDTH] = {0, 0, 0, 1};
    int seen[ITEMS] = {0};
    begin(&f, ITEMS);
    struct server_shown shown = list(&f, 20, embedding, 5, items);
    ck_assert_int_eq(shown.count, 5);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(items[i] % WIDTH, 3);
    shown = list(&f, 20, embedding, SERVER_SHOWN_MOST, items);
    ck_assert_int_eq(shown.count, ITEMS); /* there are no more */
    for (int i = 0; i < ITEMS; i++)
        seen[items[i]]++;
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(seen[i], 1);
    ck_assert_float_gt(shown.similarities[0], shown.similarities[ITEMS - 1]);
    const distil_info near = {.hidden = WIDTH, .digest = encoder_digest},
                      other = {.hidden = WIDTH, .digest = "d"},
                      wide = {.hidden = WIDTH + 1, .digest = encoder_digest},
                      folder_model = {.hidden = WIDTH, .digest = ""};
    ck_assert(server_recommender_knows(f.catalogue, &near));
    ck_assert(server_recommender_knows(f.catalogue, &folder_model));
    ck_assert(!server_recommender_knows(f.catalogue, &other));
    ck_assert(!server_recommender_knows(f.catalogue, &wide));
    end(&f);
}
END_TEST

START_TEST(scores_change_lists_and_outlive_the_recommender)
{
    struct fixture f;
    long items[SERVER_SHOWN_MOST], loved, hated;
    begin(&f, ITEMS);
    struct server_shown shown = list(&f, 20, NULL, 20, items);
    loved = items[17];
    hated = items[0];
    for (int i = 0; i < 6; i++) {
        struct server_shown again = list(&f, 20, NULL, SERVER_SHOWN_MOST, items);
        ck_assert_int_eq(give(&f, &again, loved, 5), SERVER_OUTCOME_DONE);
        ck_assert_int_eq(give(&f, &again, hated, 0), SERVER_OUTCOME_DONE);
    }
    for (int round = 0; round < 2; round++) {
        list(&f, 20, NULL, SERVER_SHOWN_MOST, items);
        ck_assert_int_eq(items[0], loved);
        ck_assert_int_eq(items[ITEMS - 1], hated);
        end(&f);
        begin(&f, ITEMS);
    }
    /* whoever scores twice has changed his mind */
    shown = list(&f, 20, NULL, SERVER_SHOWN_MOST, items);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(give(&f, &shown, loved, i < 19 ? 0 : 5), SERVER_OUTCOME_DONE);
    list(&f, 20, NULL, SERVER_SHOWN_MOST, items);
    ck_assert_int_eq(items[0], loved);
    end(&f);
    begin(&f, (int)loved); /* a catalogue without that item: its scores wait */
    ck_assert_int_lt(list(&f, 20, NULL, SERVER_SHOWN_MOST, items).count, ITEMS);
    end(&f);
    begin(&f, ITEMS);
    list(&f, 20, NULL, SERVER_SHOWN_MOST, items);
    ck_assert_int_eq(items[0], loved);
    end(&f);
}
END_TEST

START_TEST(a_tenth_is_tried_out)
{
    struct fixture f;
    long items[SERVER_SHOWN_MOST];
    int tried[ITEMS] = {0}, others = 0;
    begin(&f, ITEMS);
    struct server_shown shown = list(&f, 20, NULL, SERVER_SHOWN_MOST, items);
    for (int i = 0; i < 10; i++) /* ten that are known to be good */
        for (int k = 0; k < 3; k++) {
            shown = list(&f, 20, NULL, SERVER_SHOWN_MOST, items);
            ck_assert_int_eq(give(&f, &shown, i, 5), SERVER_OUTCOME_DONE);
        }
    for (int i = 0; i < 300; i++) {
        shown = list(&f, 20, NULL, 10, items);
        ck_assert_int_eq(shown.count, 10);
        for (int k = 0; k < 9; k++)
            ck_assert_int_lt(items[k], 10);
        tried[items[9]]++;
    }
    for (int i = 10; i < ITEMS; i++)
        others += tried[i] > 0;
    ck_assert_int_gt(others, 10);
    end(&f);
}
END_TEST

static void *score_many(void *argument)
{
    struct fixture *f = argument;
    long items[SERVER_SHOWN_MOST];
    for (int i = 0; i < 12; i++) {
        struct server_shown shown = list(f, 10 * i, NULL, 10, items);
        if (give(f, &shown, items[i % 10], (float)(i % 6)) != SERVER_OUTCOME_DONE)
            return NULL;
    }
    return f;
}

START_TEST(many_ask_and_score_at_once)
{
    enum { THREADS = 16 };
    struct fixture f;
    pthread_t threads[THREADS];
    void *ended;
    begin(&f, ITEMS);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, score_many, &f), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &ended), 0);
        ck_assert_ptr_nonnull(ended);
    }
    server_recommender_stop(f.recommender);
    long items[SERVER_SHOWN_MOST];
    struct server_shown shown = list(&f, 30, NULL, 10, items);
    ck_assert_int_eq(give(&f, &shown, items[0], 1), SERVER_OUTCOME_STOPPED);
    end(&f);
    struct server_score_store *store = open_store();
    sqlite3 *db;
    char path[PATH_ROOM];
    server_score_store_close(store);
    path_of(SERVER_SCORE_FILE, path);
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_stmt *count;
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT count(*) FROM score", -1, &count, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(count), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_column_int(count, 0), THREADS * 12);
    sqlite3_finalize(count);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
END_TEST

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

/* A score at a time, while the stock is replaced. */
static void *score_on(void *argument)
{
    struct fixture *f = argument;
    long items[SERVER_SHOWN_MOST];
    for (int i = 0; i < 200; i++) {
        struct server_shown shown = list(f, 40, NULL, 10, items);
        if (give(f, &shown, items[i % 10], items[i % 10] % 2 ? 5 : 0) != SERVER_OUTCOME_DONE)
            return NULL;
    }
    return f;
}

START_TEST(another_stock_knows_every_score)
{
    enum { FEWER = ITEMS / 2, SCORERS = 4 };
    struct fixture f, after;
    struct server_stock fewer = {0};
    pthread_t threads[SCORERS];
    long items[SERVER_SHOWN_MOST];
    distil_error error;
    char path[PATH_ROOM];
    void *ended;
    begin(&f, ITEMS);
    path_of("fewer.catalogue", path);
    write_catalogue(path, FEWER);
    distil_catalogue *catalogue;
    ck_assert_int_eq(distil_catalogue_open(path, &catalogue, &error), DISTIL_OK);
    fewer.items = catalogue;
    ck_assert_ptr_nonnull(score_on(&f));
    for (int i = 0; i < SCORERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, score_on, &f), 0);
    ck_assert_int_eq(server_recommender_restock(f.recommender, &fewer, &error), DISTIL_OK);
    for (int i = 0; i < SCORERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &ended), 0);
        ck_assert_ptr_nonnull(ended);
    }
    /* what was taught to it while others scored items of the one before is what a restart learns from the disk */
    server_recommender_stop(f.recommender);
    after = f;
    after.stock = fewer;
    after.catalogue = catalogue;
    struct server_shown shown = list(&after, 40, NULL, FEWER, items);
    ck_assert_int_eq(shown.count, FEWER);
    int64_t count = server_estimator_count(fewer.estimator);
    ck_assert_int_gt(count, 0);
    struct server_stock late = {.items = catalogue};
    ck_assert_int_eq(server_recommender_restock(f.recommender, &late, &error), DISTIL_BUSY);
    server_stock_clear(&late);
    server_recommender_free(f.recommender);
    server_stock_clear(&fewer);
    ck_assert_int_eq(server_recommender_create(&f.options, &fewer, &f.recommender, &error),
                     DISTIL_OK);
    ck_assert_int_eq(server_estimator_count(fewer.estimator), count);
    end(&f);
    server_stock_clear(&fewer);
    distil_catalogue_free(catalogue);
}
END_TEST

START_TEST(templates_are_read_and_checked)
{
    static const char *const wrong[] = {"", "{name}\n", "two\nlines {age}\n", "\xFF {age}\n"};
    const struct server_profile profile = {.age = 5, .gender = 1, .occupation = 0};
    struct server_recommender *recommender;
    struct fixture f;
    distil_error error;
    char path[PATH_ROOM], text[SERVER_PROFILE_TEXT];
    begin(&f, ITEMS);
    server_recommender_words(f.recommender, &profile, text, sizeof(text));
    ck_assert_str_eq(text, "Recommended to a woman of 5 years, occupation: administrator.");
    server_recommender_free(f.recommender);
    server_stock_clear(&f.stock);
    path_of("template", path);
    f.options.template_file = path;
    ck_assert_int_eq(server_recommender_create(&f.options, &f.stock, &recommender, &error),
                     DISTIL_IO);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        write_text(path, wrong[i]);
        ck_assert_int_eq(server_recommender_create(&f.options, &f.stock, &recommender, &error),
                         DISTIL_FORMAT);
        ck_assert_ptr_nonnull(strstr(error.message, path));
    }
    write_text(path, "caf\xC3\xA9 for {age}\n");
    ck_assert_int_eq(server_recommender_create(&f.options, &f.stock, &f.recommender, &error),
                     DISTIL_OK);
    server_recommender_words(f.recommender, &profile, text, sizeof(text));
    ck_assert_str_eq(text, "caf\xC3\xA9 for 5");
    end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("recommender");
    TCase *ids = tcase_create("ids"), *cases = tcase_create("recommender");
    tcase_add_test(ids, an_id_says_what_was_shown);
    tcase_add_test(ids, no_other_id_is_taken);
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_test(cases, scores_are_kept_and_replaced);
    tcase_add_test(cases, a_second_process_is_refused);
    tcase_add_test(cases, what_was_said_to_be_kept_survives_being_killed);
    tcase_add_test(cases, torn_writes_lose_what_was_not_yet_kept);
    tcase_add_test(cases, damage_is_refused);
    tcase_add_test(cases, a_row_that_was_changed_is_refused);
    tcase_add_test(cases, a_full_disk_is_said_and_survived);
    tcase_add_test(cases, near_items_come_first_and_all_are_there);
    tcase_add_test(cases, scores_change_lists_and_outlive_the_recommender);
    tcase_add_test(cases, a_tenth_is_tried_out);
    tcase_add_test(cases, many_ask_and_score_at_once);
    tcase_add_test(cases, another_stock_knows_every_score);
    tcase_add_test(cases, templates_are_read_and_checked);
    suite_add_tcase(suite, ids);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}

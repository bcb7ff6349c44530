/* test_recommender.c: the recommender over a catalogue made here. */
#include <check.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/recommender.h"
#include "tests/server/folder.h"
#include "tests/suite.h"
#include "weights/catalogue.h"

enum { ITEMS = 40, WIDTH = 8 };

static const char encoder_digest[] =
    "8f65e8986399e0c333b567d545c12aa20566a8d144d3e89c129d9cc4d5f3eda3";

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
    f->options = (struct server_recommender_options){.state_dir = folder_path(), .log = &f->log};
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
    sqlite3 *db;
    char path[PATH_ROOM];
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
    TCase *cases = tcase_create("recommender");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_test(cases, near_items_come_first_and_all_are_there);
    tcase_add_test(cases, scores_change_lists_and_outlive_the_recommender);
    tcase_add_test(cases, a_tenth_is_tried_out);
    tcase_add_test(cases, many_ask_and_score_at_once);
    tcase_add_test(cases, another_stock_knows_every_score);
    tcase_add_test(cases, templates_are_read_and_checked);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}

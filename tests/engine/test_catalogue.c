/* Searching a catalogue: against every score worked out in double, at every level, alone and in a team. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/distil_catalogue.h"
#include "kernels/kernels.h"
#include "tests/suite.h"
#include "weights/catalogue.h"

enum { ITEMS = 1500, WIDTH = 48, MOST_THREADS = 5 };

static char file[] = "/tmp/distild-catalogue-XXXXXX";
static float vectors[ITEMS][WIDTH]; /* of length 1 */

static float random_value(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (float)(int32_t)(*state >> 32) * 0x1p-31F;
}

static void scale_to_one(float *vector)
{
    double squares = 0;
    for (int i = 0; i < WIDTH; i++)
        squares += (double)vector[i] * (double)vector[i];
    for (int i = 0; i < WIDTH; i++)
        vector[i] = (float)((double)vector[i] / sqrt(squares));
}

/* Items "item-0" on; every tenth has the vector of the one before it, so that scores are equal. */
static void write_catalogue(enum weights_dtype dtype)
{
    static const char *const names[] = {"id"};
    static char strings[ITEMS][16];
    static uint64_t offsets[ITEMS];
    uint64_t state = 7;
    struct weights_catalogue_writer *writer;
    distil_error error = {.message = ""};
    for (int item = 0; item < ITEMS; item++) {
        snprintf(strings[item], sizeof strings[item], "item-%d", item);
        offsets[item] = (uint64_t)item * sizeof strings[item];
        for (int i = 0; i < WIDTH; i++)
            vectors[item][i] = random_value(&state);
        if (item % 10 == 9)
            memcpy(vectors[item], vectors[item - 1], sizeof vectors[item]);
        scale_to_one(vectors[item]);
    }
    const struct weights_catalogue_source source = {
        .name = "items.tsv",
        .table = {.items = ITEMS,
                  .columns = 1,
                  .names = names,
                  .strings = strings[0],
                  .string_bytes = sizeof strings,
                  .offsets = offsets},
        .encoder = "",
        .width = WIDTH,
        .dtype = dtype,
    };
    ck_assert_msg(weights_catalogue_begin(&writer, &source, file, &error) == DISTIL_OK, "%s",
                  error.message);
    for (int item = 0; item < ITEMS; item++)
        ck_assert_int_eq(weights_catalogue_put(writer, vectors[item]), DISTIL_OK);
    ck_assert_msg(weights_catalogue_finish(writer) == DISTIL_OK, "%s", error.message);
    weights_catalogue_close(writer);
}

static distil_catalogue *open_catalogue(void)
{
    distil_catalogue *catalogue;
    distil_error error = {.message = ""};
    ck_assert_msg(distil_catalogue_open(file, &catalogue, &error) == DISTIL_OK, "%s",
                  error.message);
    return catalogue;
}

static void setup(void)
{
    int descriptor = mkstemp(file);
    ck_assert_int_ge(descriptor, 0);
    close(descriptor);
}

static void teardown(void)
{
    unlink(file);
    unsetenv("DISTILD_CPU");
}

/* The matches are in order, scored as they should be, and nothing that was left out scores higher. */
static void check_matches(const distil_catalogue *catalogue, const float *query, int limit,
                          const distil_match *matches, int count)
{
    float unit[WIDTH], vector[WIDTH];
    static char taken[ITEMS];
    memset(taken, 0, sizeof taken);
    memcpy(unit, query, sizeof unit);
    scale_to_one(unit);
    ck_assert_int_eq(count, limit < ITEMS ? limit : ITEMS);
    for (int i = 0; i < count; i++) {
        double exact = 0;
        distil_catalogue_vector(catalogue, matches[i].item, vector);
        for (int k = 0; k < WIDTH; k++)
            exact += (double)unit[k] * (double)vector[k];
        ck_assert_double_le(fabs((double)matches[i].score - exact), 1e-5);
        ck_assert(!taken[matches[i].item]);
        taken[matches[i].item] = 1;
        ck_assert(
            i == 0 || matches[i].score < matches[i - 1].score ||
            (matches[i].score == matches[i - 1].score && matches[i].item > matches[i - 1].item));
    }
    for (long item = 0; item < ITEMS; item++) {
        double exact = 0;
        distil_catalogue_vector(catalogue, item, vector);
        for (int k = 0; k < WIDTH; k++)
            exact += (double)unit[k] * (double)vector[k];
        if (!taken[item])
            ck_assert_double_le(exact, (double)matches[count - 1].score + 1e-5);
    }
}

static const int limits[] = {1, 2, 10, 511, 512, 1499, 1500, 4000};
enum { LIMITS = sizeof limits / sizeof *limits };

/* All scores are those that a search for all items finds. */
static void check_scores(const distil_catalogue *catalogue, const float *query,
                         const distil_match *matches, int count)
{
    static float scores[ITEMS];
    ck_assert_int_eq(distil_catalogue_scores(catalogue, query, scores, NULL), DISTIL_OK);
    for (int i = 0; i < count; i++)
        ck_assert_float_eq(scores[matches[i].item], matches[i].score);
}

static void check_search(const distil_catalogue *catalogue)
{
    static distil_match alone[4000], together[4000];
    distil_error error = {.message = ""};
    uint64_t state = 99;
    float query[WIDTH];
    for (int i = 0; i < WIDTH; i++)
        query[i] = 300 * random_value(&state);
    for (int i = 0; i < LIMITS; i++) {
        int count = -1;
        ck_assert_int_eq(
            distil_catalogue_search(catalogue, query, limits[i], alone, &count, &error), DISTIL_OK);
        check_matches(catalogue, query, limits[i], alone, count);
        check_scores(catalogue, query, alone, count);
        for (int threads = 1; threads <= MOST_THREADS; threads += 2) {
            distil_searcher *searcher;
            int other = -1;
            ck_assert_int_eq(distil_searcher_create(catalogue, threads, &searcher, &error),
                             DISTIL_OK);
            ck_assert_int_eq(
                distil_searcher_search(searcher, query, limits[i], together, &other, &error),
                DISTIL_OK);
            ck_assert_int_eq(other, count);
            for (int k = 0; k < count; k++) {
                ck_assert_int_eq(together[k].item, alone[k].item);
                ck_assert(together[k].score == alone[k].score);
            }
            distil_searcher_free(searcher);
        }
    }
}

START_TEST(finds_the_nearest)
{
    static const enum weights_dtype dtypes[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    if (!kern_level_available((enum kern_level)_i))
        return;
    setenv("DISTILD_CPU", kern_level_name((enum kern_level)_i), 1);
    for (int i = 0; i < 3; i++) {
        write_catalogue(dtypes[i]);
        distil_catalogue *catalogue = open_catalogue();
        check_search(catalogue);
        distil_catalogue_free(catalogue);
    }
}
END_TEST

START_TEST(finds_an_item_by_itself)
{
    write_catalogue(WEIGHTS_F32);
    distil_catalogue *catalogue = open_catalogue();
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    distil_match matches[2];
    distil_error error;
    float vector[WIDTH];
    int count;
    ck_assert_int_eq(facts->items, ITEMS);
    ck_assert_int_eq(facts->width, WIDTH);
    ck_assert_str_eq(facts->dtype, "fp32");
    ck_assert_str_eq(facts->encoder, "");
    ck_assert_int_eq(facts->text_column, -1);
    ck_assert_str_eq(distil_catalogue_column(catalogue, 0), "id");
    ck_assert_ptr_null(distil_catalogue_column(catalogue, 1));
    long item = distil_catalogue_find(catalogue, "item-739");
    ck_assert_int_eq(item, 739);
    ck_assert_int_eq(distil_catalogue_find(catalogue, "item"), -1);
    distil_catalogue_vector(catalogue, item, vector);
    ck_assert_int_eq(distil_catalogue_search(catalogue, vector, 2, matches, &count, &error),
                     DISTIL_OK);
    ck_assert_int_eq(matches[0].item, 738); /* its twin, which comes before it */
    ck_assert_int_eq(matches[1].item, 739);
    ck_assert_float_eq_tol(matches[1].score, 1.0F, 1e-6F);
    ck_assert_str_eq(distil_catalogue_cell(catalogue, matches[1].item, 0), "item-739");
    distil_catalogue_free(catalogue);
}
END_TEST

START_TEST(refuses_queries_without_a_direction)
{
    write_catalogue(WEIGHTS_F32);
    distil_catalogue *catalogue = open_catalogue();
    distil_searcher *searcher;
    distil_match match;
    distil_error error;
    int count;
    float query[WIDTH] = {0};
    ck_assert_int_eq(distil_searcher_create(catalogue, 2, &searcher, &error), DISTIL_OK);
    static const float bad[] = {0, NAN, -INFINITY};
    for (int i = 0; i < 3; i++) {
        query[5] = bad[i];
        ck_assert_int_eq(distil_catalogue_search(catalogue, query, 1, &match, &count, &error),
                         DISTIL_INVALID);
        ck_assert_ptr_nonnull(
            strstr(error.message, i ? "infinite or not a number" : "is all zeros"));
        ck_assert_int_eq(distil_searcher_search(searcher, query, 1, &match, &count, &error),
                         DISTIL_INVALID);
        ck_assert_int_eq(count, 0);
    }
    query[5] = 1e30F; /* and lengths that a float cannot hold are no trouble */
    ck_assert_int_eq(distil_catalogue_search(catalogue, query, 1, &match, &count, &error),
                     DISTIL_OK);
    ck_assert_int_eq(distil_catalogue_search(catalogue, query, 0, &match, &count, &error),
                     DISTIL_INVALID);
    ck_assert_int_eq(distil_searcher_search(searcher, query, -1, &match, &count, &error),
                     DISTIL_INVALID);
    distil_searcher_free(searcher);
    ck_assert_int_eq(distil_searcher_create(catalogue, -1, &searcher, &error), DISTIL_INVALID);
    ck_assert_ptr_null(searcher);
    distil_catalogue_free(catalogue);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("catalogue");
    TCase *test_case = tcase_create("catalogue");
    tcase_add_checked_fixture(test_case, setup, teardown);
    tcase_add_loop_test(test_case, finds_the_nearest, 0, KERN_LEVELS);
    tcase_add_test(test_case, finds_an_item_by_itself);
    tcase_add_test(test_case, refuses_queries_without_a_direction);
    tcase_set_timeout(test_case, 60);
    suite_add_tcase(suite, test_case);
    return run_suite(suite);
}

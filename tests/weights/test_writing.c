/* Writing a model file: rounding, progress, and what a failure leaves. */
#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "directories.h"
#include "fixture.h"
#include "tests/suite.h"
#include "weights/convert_values.h"

START_TEST(rounds_to_half)
{
    static const struct {
        float value;
        uint16_t half;
    } cases[] = {{0, 0},
                 {-0.0f, 0x8000},
                 {1, 0x3c00},
                 {-2, 0xc000},
                 {65504, 0x7bff},
                 {65519.996f, 0x7bff},
                 {65520, 0x7c00},
                 {INFINITY, 0x7c00},
                 {1 + 0x1p-11f, 0x3c00}, /* ties to even */
                 {1 + 3 * 0x1p-11f, 0x3c02},
                 {1 + 0x1p-11f + 0x1p-23f, 0x3c01},
                 {0x1p-14f, 0x0400},
                 {0x1p-24f, 0x0001},
                 {0x1p-25f, 0x0000}, /* ties to even */
                 {0x1.8p-24f, 0x0002},
                 {0x1.000002p-25f, 0x0001},
                 {0x1.ff8p-15f, 0x03ff},
                 {0x1.fffp-15f, 0x0400}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(weights_float_to_half(cases[i].value) == cases[i].half, "%a became %04x",
                      (double)cases[i].value, weights_float_to_half(cases[i].value));
    ck_assert_int_eq(weights_float_to_half(NAN) & 0x7e00, 0x7e00);
    /* Every half is itself. */
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        uint16_t half = (uint16_t)bits;
        struct weights_tensor tensor = {.dtype = WEIGHTS_F16, .rows = 1, .cols = 1, .data = &half};
        if ((bits & 0x7c00) != 0x7c00)
            ck_assert_uint_eq(weights_float_to_half(fixture_value(&tensor, 0, 0)), bits);
    }
}
END_TEST

START_TEST(refuses_what_half_cannot_hold)
{
    fixture_distilbert_directory(source, "F32");
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_distilbert(&checkpoint, "distilbert.", "F32");
    fixture_find(&checkpoint, "distilbert.embeddings.word_embeddings.weight")->values[9] = 70000;
    fixture_safetensors(source, "model.safetensors", &checkpoint, 0, checkpoint.count);
    fixture_edit(source, "config.json", fixture_distilbert_config, "ForSequenceClassification",
                 "Model");
    struct weights_model *model = fixture_open(source);
    distil_error error = {.message = ""};
    ck_assert_int_eq(
        weights_write(model, fixture_path(output, "x"), WEIGHTS_F16, NULL, NULL, NULL, &error),
        DISTIL_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "tensor embeddings.word: "));
    ck_assert_ptr_nonnull(strstr(error.message, "found 70000 in row 1, column 1"));
    ck_assert_int_eq(fixture_count(output), 0);
    weights_free(model);
    fixture_clear(&checkpoint);
}
END_TEST

struct seen {
    size_t done, total;
    int calls;
};

static void watch(void *context, size_t done, size_t total)
{
    struct seen *seen = context;
    ck_assert_uint_gt(done, seen->done);
    ck_assert_uint_le(done, total);
    *seen = (struct seen){done, total, seen->calls + 1};
}

START_TEST(reports_progress)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    struct seen seen = {0};
    ck_assert_int_eq(
        weights_write(model, fixture_path(output, "x"), WEIGHTS_I8, NULL, watch, &seen, NULL),
        DISTIL_OK);
    ck_assert_uint_eq(seen.done, seen.total);
    ck_assert_int_gt(seen.calls, 40);
    weights_free(model);
}
END_TEST

/* A conversion that fails leaves the target as it was, and nothing beside it. */
START_TEST(leaves_nothing_behind)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    distil_error error = {.message = ""};
    fixture_text(output, "x", "before");
    /* A limit on file size fails a write half-way, as a full disk does. */
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 5000;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    distil_status status =
        weights_write(model, fixture_path(output, "x"), WEIGHTS_F32, NULL, NULL, NULL, &error);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(status, DISTIL_IO);
    ck_assert_ptr_nonnull(strstr(error.message, "cannot write: File too large"));
    ck_assert_int_eq(fixture_count(output), 1);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    ck_assert_uint_eq(size, 6);
    ck_assert_mem_eq(bytes, "before", 6);
    free(bytes);
    /* Where nothing can be made or replaced. */
    ck_assert_int_eq(
        weights_write(model, fixture_path(output, "no/x"), WEIGHTS_F32, NULL, NULL, NULL, &error),
        DISTIL_NOT_FOUND);
    ck_assert_int_eq(weights_write(model, output, WEIGHTS_F32, NULL, NULL, NULL, &error),
                     DISTIL_INVALID);
    ck_assert_int_eq(weights_write(model, "/dev/null", WEIGHTS_F32, NULL, NULL, NULL, &error),
                     DISTIL_INVALID);
    ck_assert_int_eq(
        weights_write(model, fixture_path(output, "x"), WEIGHTS_BF16, NULL, NULL, NULL, &error),
        DISTIL_INVALID);
    ck_assert_int_eq(fixture_count(output), 1);
    weights_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("writing a model file");
    TCase *tests = tcase_create("writing");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, directories_make, directories_remove);
    tcase_add_test(tests, rounds_to_half);
    tcase_add_test(tests, refuses_what_half_cannot_hold);
    tcase_add_test(tests, reports_progress);
    tcase_add_test(tests, leaves_nothing_behind);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

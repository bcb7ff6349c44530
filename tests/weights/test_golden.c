/* Golden texts of a model file: written, read back, and refused where they are malformed. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "directories.h"
#include "fixture.h"
#include "tests/suite.h"

static const char *const texts[] = {"a \"quoted\" text", "caf\xC3\xA9 \xF0\x9F\x98\x80"};
static const float logits[2 * LABELS] = {1.23456F, -0.00004F, -7, 0.1F, 12345.678F, -0.99996F};
static const int widths[2] = {LABELS, LABELS};
static const struct weights_golden golden = {
    .count = 2, .texts = texts, .widths = widths, .values = logits};

static void setup(void)
{
    directories_make();
    fixture_distilbert_directory(source, "F32");
}

static void write_golden(const struct weights_golden *given)
{
    struct weights_model *model = fixture_open(source);
    distil_error error;
    ck_assert_int_eq(model->golden.count, 0);
    ck_assert_msg(weights_write(model, fixture_path(output, "x"), WEIGHTS_I8, given, NULL, NULL,
                                &error) == DISTIL_OK,
                  "%s", error.message);
    weights_free(model);
}

START_TEST(reads_what_it_wrote)
{
    write_golden(&golden);
    struct weights_model *model = fixture_open(fixture_path(output, "x"));
    ck_assert_int_eq(model->golden.count, 2);
    for (int i = 0; i < 2; i++)
        ck_assert_str_eq(model->golden.texts[i], texts[i]);
    for (int i = 0; i < 2 * LABELS; i++)
        ck_assert_float_le(fabsf(model->golden.values[i] - logits[i]),
                           0.00005F + 1e-6F * fabsf(logits[i]));
    ck_assert_int_eq(weights_verify(model, NULL), DISTIL_OK);
    /* they are not carried over to a file whose matrices are stored otherwise */
    ck_assert_int_eq(
        weights_write(model, fixture_path(output, "y"), WEIGHTS_F16, NULL, NULL, NULL, NULL),
        DISTIL_OK);
    weights_free(model);
    model = fixture_open(fixture_path(output, "y"));
    ck_assert_int_eq(model->golden.count, 0);
    weights_free(model);
}
END_TEST

/* Edits that keep the length of the header, and what the message must say. */
static const struct {
    const char *from, *to, *message;
} edits[] = {
    {"[1.2346,", "[1.23,6,", "logits: expected arrays of 3 numbers"},
    {"[1.2346,0.0000", "[1.2346,\\\"x.\\\"", "logits: expected finite numbers"},
    {"[1.2346,0.0000", "[1.2346,1e9999", "distild.golden"},
    {"\\\"texts\\\":[", "\\\"t3xts\\\":[", "expected `texts`, an array of 1 to 64 strings"},
    {"],[0.1000,", "],0,[1000,", "an array of as many arrays"},
    {"\\\"texts\\\":[", "\\\"texts\\\":!", "malformed JSON"},
};

START_TEST(refuses_edits)
{
    size_t size, length = strlen(edits[_i].to);
    ck_assert_uint_eq(length, strlen(edits[_i].from));
    write_golden(&golden);
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    unsigned char *at = memmem(bytes, size, edits[_i].from, length);
    ck_assert_ptr_nonnull(at);
    memcpy(at, edits[_i].to, length);
    fixture_write(output, "y", bytes, size);
    free(bytes);
    fixture_refused(fixture_path(output, "y"), DISTIL_FORMAT, 3, "/y: ", "distild.golden",
                    edits[_i].message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("golden");
    TCase *cases = tcase_create("golden");
    tcase_add_checked_fixture(cases, setup, directories_remove);
    tcase_add_test(cases, reads_what_it_wrote);
    tcase_add_loop_test(cases, refuses_edits, 0, (int)(sizeof edits / sizeof *edits));
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}

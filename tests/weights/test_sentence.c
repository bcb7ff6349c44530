/* What sentence-transformers keeps beside a checkpoint: what is read, kept in a model file, and refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "tests/suite.h"

#define MODULE(path, type)                                                                         \
    "{\"idx\": 0, \"name\": \"0\", \"path\": \"" path "\", \"type\": \"" type "\"}"
#define TRANSFORMER MODULE("", "sentence_transformers.models.Transformer")
#define POOLING MODULE("1_Pooling", "sentence_transformers.models.Pooling")
#define NORMALIZE MODULE("2_Normalize", "sentence_transformers.models.Normalize")

static const char modules[] = "[" TRANSFORMER ", " POOLING ", " NORMALIZE "]";
static const char pooling[] =
    "{\"word_embedding_dimension\": 8, \"pooling_mode_cls_token\": false, "
    "\"pooling_mode_mean_tokens\": true, \"pooling_mode_max_tokens\": false, "
    "\"pooling_mode_mean_sqrt_len_tokens\": false}";
static const char sentence[] = "{\"max_seq_length\": 4, \"do_lower_case\": false}";

static char *directory, *output;

static void setup(void)
{
    directory = fixture_directory();
    output = fixture_directory();
    fixture_bert_directory(directory, "F32");
    fixture_text(directory, "modules.json", modules);
    ck_assert_int_eq(mkdir(fixture_path(directory, "1_Pooling"), 0700), 0);
    fixture_text(directory, "1_Pooling/config.json", pooling);
    fixture_text(directory, "sentence_bert_config.json", sentence);
}

static void teardown(void)
{
    unlink(fixture_path(directory, "1_Pooling/config.json"));
    rmdir(fixture_path(directory, "1_Pooling"));
    fixture_remove(directory);
    fixture_remove(output);
}

static void expect(const char *path, enum weights_pooling mode, bool normalize, int window)
{
    struct weights_model *model = fixture_open(path);
    ck_assert_int_eq((int)model->config.pooling, (int)mode);
    ck_assert_int_eq(model->config.normalize, normalize);
    ck_assert_int_eq(model->config.window, window);
    ck_assert_int_eq(model->position.rows, window);
    weights_free(model);
}

START_TEST(reads_it_and_keeps_it)
{
    distil_error error;
    expect(directory, WEIGHTS_POOLING_MEAN, true, 4);
    struct weights_model *model = fixture_open(directory);
    float wanted = fixture_value(&model->position, 3, 5);
    ck_assert_msg(weights_write(model, fixture_path(output, "x"), WEIGHTS_F32, NULL, NULL, NULL,
                                &error) == DISTIL_OK,
                  "%s", error.message);
    weights_free(model);
    expect(fixture_path(output, "x"), WEIGHTS_POOLING_MEAN, true, 4);
    model = fixture_open(fixture_path(output, "x"));
    ck_assert(fixture_value(&model->position, 3, 5) == wanted);
    weights_free(model);
}
END_TEST

START_TEST(reads_variants)
{
    fixture_text(directory, "modules.json", "[" TRANSFORMER ", " POOLING "]");
    unlink(fixture_path(directory, "sentence_bert_config.json"));
    expect(directory, WEIGHTS_POOLING_MEAN, false, WINDOW);
    fixture_text(directory, "1_Pooling/config.json", "{\"pooling_mode_cls_token\": true}");
    expect(directory, WEIGHTS_POOLING_CLS, false, WINDOW);
    fixture_text(directory, "1_Pooling/config.json", "{\"pooling_mode\": \"max\"}");
    expect(directory, WEIGHTS_POOLING_MAX, false, WINDOW);
    fixture_text(directory, "1_Pooling/config.json", "{}");
    expect(directory, WEIGHTS_POOLING_MEAN, false, WINDOW);
    fixture_text(directory, "sentence_bert_config.json", "{\"max_seq_length\": null}");
    expect(directory, WEIGHTS_POOLING_MEAN, false, WINDOW);
    unlink(fixture_path(directory, "modules.json"));
    fixture_text(directory, "sentence_bert_config.json", sentence);
    expect(directory, WEIGHTS_POOLING_MEAN, false, WINDOW);
}
END_TEST

static const struct {
    const char *file, *text;
    distil_status status;
    const char *message;
} bad[] = {
    {"modules.json", "{}", DISTIL_FORMAT, "expected an array, found an object"},
    {"modules.json", "[" TRANSFORMER "]", DISTIL_UNSUPPORTED,
     "expected the modules Transformer and Pooling, found 1 modules"},
    {"modules.json", "[]", DISTIL_UNSUPPORTED, "found 0 modules"},
    {"modules.json",
     "[" TRANSFORMER ", " POOLING ", " MODULE("2_Dense", "sentence_transformers.models.Dense") "]",
     DISTIL_UNSUPPORTED, "module 2: expected Transformer, Pooling and then at most Normalize"},
    {"modules.json", "[" MODULE("0_Transformer", "x.Transformer") ", " POOLING "]",
     DISTIL_UNSUPPORTED, "module 0: path: expected \"\", found \"0_Transformer\""},
    {"modules.json", "[" TRANSFORMER ", " MODULE("../1_Pooling", "x.Pooling") "]",
     DISTIL_UNSUPPORTED, "with path \"../1_Pooling\""},
    {"modules.json", "[7]", DISTIL_FORMAT, "type: expected a string, found nothing"},
    {"1_Pooling/config.json",
     "{\"pooling_mode_cls_token\": true, \"pooling_mode_max_tokens\": true}", DISTIL_UNSUPPORTED,
     "expected one pooling: mean, cls or max, found several"},
    {"1_Pooling/config.json", "{\"pooling_mode_lasttoken\": true}", DISTIL_UNSUPPORTED,
     "expected one pooling: mean, cls or max, found lasttoken"},
    {"1_Pooling/config.json", "{\"pooling_mode\": \"weightedmean\"}", DISTIL_UNSUPPORTED,
     "found weightedmean"},
    {"1_Pooling/config.json", "{\"pooling_mode\": \"median\"}", DISTIL_UNSUPPORTED, "found median"},
    {"1_Pooling/config.json", "{\"pooling_mode_cls_token\": 1}", DISTIL_FORMAT,
     "pooling_mode_cls_token: expected true or false"},
    {"1_Pooling/config.json", "{\"word_embedding_dimension\": 9}", DISTIL_FORMAT,
     "word_embedding_dimension: expected"},
    {"sentence_bert_config.json", "{\"max_seq_length\": 7}", DISTIL_FORMAT,
     "max_seq_length: expected an integer from 1 to 6, found the number 7"},
    {"sentence_bert_config.json", "[]", DISTIL_FORMAT, "expected an object, found an array"},
};

START_TEST(refuses)
{
    fixture_text(directory, bad[_i].file, bad[_i].text);
    fixture_refused(directory, bad[_i].status, 2, bad[_i].file, bad[_i].message);
}
END_TEST

START_TEST(refuses_more)
{
    unlink(fixture_path(directory, "1_Pooling/config.json"));
    fixture_refused(directory, DISTIL_NOT_FOUND, 1, "1_Pooling/config.json");
    fixture_text(directory, "1_Pooling/config.json", pooling);
    fixture_edit(directory, "tokenizer.json", fixture_tokenizer, "\"lowercase\": true",
                 "\"lowercase\": false");
    expect(directory, WEIGHTS_POOLING_MEAN, true, 4);
    fixture_text(directory, "sentence_bert_config.json", "{\"do_lower_case\": true}");
    fixture_refused(directory, DISTIL_UNSUPPORTED, 1, "do_lower_case: expected false, found true");
}
END_TEST

/* Edits of a model file that keep the length of its header. */
START_TEST(refuses_what_a_file_says)
{
    static const char *const edits[][3] = {
        {"\\\"pooling\\\":\\\"mean\\\"", "\\\"pooling\\\":\\\"mode\\\"", "pooling: expected"},
        {"\\\"normalize\\\":true", "\\\"normalize\\\":1234", "normalize: expected true or false"},
    };
    struct weights_model *model = fixture_open(directory);
    size_t size;
    ck_assert_int_eq(
        weights_write(model, fixture_path(output, "x"), WEIGHTS_F32, NULL, NULL, NULL, NULL),
        DISTIL_OK);
    weights_free(model);
    for (int i = 0; i < 2; i++) {
        unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
        unsigned char *at = memmem(bytes, size, edits[i][0], strlen(edits[i][0]));
        ck_assert_ptr_nonnull(at);
        memcpy(at, edits[i][1], strlen(edits[i][1]));
        fixture_write(output, "y", bytes, size);
        free(bytes);
        fixture_refused(fixture_path(output, "y"), i ? DISTIL_FORMAT : DISTIL_UNSUPPORTED, 2, "/y",
                        edits[i][2]);
    }
}
END_TEST

/* A question answerer's golden texts, and an encoder's. */
START_TEST(golden_outputs)
{
    static const char *const texts[] = {"a", "b word"};
    static const int widths[] = {HIDDEN, HIDDEN};
    static const float values[2 * HIDDEN] = {0.1234567F, -0.5F, 0, 1, 0.000001F};
    const struct weights_golden golden = {
        .count = 2, .texts = texts, .widths = widths, .values = values};
    struct weights_model *model = fixture_open(directory);
    ck_assert_int_eq(
        weights_write(model, fixture_path(output, "x"), WEIGHTS_I8, &golden, NULL, NULL, NULL),
        DISTIL_OK);
    weights_free(model);
    model = fixture_open(fixture_path(output, "x"));
    ck_assert_int_eq(model->golden.count, 2);
    ck_assert_int_eq(model->golden.widths[1], HIDDEN);
    for (int i = 0; i < 2 * HIDDEN; i++)
        ck_assert_float_eq_tol(model->golden.values[i], values[i], 5.1e-7F);
    weights_free(model);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    static const char whole[] = "[0.123457,", parted[] = "[0.123,57,";
    unsigned char *at = memmem(bytes, size, whole, sizeof whole - 1);
    ck_assert_ptr_nonnull(at);
    memcpy(at, parted, sizeof parted - 1);
    fixture_write(output, "y", bytes, size);
    free(bytes);
    fixture_refused(fixture_path(output, "y"), DISTIL_FORMAT, 2, "distild.golden_outputs",
                    "outputs: expected arrays of 8 numbers");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sentence");
    TCase *cases = tcase_create("sentence");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, reads_it_and_keeps_it);
    tcase_add_test(cases, reads_variants);
    tcase_add_loop_test(cases, refuses, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(cases, refuses_more);
    tcase_add_test(cases, refuses_what_a_file_says);
    tcase_add_test(cases, golden_outputs);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}

/* Conversion: what a model file holds against its source, and what is refused of a damaged one. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "directories.h"
#include "fixture.h"
#include "model_comparison.h"
#include "tests/suite.h"

static const enum weights_dtype written[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
static const char *const sources[] = {"F32", "F16", "BF16"};

START_TEST(converts_distilbert)
{
    for (int i = 0; i < 3; i++) {
        fixture_distilbert_directory(source, sources[i]);
        struct weights_model *model = fixture_open(source);
        ck_assert_str_eq(model->digest, "");
        fixture_convert(output, "x", model, written[_i]);
        struct weights_model *read = fixture_open(fixture_path(output, "x"));
        ck_assert_uint_eq(strlen(read->digest), 64);
        compare_models(model, read, written[_i]);
        compare_configurations(model, read);
        distil_error error = {.message = ""};
        ck_assert_msg(weights_verify(read, &error) == DISTIL_OK, "%s", error.message);
        ck_assert_int_eq(weights_verify(model, &error), DISTIL_INVALID);
        weights_free(read);
        weights_free(model);
    }
    ck_assert_int_eq(fixture_count(output), 1);
}
END_TEST

static void same_bytes(const char *one, const char *two)
{
    size_t size, other;
    unsigned char *a = fixture_read(fixture_path(output, one), &size);
    unsigned char *b = fixture_read(fixture_path(output, two), &other);
    ck_assert_uint_eq(size, other);
    ck_assert_mem_eq(a, b, size);
    free(a);
    free(b);
}

/* The same source gives the same bytes, and so does converting what was converted. */
START_TEST(is_deterministic)
{
    fixture_distilbert_directory(source, "F16");
    struct weights_model *model = fixture_open(source);
    fixture_convert(output, "a", model, written[_i]);
    fixture_convert(output, "b", model, written[_i]);
    same_bytes("a", "b");
    struct weights_model *read = fixture_open(fixture_path(output, "a"));
    fixture_convert(output, "b", read, written[_i]);
    same_bytes("a", "b");
    weights_free(read);
    /* The values of fp16 survive a detour through fp32. */
    fixture_convert(output, "wide", model, WEIGHTS_F32);
    read = fixture_open(fixture_path(output, "wide"));
    fixture_convert(output, "b", read, written[_i]);
    same_bytes("a", "b");
    weights_free(read);
    weights_free(model);
}
END_TEST

static void visit(void *context, const struct weights_entry *entry)
{
    size_t *next = context;
    ck_assert_ptr_nonnull(entry->name);
    /* In file order, and aligned for their type. */
    ck_assert_uint_eq(
        *next % (strcmp(entry->dtype, "F32") ? strcmp(entry->dtype, "F16") ? 1 : 2 : 4), 0);
    *next += entry->bytes;
}

START_TEST(is_aligned)
{
    fixture_bert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    fixture_convert(output, "x", model, written[_i]);
    weights_free(model);
    model = fixture_open(fixture_path(output, "x"));
    size_t total = 0, size;
    weights_each(model, visit, &total);
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    ck_assert_uint_eq((8 + header) % 64, 0);
    ck_assert_uint_eq(8 + header + total, size);
    free(bytes);
    weights_free(model);
}
END_TEST

/* No byte of a file can change without it being refused, at opening or by its digest. */
START_TEST(notices_every_change)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    fixture_convert(output, "x", model, written[_i]);
    weights_free(model);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    size_t step = size / 1500 + 1;
    int by_digest = 0, at_opening = 0;
    for (size_t at = 0; at < size; at += step) {
        distil_error error = {.message = ""};
        bytes[at] ^= 1u << at % 8;
        fixture_write(output, "y", bytes, size);
        bytes[at] ^= 1u << at % 8;
        distil_status status = weights_open(&model, fixture_path(output, "y"), &error);
        at_opening += status != DISTIL_OK;
        if (status)
            continue;
        ck_assert_msg(weights_verify(model, &error) == DISTIL_FORMAT, "byte %zu", at);
        by_digest++;
        weights_free(model);
    }
    ck_assert_int_gt(by_digest, 100);
    ck_assert_int_gt(at_opening, 100);
    free(bytes);
}
END_TEST

/* A copy is another file, and so is one that was written to, though both state the same digest. */
START_TEST(knows_the_same_file)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    fixture_distilbert_directory(source, "F32");
    struct weights_model *directory = fixture_open(source), *again = fixture_open(source);
    ck_assert(!weights_same(directory, again)); /* whose files nobody remembers */
    fixture_convert(output, "x", directory, WEIGHTS_F32);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    fixture_write(output, "y", bytes, size);
    struct weights_model *first = fixture_open(fixture_path(output, "x"));
    struct weights_model *second = fixture_open(fixture_path(output, "x"));
    struct weights_model *copy = fixture_open(fixture_path(output, "y"));
    ck_assert(weights_same(first, second));
    ck_assert(!weights_same(first, directory));
    ck_assert_str_eq(first->digest, copy->digest);
    ck_assert(!weights_same(first, copy));
    ck_assert_int_eq(utimensat(AT_FDCWD, fixture_path(output, "x"), times, 0), 0);
    struct weights_model *touched = fixture_open(fixture_path(output, "x"));
    ck_assert(!weights_same(first, touched));
    weights_free(touched);
    weights_free(copy);
    weights_free(second);
    weights_free(first);
    weights_free(again);
    weights_free(directory);
    free(bytes);
}
END_TEST

START_TEST(refuses_every_cut)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    fixture_convert(output, "x", model, WEIGHTS_I8);
    weights_free(model);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(output, "x"), &size);
    for (size_t cut = 0; cut < size; cut += 13) {
        fixture_write(output, "y", bytes, cut);
        fixture_refused(fixture_path(output, "y"), DISTIL_FORMAT, 1, "/y: ");
    }
    free(bytes);
}
END_TEST

/* Edits that keep the length of the header, and what the message must say. */
static const struct {
    const char *from, *to;
    distil_status status;
    const char *message;
} edits[] = {
    {"format_version\":\"1\"", "format_version\":\"3\"", DISTIL_UNSUPPORTED,
     "distild.format_version: this distild reads up to 2, found 3: the file needs a newer distild"},
    {"format_version\":\"1\"", "format_version\":\"x\"", DISTIL_FORMAT,
     "distild.format_version: expected a number"},
    {"distild.format_version", "distild.format_versio_", DISTIL_FORMAT,
     "expected a distild model file"},
    {"distild.digest\":\"", "distild.digest\":\"Z", DISTIL_FORMAT,
     "distild.digest: expected 64 digits in lower-case hex"},
    {"\\\"heads\\\":2", "\\\"heads\\\":3", DISTIL_FORMAT, "distild.config: 3 heads do not divide"},
    {"\\\"layers\\\":2", "\\\"layers\\\":3", DISTIL_FORMAT,
     "tensor layers.2.attention.query.weight is missing"},
    {"\\\"layers\\\":2", "\\\"layers\\\":1", DISTIL_FORMAT, "is not expected"},
    {"\\\"layers\\\":2", "\\\"layers\\\":0", DISTIL_FORMAT,
     "distild.config: layers: expected an integer from 1"},
    {"\\\"vocab\\\":12", "\\\"vocab\\\":13", DISTIL_FORMAT,
     "tensor embeddings.word: expected shape [13, 8], found [12, 8]"},
    {"\\\"vocab\\\":12", "\\\"vocab\\\": 9", DISTIL_FORMAT, "expected an id below 9"},
    {"\\\"gelu\\\"", "\\\"relu\\\"", DISTIL_UNSUPPORTED, "activation"},
    {"\\\"unk\\\":1", "\\\"unk\\\":x", DISTIL_FORMAT, "distild.tokenizer: malformed JSON"},
    {"\"embeddings.word\":", "\"embeddings.w0rd\":", DISTIL_FORMAT,
     "tensor embeddings.word is missing"},
    {"embeddings.word.scale", "embeddings.word.scal_", DISTIL_FORMAT,
     "tensor embeddings.word.scale: expected F32 scales for the I8 rows of embeddings.word, found "
     "nothing"},
    {"{\"dtype\":\"I8\"", "{\"dtype\":\"U8\"", DISTIL_FORMAT,
     "dtype: expected F32, F16 or I8, found U8"},
};

START_TEST(refuses_edits)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    fixture_convert(output, "x", model, WEIGHTS_I8);
    weights_free(model);
    fixture_patch(output, "x", "y", edits[_i].from, edits[_i].to);
    fixture_refused(fixture_path(output, "y"), edits[_i].status, 2, "/y: ", edits[_i].message);
}
END_TEST

/* A file may be replaced while it is in use, by itself too. */
START_TEST(replaces_a_file_in_use)
{
    fixture_distilbert_directory(source, "F32");
    struct weights_model *model = fixture_open(source);
    fixture_convert(output, "x", model, WEIGHTS_F32);
    struct weights_model *used = fixture_open(fixture_path(output, "x"));
    fixture_convert(output, "x", used, WEIGHTS_I8);
    compare_models(model, used, WEIGHTS_F32);
    struct weights_model *now = fixture_open(fixture_path(output, "x"));
    compare_models(model, now, WEIGHTS_I8);
    weights_free(now);
    weights_free(used);
    weights_free(model);
    weights_free(NULL);
}
END_TEST

START_TEST(keeps_added_tokens)
{
    fixture_distilbert_directory(source, "F32");
    fixture_edit(source, "tokenizer.json", fixture_tokenizer, "\"normalized\": false}],",
                 "\"normalized\": false}, {\"id\": 11, \"content\": \"a \\\"new\\\"\\ttoken\\\\\", "
                 "\"special\": false, \"single_word\": true, \"lstrip\": true, \"rstrip\": false, "
                 "\"normalized\": true}],");
    struct weights_model *model = fixture_open(source);
    ck_assert_str_eq(model->tokenizer.tokens[11], "a \"new\"\ttoken\\");
    fixture_convert(output, "x", model, WEIGHTS_F16);
    struct weights_model *read = fixture_open(fixture_path(output, "x"));
    compare_configurations(model, read);
    ck_assert(read->tokenizer.added[5].outside);
    weights_free(read);
    weights_free(model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model file");
    TCase *tests = tcase_create("conversion");
    tcase_set_timeout(tests, 30);
    tcase_add_checked_fixture(tests, directories_make, directories_remove);
    tcase_add_loop_test(tests, converts_distilbert, 0, 3);
    tcase_add_loop_test(tests, is_deterministic, 0, 3);
    tcase_add_loop_test(tests, is_aligned, 0, 3);
    tcase_add_loop_test(tests, notices_every_change, 0, 3);
    tcase_add_test(tests, knows_the_same_file);
    tcase_add_test(tests, refuses_every_cut);
    tcase_add_loop_test(tests, refuses_edits, 0, (int)(sizeof edits / sizeof *edits));
    tcase_add_test(tests, replaces_a_file_in_use);
    tcase_add_test(tests, keeps_added_tokens);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

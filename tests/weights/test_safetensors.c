/* The safetensors reader alone: what it reads, and every malformed header it must refuse. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tests/suite.h"
#include "weights/safetensors.h"

static char *directory;

static void setup(void)
{
    directory = fixture_directory();
}

static void teardown(void)
{
    fixture_remove(directory);
}

START_TEST(reads_tensors_and_metadata)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"empty\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[24,24]},"
        "\"a\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]}}   ";
    struct weights_safetensors file;
    fixture_header(directory, "x", header, 26);
    ck_assert_int_eq(weights_safetensors_open(&file, fixture_path(directory, "x"), NULL),
                     DISTIL_OK);
    ck_assert_uint_eq(file.count, 3);
    ck_assert_str_eq(file.tensors[0].name, "b");
    ck_assert_str_eq(file.tensors[1].name, "empty");
    ck_assert_str_eq(file.tensors[2].name, "a");
    ck_assert_str_eq(cJSON_GetObjectItemCaseSensitive(file.metadata, "format")->valuestring, "pt");
    const struct weights_stored *b = weights_safetensors_find(&file, "b");
    ck_assert_ptr_nonnull(b);
    ck_assert_str_eq(b->dtype, "F32");
    ck_assert_int_eq(b->rank, 2);
    ck_assert_int_eq(b->shape[1], 3);
    ck_assert_uint_eq(b->bytes, 24);
    ck_assert_uint_eq((size_t)(b->data - file.mapping.data), 8 + strlen(header));
    ck_assert_int_eq(weights_safetensors_find(&file, "a")->rank, 0);
    ck_assert_ptr_null(weights_safetensors_find(&file, "A"));
    weights_safetensors_close(&file);
    weights_safetensors_close(NULL);
}
END_TEST

static void refused(const char *name, const char *expected)
{
    struct weights_safetensors file;
    distil_error error = {.message = ""};
    const char *path = fixture_path(directory, name);
    distil_status status = weights_safetensors_open(&file, path, &error);
    ck_assert_msg(status == DISTIL_FORMAT, "%s: status %d", expected, status);
    ck_assert_msg(strstr(error.message, expected) != NULL, "expected \"%s\" in: %s", expected,
                  error.message);
    ck_assert_msg(strstr(error.message, path) != NULL, "expected the path in: %s", error.message);
}

/* Malformed headers, with the bytes of data that follow and what the message must say. */
#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end   \
    "]}"
static const struct {
    const char *header;
    size_t data;
    const char *message;
} bad[] = {
    {"[1,2]", 0, "expected a JSON object"},
    {"{\"a\":1", 0, "malformed JSON"},
    {"{} x", 0, "goes on after its end"},
    {"{\"a\":3}", 0, "tensor a: expected an object, found the number 3"},
    {"{" T("a", "F32", "[1]", "0", "4") "," T("a", "F32", "[1]", "4", "8") "}", 8,
     "\"a\" appears twice"},
    {"{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[1]", "4", "8") "}", 8,
     "tensor b: expected to begin at byte 8 of the data, found 4: it overlaps"},
    {"{" T("a", "F32", "[1]", "0", "4") "," T("b", "F32", "[1]", "8", "12") "}", 12,
     "tensor b: expected to begin at byte 4 of the data, found 8: there is a hole"},
    {"{" T("a", "F32", "[1]", "4", "8") "}", 8, "tensor a: expected to begin at byte 0"},
    {"{" T("a", "F32", "[1]", "0", "4") "}", 5,
     "expected 4 bytes of data after the header, found 5"},
    {"{}", 1, "expected 0 bytes of data"},
    {"{" T("a", "F32", "[1]", "4", "0") "}", 4,
     "tensor a: data_offsets: begins at 4, after its end 0"},
    {"{" T("a", "F32", "[4]", "0", "16") "}", 15, "tensor a: data_offsets: expected an end within"},
    {"{" T("a", "F32", "[3]", "0", "16") "}", 16,
     "tensor a: expected 12 bytes for shape [3] of F32, found 16"},
    {"{" T("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 0, "more elements than memory"},
    {"{" T("a", "F64", "[4611686018427387904]", "0", "0") "}", 0, "tensor a: shape"},
    {"{" T("a", "F64", "[9007199254740992,1024]", "0", "0") "}", 0, "more bytes than memory"},
    {"{" T("a", "F32", "[-1]", "0", "4") "}", 4,
     "tensor a: shape: expected integers from 0, found the number -1"},
    {"{" T("a", "F32", "[1.5]", "0", "4") "}", 4, "tensor a: shape: expected integers"},
    {"{" T("a", "F32", "[\"1\"]", "0", "4") "}", 4, "tensor a: shape: expected integers"},
    {"{" T("a", "F32", "{}", "0", "4") "}", 4,
     "tensor a: shape: expected an array, found an object"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "at most 8 dimensions"},
    {"{" T("a", "F32", "[1]", "0", "-4") "}", 4, "tensor a: data_offsets: expected two integers"},
    {"{" T("a", "F32", "[1]", "0", "1e300") "}", 4,
     "tensor a: data_offsets: expected two integers"},
    {"{" T("a", "F32", "[1]", "0", "4,8") "}", 4, "tensor a: data_offsets: expected two integers"},
    {"{" T("a", "F8", "[1]", "0", "1") "}", 1,
     "tensor a: dtype: expected one such as F32, F16 or BF16, found the string \"F8\""},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "tensor a: dtype: expected one such as F32, F16 or BF16, found nothing"},
    {"{\"__metadata__\":[]}", 0, "__metadata__: expected an object, found an array"},
    {"{\"__metadata__\":{\"n\":1}}", 0, "__metadata__: n: expected a string, found the number 1"},
    {"{\"a\\u0000b\":1}", 0, "NUL character"},
    {"{\"\xff\":1}", 0, "not valid UTF-8"},
    {"{\"\xed\xa0\x80\":1}", 0, "not valid UTF-8"},
};

START_TEST(refuses_malformed_headers)
{
    fixture_header(directory, "x", bad[_i].header, bad[_i].data);
    refused("x", bad[_i].message);
}
END_TEST

START_TEST(refuses_bad_lengths)
{
    unsigned char bytes[64] = {0};
    for (size_t size = 1; size < 8; size++) {
        fixture_write(directory, "x", bytes, size);
        refused("x", "expected at least 8 bytes");
    }
    fixture_write(directory, "x", "", 0);
    refused("x", "the file is empty");
    fixture_write(directory, "x", bytes, sizeof bytes);
    refused("x", "expected a JSON object");
    memset(bytes, 0xff, 8);
    fixture_write(directory, "x", bytes, sizeof bytes);
    refused("x", "its header would have 18446744073709551615 bytes, at most 104857600 may be");
    memset(bytes, 0, 8);
    bytes[0] = 57;
    fixture_write(directory, "x", bytes, sizeof bytes);
    refused("x", "its header would have 57 bytes, and 56 follow");
}
END_TEST

START_TEST(refuses_deep_nesting)
{
    enum { DEPTH = 100000 };
    char *header = malloc(DEPTH + 8);
    ck_assert_ptr_nonnull(header);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEPTH);
    header[DEPTH + 5] = '\0';
    fixture_header(directory, "x", header, 0);
    refused("x", "levels of nesting");
    free(header);
}
END_TEST

/* A good file cut at every byte is refused, and never crashes. */
START_TEST(refuses_every_cut)
{
    fixture_header(directory, "good", "{" T("a", "F32", "[1]", "0", "4") "}", 4);
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(directory, "good"), &size);
    for (size_t cut = 0; cut < size; cut++) {
        struct weights_safetensors file;
        fixture_write(directory, "x", bytes, cut);
        ck_assert_int_eq(weights_safetensors_open(&file, fixture_path(directory, "x"), NULL),
                         DISTIL_FORMAT);
    }
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tests = tcase_create("reader");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, reads_tensors_and_metadata);
    tcase_add_loop_test(tests, refuses_malformed_headers, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tests, refuses_bad_lengths);
    tcase_add_test(tests, refuses_deep_nesting);
    tcase_add_test(tests, refuses_every_cut);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

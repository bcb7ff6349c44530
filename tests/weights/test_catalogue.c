/* Catalogue files: what is written against what is read, and every malformed one refused. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tests/suite.h"
#include "weights/catalogue.h"

enum { ITEMS = 5, COLUMNS = 3, WIDE = 20 };

static const char *const names[COLUMNS] = {"id", "text", "maker"};
static const char *const cells[ITEMS][COLUMNS] = {{"lamp-2", "a brass lamp", "Orm"},
                                                  {"chair", "a low chair", ""},
                                                  {"a/b \"c\"", "na\xc3\xafve \xe2\x9c\x93", "Orm"},
                                                  {"lamp-10", "", "Vell"},
                                                  {"z", "a brass lamp", "Vell"}};
static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static char *directory;
static char strings[400 + WEIGHTS_CATALOGUE_ID_MAX + 2];
static uint64_t offsets[ITEMS * COLUMNS];
static struct weights_catalogue_source source;

static void setup(void)
{
    size_t used = 0;
    directory = fixture_directory();
    for (int i = 0; i < ITEMS * COLUMNS; i++) {
        const char *cell = cells[i / COLUMNS][i % COLUMNS];
        offsets[i] = used;
        memcpy(strings + used, cell, strlen(cell) + 1);
        used += strlen(cell) + 1;
    }
    source = (struct weights_catalogue_source){.name = "items.tsv",
                                               .table = {.items = ITEMS,
                                                         .columns = COLUMNS,
                                                         .names = names,
                                                         .strings = strings,
                                                         .string_bytes = used,
                                                         .offsets = offsets},
                                               .encoder = digest,
                                               .width = WIDE,
                                               .dtype = WEIGHTS_F32};
}

static void teardown(void)
{
    fixture_remove(directory);
}

static void fill(float vector[WIDE], int item)
{
    for (int i = 0; i < WIDE; i++)
        vector[i] = (float)((i * 7 + item * 3) % 11 - 5) * (float)(item + 1);
}

static const char *path(void)
{
    return fixture_path(directory, "items.catalogue");
}

static void write_catalogue(void)
{
    struct weights_catalogue_writer *writer;
    distil_error error = {.message = ""};
    float vector[WIDE];
    ck_assert_msg(weights_catalogue_begin(&writer, &source, path(), &error) == DISTIL_OK, "%s",
                  error.message);
    for (int i = 0; i < ITEMS; i++) {
        fill(vector, i);
        ck_assert_msg(weights_catalogue_put(writer, vector) == DISTIL_OK, "%s", error.message);
    }
    ck_assert_msg(weights_catalogue_finish(writer) == DISTIL_OK, "%s", error.message);
    weights_catalogue_close(writer);
}

static struct weights_catalogue *open_catalogue(void)
{
    struct weights_catalogue *catalogue;
    distil_error error = {.message = ""};
    ck_assert_msg(weights_catalogue_open(&catalogue, path(), &error) == DISTIL_OK, "%s",
                  error.message);
    return catalogue;
}

/* Opening is refused, with a message that has `part` in it. */
static void refused(distil_status status, const char *part)
{
    struct weights_catalogue *catalogue;
    distil_error error = {.message = ""};
    ck_assert_int_eq(weights_catalogue_open(&catalogue, path(), &error), status);
    ck_assert_ptr_null(catalogue);
    ck_assert_int_eq(error.code, status);
    ck_assert_msg(strstr(error.message, "items.catalogue") != NULL, "%s", error.message);
    ck_assert_msg(strstr(error.message, part) != NULL, "'%s' is not in: %s", part, error.message);
}

static float stored(const struct weights_catalogue *catalogue, long item, int i)
{
    const long at = item * catalogue->vectors.cols + i;
    if (catalogue->vectors.dtype == WEIGHTS_F32)
        return ((const float *)catalogue->vectors.data)[at];
    if (catalogue->vectors.dtype == WEIGHTS_I8)
        return catalogue->vectors.scale[item] * ((const int8_t *)catalogue->vectors.data)[at];
    const uint16_t half = ((const uint16_t *)catalogue->vectors.data)[at];
    const int exponent = half >> 10 & 31;
    const float size = exponent ? ldexpf(1024.0F + (float)(half & 1023), exponent - 25)
                                : ldexpf((float)(half & 1023), -24);
    return half & 0x8000 ? -size : size;
}

/* Check's loop variable is the type. */
START_TEST(reads_what_was_written)
{
    static const enum weights_dtype dtypes[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    static const double allowed[] = {1e-7, 5e-4, 5e-3};
    distil_error error = {.message = ""};
    source.dtype = dtypes[_i];
    write_catalogue();
    struct weights_catalogue *catalogue = open_catalogue();
    ck_assert_int_eq(catalogue->table.items, ITEMS);
    ck_assert_int_eq(catalogue->table.columns, COLUMNS);
    ck_assert_int_eq(catalogue->width, WIDE);
    ck_assert_int_eq(catalogue->text_column, 1);
    ck_assert_str_eq(catalogue->encoder, digest);
    ck_assert_int_eq(catalogue->vectors.dtype, source.dtype);
    for (int i = 0; i < ITEMS * COLUMNS; i++)
        ck_assert_str_eq(weights_catalogue_cell(&catalogue->table, i / COLUMNS, i % COLUMNS),
                         cells[i / COLUMNS][i % COLUMNS]);
    for (int item = 0; item < ITEMS; item++) {
        float vector[WIDE];
        double squares = 0;
        fill(vector, item);
        for (int i = 0; i < WIDE; i++)
            squares += (double)vector[i] * (double)vector[i];
        for (int i = 0; i < WIDE; i++)
            ck_assert_double_le(
                fabs((double)stored(catalogue, item, i) - (double)vector[i] / sqrt(squares)),
                allowed[_i]);
        for (long i = WIDE; i < catalogue->vectors.cols; i++)
            ck_assert(stored(catalogue, item, (int)i) == 0);
    }
    ck_assert_uint_eq((uintptr_t)catalogue->vectors.data % 64, 0);
    ck_assert_msg(weights_catalogue_verify(catalogue, &error) == DISTIL_OK, "%s", error.message);
    weights_catalogue_free(catalogue);
}
END_TEST

START_TEST(finds_ids)
{
    write_catalogue();
    struct weights_catalogue *catalogue = open_catalogue();
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(weights_catalogue_find(catalogue, cells[i][0]), i);
    ck_assert_int_eq(weights_catalogue_find(catalogue, "lamp-1"), -1);
    ck_assert_int_eq(weights_catalogue_find(catalogue, ""), -1);
    ck_assert_int_eq(weights_catalogue_find(catalogue, "zz"), -1);
    weights_catalogue_free(catalogue);
}
END_TEST

START_TEST(is_the_same_bytes_every_time)
{
    size_t size, again;
    write_catalogue();
    unsigned char *first = fixture_read(path(), &size);
    write_catalogue();
    unsigned char *second = fixture_read(path(), &again);
    ck_assert_uint_eq(size, again);
    ck_assert_mem_eq(first, second, size);
    free(first);
    free(second);
    ck_assert_int_eq(fixture_count(directory), 1);
}
END_TEST

static void begin_refused(const char *part)
{
    struct weights_catalogue_writer *writer;
    distil_error error = {.message = ""};
    ck_assert_int_eq(weights_catalogue_begin(&writer, &source, path(), &error), DISTIL_INVALID);
    ck_assert_ptr_null(writer);
    ck_assert_msg(strstr(error.message, part) != NULL, "'%s' is not in: %s", part, error.message);
    ck_assert_int_eq(fixture_count(directory), 0);
}

START_TEST(refuses_what_makes_no_catalogue)
{
    offsets[4 * COLUMNS] = offsets[1 * COLUMNS];
    begin_refused("items.tsv: items 2 and 5 have the same id 'chair'");
    offsets[4 * COLUMNS] = offsets[1 * COLUMNS + 2];
    begin_refused("items.tsv: item 5: its id is empty");
    memset(strings + source.table.string_bytes, 'z', WEIGHTS_CATALOGUE_ID_MAX + 1);
    offsets[4 * COLUMNS] = source.table.string_bytes;
    begin_refused("items.tsv: item 5: its id has 1025 bytes, at most 1024 may be");
    strings[1] = (char)0xc3;
    begin_refused("items.tsv: item 1: column id: not valid UTF-8");
    source.table.items = 0;
    begin_refused("expected 1 to 1073741824 items, found 0");
    source.table.items = ITEMS;
    source.width = 0;
    begin_refused("expected vectors of 1 to 65536 values, found 0");
    source.width = WIDE;
    source.dtype = WEIGHTS_BF16;
    begin_refused("holds fp32, fp16 or int8");
}
END_TEST

START_TEST(refuses_vectors_without_a_direction)
{
    static const struct {
        float value;
        const char *message;
    } bad[] = {{0, "item 2 ('chair'): its vector is all zeros"},
               {NAN, "item 2 ('chair'): its vector has a value that is infinite or not a number"},
               {INFINITY, "item 2 ('chair'): its vector has a value that is infinite"}};
    struct weights_catalogue_writer *writer;
    distil_error error = {.message = ""};
    float vector[WIDE], none[WIDE] = {0};
    fill(vector, 0);
    none[WIDE - 1] = bad[_i].value;
    ck_assert_int_eq(weights_catalogue_begin(&writer, &source, path(), &error), DISTIL_OK);
    ck_assert_int_eq(weights_catalogue_put(writer, vector), DISTIL_OK);
    ck_assert_int_eq(weights_catalogue_put(writer, none), DISTIL_INVALID);
    ck_assert_msg(strstr(error.message, bad[_i].message) != NULL, "%s", error.message);
    ck_assert_int_eq(weights_catalogue_finish(writer), DISTIL_INVALID);
    ck_assert_msg(strstr(error.message, "expected 5 vectors, found 1") != NULL, "%s",
                  error.message);
    weights_catalogue_close(writer);
    ck_assert_int_eq(fixture_count(directory), 0);
}
END_TEST

/* The valid file with its header changed: `from` replaced by `to`, and the data as it was. */
static void edit_header(const char *from, const char *to)
{
    size_t size, length = 0, used = 0;
    write_catalogue();
    unsigned char *bytes = fixture_read(path(), &size);
    for (int i = 0; i < 8; i++)
        length |= (size_t)bytes[i] << 8 * i;
    char *header = calloc(length + 1, 1), *edited = calloc(2 * size + 4096, 1);
    ck_assert(header && edited);
    memcpy(header, bytes + 8, length);
    char *at = strstr(header, from);
    ck_assert_msg(at != NULL, "'%s' is not in %s", from, header);
    used = 8 + (size_t)sprintf(edited + 8, "%.*s%s%s", (int)(at - header), header, to,
                               at + strlen(from));
    while (used % 64)
        edited[used++] = ' ';
    for (int i = 0; i < 8; i++)
        edited[i] = (char)((used - 8) >> 8 * i);
    memcpy(edited + used, bytes + 8 + length, size - 8 - length);
    fixture_write(directory, "items.catalogue", edited, used + size - 8 - length);
    free(bytes);
    free(header);
    free(edited);
}

START_TEST(refuses_malformed_headers)
{
    static const struct {
        const char *from, *to, *message;
        distil_status status;
    } bad[] = {
        {"distild.catalogue_version\":\"1\"", "distild.catalogue_version\":\"2.0\"",
         "this distild reads up to 1, found 2.0", DISTIL_UNSUPPORTED},
        {"distild.catalogue_version\":\"1\"", "distild.catalogue_version\":\"x\"",
         "expected a number such as \"1\", found \"x\"", DISTIL_FORMAT},
        {"distild.catalogue_version\"", "distild.format_version\"",
         "expected a catalogue that `distild catalogue build` wrote, found a model file",
         DISTIL_FORMAT},
        {"distild.catalogue_version\"", "other\"", "found safetensors without", DISTIL_FORMAT},
        {"distild.encoder\":\"0", "distild.encoder\":\"g",
         "distild.encoder: expected 64 digits in lower-case hex", DISTIL_FORMAT},
        {"distild.encoder\"", "distild.encoding\"", "distild.encoder", DISTIL_FORMAT},
        {"distild.width\":\"20\"", "distild.width\":\"0\"", "expected 1 to 65536, found \"0\"",
         DISTIL_FORMAT},
        {"distild.width\":\"20\"", "distild.width\":\"99999999999999999999\"",
         "expected 1 to 65536", DISTIL_FORMAT},
        {"distild.width\":\"20\"", "distild.width\":\"40\"",
         "expected [1 to 1073741824, 48] for vectors of 40 values, found [5, 32]", DISTIL_FORMAT},
        {"[\\\"id\\\",", "[\\\"key\\\",", "names of which the first is id", DISTIL_FORMAT},
        {"[\\\"id\\\",", "[7,", "names of which the first is id", DISTIL_FORMAT},
        {"[\\\"id\\\",\\\"text\\\",\\\"maker\\\"]", "{}", "names of which the first is id",
         DISTIL_FORMAT},
        {"\\\"maker\\\"", "\\\"text\\\"", "text appears twice", DISTIL_FORMAT},
        {",\\\"maker\\\"", "", "tensor offsets: expected [5, 2] of U64, found [5, 3] of U64",
         DISTIL_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[5,32]", "{\"dtype\":\"I32\",\"shape\":[5,32]",
         "expected F32, F16 or I8, found I32", DISTIL_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[5,32]", "{\"dtype\":\"F32\",\"shape\":[160]",
         "tensor vectors: expected", DISTIL_FORMAT},
        {"{\"dtype\":\"F32\",\"shape\":[5,32]", "{\"dtype\":\"F32\",\"shape\":[10,16]",
         "found [10, 16]", DISTIL_FORMAT},
        {"\"vectors\"", "\"vector\"", "tensor vectors is missing", DISTIL_FORMAT},
        {"\"order\":{\"dtype\":\"U32\"", "\"order\":{\"dtype\":\"I32\"",
         "tensor order: expected [5] of U32, found [5] of I32", DISTIL_FORMAT},
        {"\"order\"", "\"sorted\"", "tensor order is missing", DISTIL_FORMAT},
        {"\"strings\":{\"dtype\":\"U8\"", "\"strings\":{\"dtype\":\"I8\"", "tensor strings",
         DISTIL_FORMAT},
        {"\"data_offsets\":[0,640]", "\"data_offsets\":[0,644]", "expected 640 bytes",
         DISTIL_FORMAT},
        {"\"data_offsets\":[0,640]", "\"data_offsets\":[0,18446744073709551615]", "data_offsets",
         DISTIL_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        edit_header(bad[i].from, bad[i].to);
        refused(bad[i].status, bad[i].message);
    }
}
END_TEST

/* The valid file with bytes of one tensor's data changed. */
static void edit_data(const char *tensor, size_t at, const void *bytes, size_t count)
{
    size_t size, length = 0, begin = 0;
    write_catalogue();
    unsigned char *file = fixture_read(path(), &size);
    for (int i = 0; i < 8; i++)
        length |= (size_t)file[i] << 8 * i;
    char *header = strndup((const char *)file + 8, length);
    ck_assert_ptr_nonnull(header);
    const char *entry = strstr(header, tensor);
    ck_assert_ptr_nonnull(entry);
    begin = strtoul(strstr(entry, "data_offsets") + strlen("data_offsets\":["), NULL, 10);
    memcpy(file + 8 + length + begin + at, bytes, count);
    fixture_write(directory, "items.catalogue", file, size);
    free(header);
    free(file);
}

START_TEST(refuses_malformed_data)
{
    const uint64_t far = UINT64_MAX, inside = 1, end = source.table.string_bytes;
    const uint32_t beyond = ITEMS, first = 2;
    edit_data("\"offsets\"", 8, &far, sizeof far);
    refused(DISTIL_FORMAT, "element 1 is 18446744073709551615, which is not where a string begins");
    edit_data("\"offsets\"", 8, &inside, sizeof inside);
    refused(DISTIL_FORMAT, "element 1 is 1, which is not where a string begins");
    edit_data("\"offsets\"", 16, &end, sizeof end);
    refused(DISTIL_FORMAT, "tensor offsets: element 2");
    edit_data("\"order\"", 0, &beyond, sizeof beyond);
    refused(DISTIL_FORMAT, "tensor order: element 0: expected an item under 5, found 5");
    edit_data("\"order\"", 4, &first, sizeof first);
    refused(DISTIL_FORMAT, "tensor order: element 1: expected an id after");
    edit_data("\"strings\"", source.table.string_bytes - 1, "x", 1);
    refused(DISTIL_FORMAT, "tensor strings: the last string does not end");
    edit_data("\"strings\"", 0, "\xff", 1);
    refused(DISTIL_FORMAT, "tensor strings: not valid UTF-8");
    offsets[ITEMS * COLUMNS - 1] = end; /* a long text, which becomes the last id */
    memset(strings + end, 'z', WEIGHTS_CATALOGUE_ID_MAX + 1);
    source.table.string_bytes += WEIGHTS_CATALOGUE_ID_MAX + 2;
    edit_data("\"offsets\"", (ITEMS - 1) * COLUMNS * sizeof end, &end, sizeof end);
    refused(DISTIL_FORMAT, "item 5 ('zzz");
    refused(DISTIL_FORMAT, "its id has 1025 bytes, at most 1024 may be");
    source.dtype = WEIGHTS_I8;
    const float bad = NAN;
    edit_data("\"vectors.scale\"", 4, &bad, sizeof bad);
    refused(DISTIL_FORMAT, "tensor vectors.scale: expected finite values");
}
END_TEST

/* At every length, whatever is cut off. */
START_TEST(refuses_files_that_were_cut)
{
    size_t size;
    write_catalogue();
    unsigned char *bytes = fixture_read(path(), &size);
    for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 37) {
        struct weights_catalogue *catalogue;
        distil_error error = {.message = ""};
        fixture_write(directory, "items.catalogue", bytes, cut);
        ck_assert_msg(weights_catalogue_open(&catalogue, path(), &error) == DISTIL_FORMAT,
                      "%zu bytes: %s", cut, error.message);
    }
    free(bytes);
}
END_TEST

START_TEST(verifies)
{
    const float longer = 2, nothing = NAN;
    distil_error error = {.message = ""};
    edit_data("\"vectors\"", 8, &longer, sizeof longer);
    struct weights_catalogue *catalogue = open_catalogue();
    ck_assert_int_eq(weights_catalogue_verify(catalogue, &error), DISTIL_FORMAT);
    ck_assert_msg(strstr(error.message, "the file is damaged") != NULL, "%s", error.message);
    weights_catalogue_free(catalogue);
    edit_data("\"vectors\"", 8, &nothing, sizeof nothing);
    catalogue = open_catalogue();
    ck_assert_int_eq(weights_catalogue_verify(catalogue, &error), DISTIL_FORMAT);
    weights_catalogue_free(catalogue);
}
END_TEST

START_TEST(refuses_other_files)
{
    struct weights_catalogue *catalogue;
    distil_error error = {.message = ""};
    ck_assert_int_eq(weights_catalogue_open(&catalogue, directory, &error), DISTIL_FORMAT);
    ck_assert_int_eq(weights_catalogue_open(&catalogue, fixture_path(directory, "none"), &error),
                     DISTIL_NOT_FOUND);
    fixture_text(directory, "items.catalogue", "id\ttext\n");
    refused(DISTIL_FORMAT, "expected a safetensors file, such as a model or a catalogue");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("catalogue");
    TCase *test_case = tcase_create("catalogue");
    tcase_add_checked_fixture(test_case, setup, teardown);
    tcase_add_loop_test(test_case, reads_what_was_written, 0, 3);
    tcase_add_test(test_case, finds_ids);
    tcase_add_test(test_case, is_the_same_bytes_every_time);
    tcase_add_test(test_case, refuses_what_makes_no_catalogue);
    tcase_add_loop_test(test_case, refuses_vectors_without_a_direction, 0, 3);
    tcase_add_test(test_case, refuses_malformed_headers);
    tcase_add_test(test_case, refuses_malformed_data);
    tcase_add_test(test_case, refuses_files_that_were_cut);
    tcase_add_test(test_case, verifies);
    tcase_add_test(test_case, refuses_other_files);
    suite_add_tcase(suite, test_case);
    return run_suite(suite);
}

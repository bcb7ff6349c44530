/* Reading texts a line at a time, JSON lines, and writing what is read back. */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/suite.h"
#include "tools/input.h"
#include "tools/jsonl.h"
#include "tools/output.h"
#include "tools/texts.h"

static distil_error error;

/* An input that reads the end of a pipe; *writer is the other end. */
static struct tool_input pipe_input(int *writer)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    *writer = ends[1];
    return (struct tool_input){.name = "pipe", .descriptor = ends[0], .owned = true};
}

static void send_bytes(int writer, const char *bytes, size_t length)
{
    ck_assert_int_eq(write(writer, bytes, length), (ssize_t)length);
}

static void expect_line(struct tool_input *input, const char *expected, size_t length)
{
    char *text;
    size_t found;
    ck_assert_int_eq(tool_input_next(input, true, &text, &found, &error), TOOL_LINE);
    ck_assert_uint_eq(found, length);
    ck_assert_int_eq(memcmp(text, expected, length), 0);
}

START_TEST(splits_lines)
{
    static const char bytes[] = "one\r\n\nnu\0l\n\r\nmid\rdle\nlast\r";
    int writer;
    struct tool_input input = pipe_input(&writer);
    send_bytes(writer, bytes, sizeof bytes - 1);
    close(writer);
    expect_line(&input, "one", 3);
    expect_line(&input, "", 0);
    expect_line(&input, "nu\0l", 4);
    expect_line(&input, "", 0);
    expect_line(&input, "mid\rdle", 7);
    expect_line(&input, "last\r", 5);
    char *text;
    size_t length;
    ck_assert_int_eq(tool_input_next(&input, true, &text, &length, &error), TOOL_END);
    ck_assert_int_eq(tool_input_next(&input, false, &text, &length, &error), TOOL_END);
    ck_assert_int_eq(input.line, 6);
    ck_assert_uint_eq(input.taken, sizeof bytes - 1);
    tool_input_close(&input);
}
END_TEST

START_TEST(does_not_wait_unless_asked)
{
    int writer;
    char *text;
    size_t length;
    struct tool_input input = pipe_input(&writer);
    ck_assert_int_eq(tool_input_next(&input, false, &text, &length, &error), TOOL_WAIT);
    send_bytes(writer, "ha", 2);
    ck_assert_int_eq(tool_input_next(&input, false, &text, &length, &error), TOOL_WAIT);
    send_bytes(writer, "lf\nrest", 7);
    ck_assert_int_eq(tool_input_next(&input, false, &text, &length, &error), TOOL_LINE);
    ck_assert_int_eq(memcmp(text, "half", length), 0);
    ck_assert_int_eq(tool_input_next(&input, false, &text, &length, &error), TOOL_WAIT);
    close(writer);
    ck_assert_int_eq(tool_input_next(&input, false, &text, &length, &error), TOOL_LINE);
    ck_assert_int_eq(memcmp(text, "rest", length), 0);
    ck_assert_int_eq(tool_input_next(&input, false, &text, &length, &error), TOOL_END);
    tool_input_close(&input);
}
END_TEST

START_TEST(reads_lines_of_megabytes)
{
    enum { LONG = 3000000 };
    char path[] = "/tmp/distild-lines-XXXXXX";
    int file = mkstemp(path);
    char *bytes = malloc(LONG);
    ck_assert(file >= 0 && bytes);
    memset(bytes, 'x', LONG);
    bytes[LONG - 1] = '\n';
    send_bytes(file, bytes, LONG);
    send_bytes(file, "end\n", 4);
    close(file);
    struct tool_input input;
    ck_assert_int_eq(tool_input_open(&input, path, &error), DISTIL_OK);
    ck_assert_uint_eq(input.size, LONG + 4);
    expect_line(&input, bytes, LONG - 1);
    expect_line(&input, "end", 3);
    tool_input_close(&input);
    unlink(path);
    free(bytes);
}
END_TEST

START_TEST(names_a_file_that_cannot_be_read)
{
    struct tool_input input;
    ck_assert_int_eq(tool_input_open(&input, "/nowhere/texts", &error), DISTIL_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "/nowhere/texts: No such file"));
    ck_assert_int_eq(tool_input_open(&input, "/", &error), DISTIL_IO);
    ck_assert_ptr_nonnull(strstr(error.message, "/: is a directory"));
}
END_TEST

START_TEST(walks_over_members)
{
    static const char line[] =
        " {\"id\" : 12345678901234567890, \"nested\":{\"text\":[1,\"}\\\"\",{}]},\"empty\":\"\" "
        ",\"t\\u0065xt\":null}\t";
    static const char *const expected[][2] = {{"\"id\"", "12345678901234567890"},
                                              {"\"nested\"", "{\"text\":[1,\"}\\\"\",{}]}"},
                                              {"\"empty\"", "\"\""},
                                              {"\"t\\u0065xt\"", "null"}};
    struct tool_json_member member;
    size_t at = 0;
    ck_assert_int_eq(tool_json_object(line, strlen(line), &error), DISTIL_OK);
    for (int i = 0; i < 4; i++) {
        ck_assert(tool_json_next(line, strlen(line), &at, &member));
        ck_assert_uint_eq(member.name_length, strlen(expected[i][0]));
        ck_assert_int_eq(memcmp(member.name, expected[i][0], member.name_length), 0);
        ck_assert_uint_eq(member.value_length, strlen(expected[i][1]));
        ck_assert_int_eq(memcmp(member.value, expected[i][1], member.value_length), 0);
        ck_assert(!tool_json_named(&member, "text"));
    }
    ck_assert(!tool_json_next(line, strlen(line), &at, &member));
    at = 0;
    ck_assert(!tool_json_next("{ }", 3, &at, &member));
}
END_TEST

static const char *const not_objects[] = {
    "",        "[]",          "\"text\"",        "1",          "{",
    "{\"a\"}", "{\"a\":}",    "{\"a\":1,}",      "{\"a\":01}", "{\"a\":1} x",
    "{a:1}",   "{\"a\":'b'}", "{\"a\":\"\\x\"}", "{\"a\":NaN}"};

START_TEST(refuses_what_is_no_object)
{
    error.message[0] = '\0';
    ck_assert_msg(tool_json_object(not_objects[_i], strlen(not_objects[_i]), &error) ==
                      DISTIL_FORMAT,
                  "%s", not_objects[_i]);
    ck_assert_str_ne(error.message, "");
}
END_TEST

/* Texts that stay themselves through tool_json_text and tool_json_decode. */
static const char *const texts[] = {"", "plain",
                                    "quote \" slash \\ tab \t line \n return \r bell \a del \x7f",
                                    "caf\xC3\xA9 \xE6\xBC\xA2 \xF0\x9F\x98\x80"};

START_TEST(json_text_comes_back)
{
    char *line = NULL, decoded[200];
    size_t size = 0;
    FILE *out = open_memstream(&line, &size);
    ck_assert_ptr_nonnull(out);
    fputs("{\"text\":", out);
    tool_json_string(out, texts[_i]);
    fputs("}", out);
    fclose(out);
    struct tool_json_member member;
    size_t at = 0;
    ck_assert_int_eq(tool_json_object(line, size, &error), DISTIL_OK);
    ck_assert(tool_json_next(line, size, &at, &member));
    ck_assert(tool_json_named(&member, "text"));
    size_t length = tool_json_decode(member.value, member.value_length, decoded);
    ck_assert_uint_eq(length, strlen(texts[_i]));
    ck_assert_int_eq(memcmp(decoded, texts[_i], length), 0);
    free(line);
}
END_TEST

START_TEST(decodes_escapes)
{
    static const char quoted[] = "\"\\u00e9\\u6f22\\ud83d\\uDE00\\/\\b\\f\"";
    char decoded[sizeof quoted];
    size_t length = tool_json_decode(quoted, strlen(quoted), decoded);
    decoded[length] = '\0';
    ck_assert_str_eq(decoded, "\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x98\x80/\b\f");
}
END_TEST

/* Malformed bytes, and the U+FFFDs that Python's errors="replace" makes of them. */
static const struct {
    const char *bytes;
    int replacements;
} malformed[] = {{"\x80", 1},
                 {"\xC0\xAF", 2},
                 {"\xE2\x82", 1},
                 {"\xE2\x82x", 1},
                 {"\xED\xA0\x80", 3},
                 {"\xF0\x9F\x98", 1},
                 {"\xF4\x90\x80\x80", 4},
                 {"\xFF\xFE", 2},
                 {"\xE2\xE2\x82\xAC", 1}};

START_TEST(replaces_malformed_bytes)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(out);
    tool_json_string(out, malformed[_i].bytes);
    fclose(out);
    int replacements = 0;
    for (char *at = text; (at = strstr(at, "\xEF\xBF\xBD")); at += 3)
        replacements++;
    ck_assert_int_eq(replacements, malformed[_i].replacements);
    free(text);
}
END_TEST

START_TEST(floats_come_back)
{
    static const float numbers[] = {0.0f,          -0.0f,  1.0f,  0.1f,        1.0f / 3.0f,
                                    3.4028235e38f, 1e-45f, -2.5f, 16777217.0f, 0.99987656f};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        ck_assert_ptr_nonnull(out);
        tool_json_float(out, numbers[i]);
        fclose(out);
        float back = strtof(text, NULL);
        ck_assert_msg(memcmp(&back, &numbers[i], sizeof back) == 0, "%s is not %.9g", text,
                      (double)numbers[i]);
        free(text);
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(out);
    tool_json_float(out, NAN);
    tool_json_double(out, (double)INFINITY);
    tool_json_double(out, 0.1);
    fclose(out);
    ck_assert_str_eq(text, "nullnull0.1");
    free(text);
}
END_TEST

START_TEST(text_for_people_has_no_controls)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(out);
    tool_plain_text(out, "a\033[31m\xC2\x9B\xFF\xC3\xA9zz", 13, 10);
    fclose(out);
    ck_assert_str_eq(text, "a [31m \xEF\xBF\xBD\xC3\xA9z...");
    free(text);
}
END_TEST

START_TEST(json_lines_without_text_are_problems)
{
    static const char *const lines[][2] = {{"{\"id\":1}", "no field"},
                                           {"{\"text\":3}", "\"text\" is not a string"},
                                           {"not json", "line 3"},
                                           {"{\"inputs\":\"fine\"}", NULL}};
    int writer;
    struct tool_texts source = {.jsonl = true, .input = pipe_input(&writer)};
    struct tool_text text = {0};
    for (int i = 0; i < 4; i++) {
        send_bytes(writer, lines[i][0], strlen(lines[i][0]));
        send_bytes(writer, "\n", 1);
        ck_assert_int_eq(tool_texts_next(&source, true, &text, &error), TOOL_LINE);
        ck_assert_int_eq(text.problem.code, lines[i][1] ? DISTIL_FORMAT : DISTIL_OK);
        ck_assert(!lines[i][1] || strstr(text.problem.message, lines[i][1]));
    }
    ck_assert_uint_eq(text.length, 4);
    ck_assert_int_eq(memcmp(text.text, "fine", 4), 0);
    close(writer);
    tool_text_free(&text);
    tool_texts_close(&source);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lines");
    TCase *tests = tcase_create("lines");
    tcase_add_test(tests, splits_lines);
    tcase_add_test(tests, does_not_wait_unless_asked);
    tcase_add_test(tests, reads_lines_of_megabytes);
    tcase_add_test(tests, names_a_file_that_cannot_be_read);
    tcase_add_test(tests, walks_over_members);
    tcase_add_loop_test(tests, refuses_what_is_no_object, 0,
                        (int)(sizeof not_objects / sizeof not_objects[0]));
    tcase_add_loop_test(tests, json_text_comes_back, 0, (int)(sizeof texts / sizeof texts[0]));
    tcase_add_test(tests, decodes_escapes);
    tcase_add_loop_test(tests, replaces_malformed_bytes, 0,
                        (int)(sizeof malformed / sizeof malformed[0]));
    tcase_add_test(tests, floats_come_back);
    tcase_add_test(tests, text_for_people_has_no_controls);
    tcase_add_test(tests, json_lines_without_text_are_problems);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

/* test_json_input.c: what is accepted as JSON, what is refused, and what is said about it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_input.h"
#include "tests/suite.h"

static void expect_good(const char *text, size_t length)
{
    struct server_problem problem;
    cJSON *root = server_json_parse(text, length, &problem);
    ck_assert_msg(root != NULL, "%.60s: %s", text, problem.message);
    cJSON_Delete(root);
}

/* message: what the complaint must contain. */
static void expect_bad(const char *text, size_t length, const char *message)
{
    struct server_problem problem = {0};
    cJSON *root = server_json_parse(text, length, &problem);
    ck_assert_msg(root == NULL, "accepted: %.60s", text);
    ck_assert_msg(strstr(problem.message, message) != NULL, "%.60s: \"%s\" lacks \"%s\"", text,
                  problem.message, message);
}

START_TEST(good_texts)
{
    static const char *const texts[] = {"{}",
                                        "[]",
                                        " \t\r\n{ \"a\" : [ 1 , 2 ] } \n",
                                        "null",
                                        "true",
                                        "false",
                                        "\"\"",
                                        "0",
                                        "-0",
                                        "-1.5e+10",
                                        "1E-2",
                                        "1e999",
                                        "9007199254740993",
                                        "\"\\u00e9\\uD83D\\uDE00\\n\\/\"",
                                        "\"caf\xC3\xA9 \xF0\x9F\x98\x80\"",
                                        "{\"\":{\"a\":1},\"a\":{\"a\":1}}",
                                        "[[[[]]]]",
                                        "\"\x7F\""};
    size_t i;
    for (i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        expect_good(texts[i], strlen(texts[i]));
}
END_TEST

START_TEST(bad_texts_say_where)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "empty"},
        {" \n ", "empty"},
        {"{", "at byte 1: the text ends where a key"},
        {"{\"a\" 1}", "at byte 5: found '1' where ':'"},
        {"{\"a\":1,}", "at byte 7: found '}' where a key"},
        {"{a:1}", "at byte 1: found 'a' where a key"},
        {"[1,]", "at byte 3: found ']' where a value"},
        {"[1 2]", "at byte 3: found '2' where ',' or ']'"},
        {"{} {}", "at byte 3: found '{' where the end"},
        {"{}\v", "at byte 2: found byte 0x0B"},
        {"'a'", "at byte 0: found '''"},
        {"NaN", "a value"},
        {"Infinity", "a value"},
        {"-Infinity", "a digit"},
        {"01", "begins with 0"},
        {"+1", "a value"},
        {".5", "a value"},
        {"1.", "a digit"},
        {"1e", "a digit"},
        {"-", "a digit"},
        {"0x10", "the end of the text"},
        {"tru", "a value"},
        {"truee", "the end of the text"},
        {"\"a", "ends within a string"},
        {"\"a\\", "ends within a string"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\u12\"", "four hexadecimal"},
        {"\"\\u12G4\"", "four hexadecimal"},
        {"\"\\u0000\"", "at byte 1: \\u0000"},
        {"{\"a\":1,\"b\":[\"x\\u0000\"]}", "in a text, here in the field `b`"},
        {"\"\\uD800\"", "high surrogate"},
        {"\"\\uD800x\"", "high surrogate"},
        {"\"\\uD800\\u0041\"", "high surrogate"},
        {"\"\\uDC00\"", "low surrogate"},
        {"\"a\nb\"", "control character"},
        {"\xEF\xBB\xBF{}", "byte-order mark"},
        {"\"\xC3\"", "malformed UTF-8"},
        {"\"\xC0\xAF\"", "malformed UTF-8"},
        {"\"\xED\xA0\x80\"", "malformed UTF-8"},
        {"\"\xF5\x80\x80\x80\"", "malformed UTF-8"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "at byte 13: the key \"a\" appears twice"},
        {"[{\"p\":[{\"q\":{}}],\"r\":0},{\"a\":{\"b\":[]},\"c\":1,\"a\":0}]",
         "at byte 44: the key \"a\" appears twice"},
        {"[{\"x\":{\"k\":1,\"\\u006b\":2}}]", "at byte 13: the key \"k\" appears twice"},
    };
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        expect_bad(cases[i].text, strlen(cases[i].text), cases[i].message);
    expect_bad("\"a\0b\"", 5, "control character");
    expect_bad("{\0}", 3, "0x00");
    expect_bad("{\0\"\0a\0", 6, "0x00");
}
END_TEST

START_TEST(a_text_cut_at_every_byte_is_refused)
{
    const char *text =
        "{\"text\":\"caf\xC3\xA9 \\u00e9 \\uD83D\\uDE00\",\"n\":[-1.5e3,true,null,{}]}";
    size_t i;
    expect_good(text, strlen(text));
    for (i = 0; i < strlen(text); i++) {
        char *cut = malloc(i ? i : 1); /* no byte after it, for the address sanitizer */
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, text, i);
        expect_bad(cut, i, i ? "at byte" : "empty");
        free(cut);
    }
}
END_TEST

/* `count` times open, then as many times close. */
static char *nested(int count, char open, char close)
{
    char *text = malloc((size_t)count * 2 + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, open, (size_t)count);
    memset(text + count, close, (size_t)count);
    text[count * 2] = '\0';
    return text;
}

START_TEST(depth_is_bounded)
{
    char *text = nested(64, '[', ']');
    expect_good(text, 128);
    free(text);
    text = nested(65, '[', ']');
    expect_bad(text, 130, "at byte 64: arrays and objects nested more than 64 deep");
    free(text);
    text = nested(100000, '[', ']');
    expect_bad(text, 200000, "64 deep");
    free(text);
}
END_TEST

START_TEST(count_and_number_length_are_bounded)
{
    size_t length = 2000001, i;
    char *text = malloc(length);
    ck_assert_ptr_nonnull(text);
    text[0] = '[';
    for (i = 1; i < length; i++)
        text[i] = i % 2 ? '1' : ',';
    text[length - 1] = ']';
    expect_bad(text, length, "200000 values");
    memset(text, '9', 10000);
    expect_bad(text, 10000, "over 300 characters");
    expect_good(text, 300);
    free(text);
}
END_TEST

START_TEST(many_keys_are_compared_quickly)
{
    char *text = malloc(2000000);
    size_t length = 1;
    int i;
    ck_assert_ptr_nonnull(text);
    text[0] = '{';
    for (i = 0; i < 90000; i++)
        length += (size_t)sprintf(text + length, "\"k%d\":%d,", i, i);
    text[length - 1] = '}';
    expect_good(text, length);
    length--;
    length += (size_t)sprintf(text + length, ",\"k77\":0}");
    expect_bad(text, length, "\"k77\" appears twice");
    free(text);
}
END_TEST

START_TEST(fields_are_read_by_type)
{
    const char *text = "{\"s\":\"x\",\"b\":true,\"z\":null,\"n\":1,\"S\":\"other\"}";
    struct server_problem problem;
    cJSON *root = server_json_parse(text, strlen(text), &problem);
    const char *string = "before";
    bool truth = false;
    ck_assert_ptr_nonnull(root);
    ck_assert(server_json_get_string(root, "s", &string, &problem));
    ck_assert_str_eq(string, "x");
    ck_assert(server_json_get_bool(root, "b", &truth, &problem));
    ck_assert(truth);
    ck_assert(server_json_get_bool(root, "z", &truth, &problem));
    ck_assert(server_json_get_bool(root, "absent", &truth, &problem));
    ck_assert(truth);
    ck_assert(!server_json_get_bool(root, "n", &truth, &problem));
    ck_assert_str_eq(problem.message, "`n` must be a boolean, not a number");
    ck_assert_str_eq(problem.field, "n");
    ck_assert(!server_json_get_string(root, "b", &string, &problem));
    ck_assert_str_eq(problem.message, "`b` must be a string, not a boolean");
    cJSON_Delete(root);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        good_texts,
        bad_texts_say_where,
        a_text_cut_at_every_byte_is_refused,
        depth_is_bounded,
        count_and_number_length_are_bounded,
        many_keys_are_compared_quickly,
        fields_are_read_by_type,
    };
    return run_tests("json_input", 30, tests, sizeof(tests) / sizeof(*tests));
}

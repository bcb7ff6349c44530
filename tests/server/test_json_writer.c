/* test_json_writer.c: what is written is JSON, and numbers read back as they were. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_input.h"
#include "server/json_writer.h"
#include "tests/suite.h"

static void expect(struct server_json *json, const char *expected)
{
    size_t length;
    char *text = server_json_take(json, &length);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert_mem_eq(text, expected, length);
    free(text);
}

START_TEST(nesting_and_commas)
{
    struct server_json json = {0};
    server_json_begin_object(&json);
    server_json_put_string(&json, "a", "b");
    server_json_key(&json, "list");
    server_json_begin_array(&json);
    server_json_integer(&json, -3);
    server_json_begin_object(&json);
    server_json_end_object(&json);
    server_json_begin_array(&json);
    server_json_end_array(&json);
    server_json_bool(&json, true);
    server_json_null(&json);
    server_json_end_array(&json);
    server_json_put_bool(&json, "no", false);
    server_json_put_integer(&json, "most", INT64_MAX);
    server_json_put_float(&json, "half", 0.5F);
    server_json_key(&json, "third");
    server_json_fixed(&json, 1.0 / 3, 3);
    server_json_end_object(&json);
    expect(&json, "{\"a\":\"b\",\"list\":[-3,{},[],true,null],\"no\":false,"
                  "\"most\":9223372036854775807,\"half\":0.5,\"third\":0.333}");
}
END_TEST

START_TEST(strings_are_escaped)
{
    static const char text[] = "q\" b\\ n\n t\t r\r b\b f\f \x01 \x7F \0 /";
    struct server_json json = {0};
    server_json_string_n(&json, text, sizeof(text) - 1);
    expect(&json, "\"q\\\" b\\\\ n\\n t\\t r\\r b\\b f\\f \\u0001 \\u007f \\u0000 /\"");
    server_json_string(&json, "caf\xC3\xA9 \xF0\x9F\x98\x80");
    expect(&json, "\"caf\xC3\xA9 \xF0\x9F\x98\x80\"");
    /* overlong, surrogate, cut short: each byte that begins nothing is one U+FFFD */
    server_json_string(&json, "\xC0\xAF|\xED\xA0\x80|\xF0\x9F\x98");
    expect(&json, "\"\xEF\xBF\xBD\xEF\xBF\xBD|\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD|"
                  "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}
END_TEST

START_TEST(long_strings_grow_the_buffer)
{
    struct server_json json = {0};
    size_t length, i;
    char *text, *written;
    text = malloc(100001);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', 100000);
    text[100000] = '\0';
    server_json_begin_array(&json);
    for (i = 0; i < 3; i++)
        server_json_string(&json, text);
    server_json_end_array(&json);
    written = server_json_take(&json, &length);
    ck_assert_ptr_nonnull(written);
    ck_assert_uint_eq(length, 3 * 100002 + 2 + 2);
    ck_assert_ptr_null(json.data);
    free(written);
    free(text);
}
END_TEST

/* Writes a float, parses it back, and expects the same bits. */
static void round_trip(float value)
{
    struct server_json json = {0};
    struct server_problem problem;
    size_t length;
    char *text, *copy;
    server_json_float(&json, value);
    text = server_json_take(&json, &length);
    ck_assert_ptr_nonnull(text);
    ck_assert_msg(server_json_check(text, length, &problem), "%s", problem.message);
    copy = strndup(text, length);
    ck_assert_float_eq(strtof(copy, NULL), value);
    free(copy);
    free(text);
}

START_TEST(floats_round_trip)
{
    static const float values[] = {0.0F,    -0.0F,    0.1F,   1.0F / 3, 0.99981231F, 1e-30F,
                                   FLT_MAX, -FLT_MIN, 1e-45F, 16777216, 123456.789F, -2.5e20F};
    unsigned state = 12345;
    size_t i;
    for (i = 0; i < sizeof(values) / sizeof(*values); i++)
        round_trip(values[i]);
    for (i = 0; i < 20000; i++) {
        float value;
        state = state * 1664525U + 1013904223U;
        memcpy(&value, &state, sizeof(value));
        if (isfinite(value))
            round_trip(value);
    }
}
END_TEST

START_TEST(what_is_no_number_is_null)
{
    struct server_json json = {0};
    server_json_begin_array(&json);
    server_json_float(&json, NAN);
    server_json_float(&json, INFINITY);
    server_json_fixed(&json, -INFINITY, 3);
    server_json_end_array(&json);
    expect(&json, "[null,null,null]");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nesting_and_commas, strings_are_escaped,       long_strings_grow_the_buffer,
        floats_round_trip,  what_is_no_number_is_null,
    };
    return run_tests("json_writer", 30, tests, sizeof(tests) / sizeof(*tests));
}

/* Numbers as text: the fewest digits that read back as the same number, beside printf and strtof. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/suite.h"
#include "weights/decimal.h"

static void expect_float(float value)
{
    char text[WEIGHTS_DECIMAL], wanted[WEIGHTS_DECIMAL];
    for (int digits = 7; digits <= 9; digits++) {
        snprintf(wanted, sizeof wanted, "%.*g", digits, (double)value);
        if (strtof(wanted, NULL) == value)
            break;
    }
    ck_assert_uint_eq(weights_decimal_float(value, text), strlen(wanted));
    ck_assert_str_eq(text, wanted);
}

START_TEST(floats_have_the_fewest_digits)
{
    static const float values[] = {
        0,      -0.0f,   1,       -1,           0.1f,       0.5f,       1e-4f,
        9e-5f,  1e6f,    999999,  999999.9f,    999999.94f, 9.9999990f, 9.9999995f,
        1e-12f, FLT_MAX, FLT_MIN, FLT_TRUE_MIN, 16777216,   33554432,   0.3333333f};
    uint32_t state = 20;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            expect_float((float)sign * values[i]);
            expect_float((float)sign * nextafterf(values[i], 0));
            expect_float((float)sign * nextafterf(values[i], 1));
        }
    for (int i = 0; i < 200000; i++) {
        uint32_t bits;
        float value;
        state = state * 1664525 + 1013904223;
        bits = i % 2 ? state
                     : (state & 0x807fffff) | (112 + state % 36)
                                                  << 23; /* half of them from 2^-15 to 2^20 */
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            expect_float(value);
    }
}
END_TEST

static void expect_double(double value, const char *wanted)
{
    char text[WEIGHTS_DECIMAL];
    ck_assert_uint_eq(weights_decimal_double(value, text), strlen(wanted));
    ck_assert_str_eq(text, wanted);
}

START_TEST(doubles_have_the_fewest_digits)
{
    expect_double(0.1, "0.1");
    expect_double(-2, "-2");
    expect_double(1e6, "1000000");
    expect_double(0.1 + 0.2, "0.30000000000000004");
    expect_double(1.0 / 3, "0.3333333333333333");
    expect_double(DBL_MAX, "1.7976931348623157e+308");
    expect_double(-1e-300, "-1e-300");
}
END_TEST

START_TEST(integers_are_written_as_printf_does)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[WEIGHTS_DECIMAL], wanted[WEIGHTS_DECIMAL];
        size_t length = (size_t)snprintf(wanted, sizeof wanted, "%lld", (long long)values[i]);
        ck_assert_uint_eq(weights_decimal_integer(values[i], text), length);
        ck_assert_str_eq(text, wanted);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {floats_have_the_fewest_digits, doubles_have_the_fewest_digits,
                                  integers_are_written_as_printf_does};
    return run_tests("decimal", 60, tests, sizeof(tests) / sizeof(*tests));
}

/* decimal.c: an embedding is hundreds of floats, so floats of ordinary size are written without printf and strtof, which took
 * 0.7 us a number against 0.05. */
#include "weights/decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t with_point(char *text)
{
    char *comma = strchr(text, ',');
    if (comma)
        *comma = '.';
    return strlen(text);
}

/* digits / 10^decimals, without trailing zeros. */
static size_t write_fixed(char *text, bool negative, unsigned long digits, int decimals)
{
    char reversed[WEIGHTS_DECIMAL];
    size_t length = 0, written = 0;
    for (; decimals > 0 && digits % 10 == 0; decimals--)
        digits /= 10;
    for (int place = 0; digits || place <= decimals; place++, digits /= 10) {
        if (place == decimals && place > 0)
            reversed[length++] = '.';
        reversed[length++] = (char)('0' + digits % 10);
    }
    if (negative)
        text[written++] = '-';
    while (length > 0)
        text[written++] = reversed[--length];
    text[written] = '\0';
    return written;
}

/* 7 to 9 digits of a value whose magnitude is in [1e-4, 1e6); 0 where printf must judge. Products and quotients by powers of ten,
 * which are exact as doubles up to 1e22, are off by less than 1e-8 of a float's last place. */
static size_t write_float(float value, char *text)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3,  1e4,  1e5, 1e6,
                                    1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
    double magnitude = fabs((double)value), last_place;
    int exponent, decimals = 1;
    frexp(magnitude, &exponent);
    last_place = ldexp(1, exponent - 24);
    while (magnitude * powers[decimals] < 999999.5)
        decimals++;
    for (int more = 0; more < 3; more++) {
        double power = powers[decimals + more];
        unsigned long digits = (unsigned long)lrint(magnitude * power);
        double off = fabs((double)digits / power - magnitude) / last_place;
        if (off < 0.5 - 1e-8)
            return write_fixed(text, value < 0, digits, decimals + more);
        if (off < 0.5 + 1e-8)
            return 0;
    }
    return 0;
}

size_t weights_decimal_float(float value, char text[WEIGHTS_DECIMAL])
{
    float magnitude = fabsf(value);
    int exponent;
    size_t length = 0;
    /* The float below a power of two is nearer than the one above: printf judges those. */
    if (magnitude >= 1e-4f && magnitude < 1e6f && frexpf(magnitude, &exponent) != 0.5f)
        length = write_float(value, text);
    for (int digits = 7; !length; digits++) {
        snprintf(text, WEIGHTS_DECIMAL, "%.*g", digits, (double)value);
        if (digits == 9 || strtof(text, NULL) == value)
            length = with_point(text);
    }
    return length;
}

size_t weights_decimal_double(double value, char text[WEIGHTS_DECIMAL])
{
    for (int digits = 15;; digits++) {
        snprintf(text, WEIGHTS_DECIMAL, "%.*g", digits, value);
        if (digits == 17 || strtod(text, NULL) == value)
            return with_point(text);
    }
}

size_t weights_decimal_integer(int64_t value, char text[WEIGHTS_DECIMAL])
{
    unsigned long magnitude = value < 0 ? 0 - (unsigned long)value : (unsigned long)value;
    return write_fixed(text, value < 0, magnitude, 0);
}

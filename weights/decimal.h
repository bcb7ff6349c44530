/* decimal.h: finite numbers in the fewest decimal digits that read back as the same number, as JSON writes them: with a point
 * whatever the locale, and an exponent where %g has one. */
#ifndef WEIGHTS_DECIMAL_H
#define WEIGHTS_DECIMAL_H

#include <stddef.h>
#include <stdint.h>

enum { WEIGHTS_DECIMAL = 32 };

/* Each returns the length of the text, which is NUL-terminated. */
size_t weights_decimal_float(float value, char text[WEIGHTS_DECIMAL]);
size_t weights_decimal_double(double value, char text[WEIGHTS_DECIMAL]);
size_t weights_decimal_integer(int64_t value, char text[WEIGHTS_DECIMAL]);

#endif

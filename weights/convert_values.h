/* convert_values.h: what the kernel table has no function for: rounding to half precision, and
 * finding what is not a number. */
#ifndef WEIGHTS_CONVERT_VALUES_H
#define WEIGHTS_CONVERT_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

/* To the nearest, ties to even; infinity for what is too large for half precision. */
uint16_t weights_float_to_half(float value);

size_t weights_dtype_bytes(enum weights_dtype dtype);

/* Index of the first NaN or infinity among n values; n where there is none. Values may be
 * unaligned. */
size_t weights_first_not_finite(const void *values, enum weights_dtype dtype, size_t n);

#endif

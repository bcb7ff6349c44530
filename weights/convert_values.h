/* convert_values.h: numbers from one storage type to another, to the nearest, ties to even. Scalar
 * and the same on every machine, so that a conversion gives the same bytes anywhere. */
#ifndef WEIGHTS_CONVERT_VALUES_H
#define WEIGHTS_CONVERT_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

float weights_half_to_float(uint16_t half);
float weights_bfloat_to_float(uint16_t bfloat);
/* Infinity for what is too large for half precision. */
uint16_t weights_float_to_half(float value);

size_t weights_dtype_bytes(enum weights_dtype dtype);

/* out[0..cols) = row `row` of a tensor. */
void weights_row_to_float(float *out, const struct weights_tensor *tensor, long row);
/* Index of the first NaN or infinity among n values of a float type; n where there is none. Values
 * may be unaligned. */
size_t weights_first_not_finite(const void *values, enum weights_dtype dtype, size_t n);

/* Symmetric quantisation of a row: scale = max |w| / 127, q = rint(w / scale); scale 0 and zeros
 * for a row of zeros, and for one whose scale is below what a float can hold. */
float weights_quantise_scale(const float *row, long n);
void weights_quantise_row(int8_t *out, const float *row, float scale, long n);

#endif

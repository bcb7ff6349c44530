#include "weights/convert_values.h"

#include <string.h>

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t weights_float_to_half(float value)
{
    uint32_t bits = bits_of_float(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return sign | 0x7e00;
    if (magnitude >= 0x477ff000) /* 65520, the first that rounds past the largest half */
        return sign | 0x7c00;
    if (magnitude < 0x38800000) { /* under 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        float shifted = float_of_bits(magnitude) + 0.5f;
        return sign | (uint16_t)(bits_of_float(shifted) - 0x3f000000u);
    }
    uint32_t odd = magnitude >> 13 & 1;
    return sign | (uint16_t)((magnitude - (112u << 23) + 0xfff + odd) >> 13);
}

size_t weights_dtype_bytes(enum weights_dtype dtype)
{
    switch (dtype) {
    case WEIGHTS_F32:
        return 4;
    case WEIGHTS_I8:
        return 1;
    default:
        return 2;
    }
}

static uint32_t exponent_full_16(const unsigned char *values, size_t n, uint16_t mask)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t value;
        memcpy(&value, values + 2 * i, sizeof value);
        bad |= (value & mask) == mask;
    }
    return bad;
}

static uint32_t exponent_full_32(const unsigned char *values, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t value;
        memcpy(&value, values + 4 * i, sizeof value);
        bad |= (value & 0x7f800000u) == 0x7f800000u;
    }
    return bad;
}

size_t weights_first_not_finite(const void *values, enum weights_dtype dtype, size_t n)
{
    enum { BLOCK = 4096 };
    const unsigned char *bytes = values;
    size_t size = weights_dtype_bytes(dtype);
    uint16_t mask = dtype == WEIGHTS_F16 ? 0x7c00 : 0x7f80;
    if (dtype == WEIGHTS_I8)
        return n;
    /* Whole blocks without a branch inside; a block with a bad value is gone through one by one. */
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t count = n - start < BLOCK ? n - start : BLOCK;
        const unsigned char *block = bytes + start * size;
        if (!(size == 4 ? exponent_full_32(block, count) : exponent_full_16(block, count, mask)))
            continue;
        for (size_t i = 0; i < count; i++)
            if (size == 4 ? exponent_full_32(block + 4 * i, 1)
                          : exponent_full_16(block + 2 * i, 1, mask))
                return start + i;
    }
    return n;
}

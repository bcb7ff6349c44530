/* bf16.h: the rounding of one float to bf16, the specification of every level's. */
#ifndef KERNELS_BF16_H
#define KERNELS_BF16_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float kern_bf16_value(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* To nearest, ties to even; past the largest, infinity. A denormal becomes a zero of its sign, a NaN
 * stays one and becomes quiet. */
static inline uint16_t kern_bf16_round(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    if (magnitude < 0x00800000)
        return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* What rounding left over, rounded in its turn; 0 where x did not round to a finite value. */
static inline uint16_t kern_bf16_rest(float x)
{
    const float high = kern_bf16_value(kern_bf16_round(x));
    return fabsf(high) < INFINITY ? kern_bf16_round(x - high) : 0;
}

/* What that left over, rounded: the last bits of x. */
static inline uint16_t kern_bf16_last(float x)
{
    const float high = kern_bf16_value(kern_bf16_round(x));
    return fabsf(high) < INFINITY ? kern_bf16_rest(x - high) : 0;
}

#endif

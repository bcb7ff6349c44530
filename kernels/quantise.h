/* quantise.h: how a row of activations becomes u8, the one part of quantising that is not a loop.
 * Every level calls it, so that scale and zero point have the same bits everywhere; INT7 with AVX2 does the same for eight
 * blocks at once. */
#ifndef KERNELS_QUANTISE_H
#define KERNELS_QUANTISE_H

#include <float.h>
#include <math.h>
#include <stdint.h>

struct kern_q8_range {
    float scale;
    float inverse;   /* 1 / scale */
    int32_t zero;    /* 0..q8_max */
    float low, high; /* of x * inverse: what quantises to 0 and to q8_max */
};

/* lo <= 0 <= hi are the least and the greatest value of the row, neither of them NaN. A range so
 * narrow that 1 / scale would overflow, or too wide for a float, gets scale 1: its values saturate,
 * and nothing traps. */
static inline struct kern_q8_range kern_q8_range(float lo, float hi, int q8_max)
{
    struct kern_q8_range range;
    const float scale = (hi - lo) / (float)q8_max;
    range.scale = scale >= FLT_MIN && scale <= FLT_MAX ? scale : 1.0f;
    range.inverse = 1.0f / range.scale;
    const float zero = -lo / range.scale;
    range.zero = zero < (float)q8_max ? (int32_t)lrintf(zero) : (int32_t)q8_max;
    range.low = (float)-range.zero;
    range.high = (float)(q8_max - range.zero);
    return range;
}

#endif

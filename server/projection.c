/* projection.c: see projection.h. */
#include "server/projection.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Random bits of a place: the finaliser of splitmix64. */
static uint64_t bits_of(uint64_t place)
{
    uint64_t x = (place + 1) * 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

void server_project(const float *vector, int n, float projection[SERVER_PROJECTION])
{
    float scale = n > 0 ? 1.0F / sqrtf((float)n) : 0;
    int i, j;
    memset(projection, 0, SERVER_PROJECTION * sizeof(float));
    for (i = 0; i < n; i++) {
        uint64_t bits = bits_of((uint64_t)i);
        for (j = 0; j < SERVER_PROJECTION; j++)
            projection[j] += bits >> j & 1 ? vector[i] : -vector[i];
    }
    for (j = 0; j < SERVER_PROJECTION; j++)
        projection[j] *= scale;
}

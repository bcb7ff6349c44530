/* drift_projection.c: see drift_projection.h. */
#include "server/drift_projection.h"

#include <math.h>
#include <stdint.h>

/* Number i of a sequence from 0 to 1, without its ends: the finaliser of splitmix64. */
static double uniform(uint64_t i)
{
    uint64_t x = (i + 1) * 0x9E3779B97F4A7C15U;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    x ^= x >> 31;
    return ((double)(x >> 11) + 0.5) / 9007199254740992.0;
}

void server_drift_project(const float *embedding, int hidden,
                          float projection[SERVER_DRIFT_PROJECTION])
{
    double sums[SERVER_DRIFT_PROJECTION] = {0};
    int i, k;
    for (i = 0; i < hidden; i++) {
        for (k = 0; k < SERVER_DRIFT_PROJECTION; k += 2) {
            /* two at a time, by the method of Box and Muller */
            uint64_t place = (uint64_t)i * SERVER_DRIFT_PROJECTION + (uint64_t)k;
            double radius = sqrt(-2 * log(uniform(place)));
            double angle = 2 * 3.14159265358979323846 * uniform(place + 1);
            sums[k] += (double)embedding[i] * radius * cos(angle);
            sums[k + 1] += (double)embedding[i] * radius * sin(angle);
        }
    }
    for (k = 0; k < SERVER_DRIFT_PROJECTION; k++)
        projection[k] = (float)sums[k];
}

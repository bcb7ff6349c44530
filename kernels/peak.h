/* peak.h: what a level's multiply-add instructions reach at most on this machine, measured: the
 * roof that products are held against. */
#ifndef KERNELS_PEAK_H
#define KERNELS_PEAK_H

#include "kernels/kernels.h"

/* Billions of operations a second (a multiply-add is two) that one thread reaches with the level's
 * instructions for a scheme, on registers alone: the best of several short runs, about 30 ms in
 * all. For KERN_OPENBLAS, the machine's best float instructions; for KERN_SCALAR, a plain loop. The
 * level must be available. */
double kern_peak_gops(enum kern_level level, enum kern_scheme scheme);

/* Reads size bytes (a multiple of 256; memory aligned to 64) as fast as one thread can, to measure the bandwidth of where they lie. The
 * result depends on every byte and means nothing. */
unsigned kern_read(const void *memory, size_t size);

#endif

/* level.h: which instructions to compute with. */
#ifndef ENGINE_LEVEL_H
#define ENGINE_LEVEL_H

#include "kernels/kernels.h"
#include "weights/distil_status.h"

/* The level of a name; of NULL, what DISTILD_CPU names, else the best there is. DISTIL_INVALID for a name that is none,
 * DISTIL_UNSUPPORTED for one that this machine cannot run. */
distil_status engine_choose_level(const char *name, enum kern_level *level, distil_error *error);

#endif

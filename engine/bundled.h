/* bundled.h: where the model that comes with the program lies. */
#ifndef ENGINE_BUNDLED_H
#define ENGINE_BUNDLED_H

#include "weights/distil_status.h"

/* The path of the bundled classifier, to be freed: what DISTILD_MODEL names, else the first that exists of share/distild beside the
 * program (a build directory), beside its directory (installed), beside the shared library's, and in the directory
 * it was configured to be installed to. DISTIL_NOT_FOUND names the places. */
distil_status engine_bundled_model(char **path, distil_error *error);

#endif

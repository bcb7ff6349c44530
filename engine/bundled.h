/* bundled.h: the model that is opened where none is named. */
#ifndef ENGINE_BUNDLED_H
#define ENGINE_BUNDLED_H

#include "engine/distil.h"

/* The path of the model that DISTILD_MODEL names, else of the bundled classifier, to be freed. */
distil_status engine_default_model(char **path, distil_error *error);

#endif

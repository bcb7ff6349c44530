/* golden.h: what a model file's golden texts are answered with. */
#ifndef TOOLS_GOLDEN_H
#define TOOLS_GOLDEN_H

#include "weights/weights.h"

/* Computes what the model file at path makes of the golden texts, in fp32 by the scalar kernels,
 * which give the same on every machine. golden->count stays 0 for a model that classifies tokens. golden is freed with tool_golden_free, whatever the outcome. */
distil_status tool_golden_compute(const char *path, struct weights_golden *golden,
                                  distil_error *error);
void tool_golden_free(struct weights_golden *golden);

#endif

/* golden.h: what a model file's golden texts are answered with. */
#ifndef TOOLS_GOLDEN_H
#define TOOLS_GOLDEN_H

#include "weights/weights.h"

/* Computes what the model file at path makes of the golden texts, in fp32 by the scalar kernels,
 * which give the same on every machine. golden->count stays 0 for a model that classifies tokens. golden is freed with tool_golden_free, whatever the outcome. */
distil_status tool_golden_compute(const char *path, struct weights_golden *golden,
                                  distil_error *error);
/* Writes the model with its golden texts. The file is written twice: what is computed for them depends on how the matrices
 * are stored. Where it is not finite, the model has none. */
distil_status tool_golden_write(const struct weights_model *model, const char *path,
                                enum weights_dtype dtype, weights_progress *progress, void *context,
                                distil_error *error);
/* The type that keeps every bit of the model's matrices. */
enum weights_dtype tool_lossless_dtype(const struct weights_model *model);
void tool_golden_free(struct weights_golden *golden);

#endif

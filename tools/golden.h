/* golden.h: model files with what they make of golden texts, which another machine's answers are held to. */
#ifndef TOOLS_GOLDEN_H
#define TOOLS_GOLDEN_H

#include "weights/weights.h"

/* Writes the model with its golden texts. The file is written twice: what is computed for them depends on how the matrices
 * are stored. Where it is not finite, and for a model that classifies tokens, there are none. */
distil_status tool_golden_write(const struct weights_model *model, const char *path,
                                enum weights_dtype dtype, weights_progress *progress, void *context,
                                distil_error *error);
/* The type that keeps every bit of the model's matrices. */
enum weights_dtype tool_lossless_dtype(const struct weights_model *model);

#endif

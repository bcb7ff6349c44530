/* golden.h: the golden texts of a model file, written and read back. */
#ifndef WEIGHTS_GOLDEN_INTERNAL_H
#define WEIGHTS_GOLDEN_INTERNAL_H

#include <cjson/cJSON.h>

#include "weights/text.h"
#include "weights/weights.h"

/* The key that a model of the task has them under: text classifiers had them first. */
const char *weights_golden_key(enum weights_task task);

/* Adds the value of the key, an object. */
void weights_write_golden(struct weights_text *text, const struct weights_golden *golden,
                          enum weights_task task);

/* Reads the object into model->golden, whose config must be there. where names it in messages. */
distil_status weights_read_golden(struct weights_model *model, const cJSON *object,
                                  const char *where, distil_error *error);

#endif

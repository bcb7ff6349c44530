/* model_comparison.h: a model beside the one that it was converted from. */
#ifndef TESTS_WEIGHTS_MODEL_COMPARISON_H
#define TESTS_WEIGHTS_MODEL_COMPARISON_H

#include "weights/weights.h"

/* Fails the test unless every value of every tensor of b is what a's becomes in a file of that type. */
void compare_models(const struct weights_model *a, const struct weights_model *b,
                    enum weights_dtype dtype);
/* The same of their configurations, labels and tokenizers. */
void compare_configurations(const struct weights_model *a, const struct weights_model *b);

#endif

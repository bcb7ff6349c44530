/* comparison.h: what the programs share that hold models to recorded answers of `transformers`. */
#ifndef TESTS_ENGINE_COMPARISON_H
#define TESTS_ENGINE_COMPARISON_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/distil.h"

/* The first level to compute with. */
#ifndef FIRST_LEVEL
#define FIRST_LEVEL KERN_SCALAR
#endif

/* What the arguments of a program say: MODEL FIXTURE [--cases FILE] [--reduced] [--store DTYPE] [--tolerance X]
 * [--split-tolerance X] [--texts N].
 *
 * MODEL is a model file or a HuggingFace directory; "shared:NAME" is the directory NAME under $DISTILD_SHARED, or under
 * shared/ beside the source. FIXTURE has
 * the recorded outputs, and with --cases FILE texts are followed from their bytes to what the whole model gives. Every level
 * that this CPU has is held to --tolerance (1e-4) in fp32; with --reduced in bf16 and int8 to bounds of their own.
 * --store computes with the model file that --dtype DTYPE (fp32, fp16 or int8) converts MODEL to, --texts with the first N
 * texts alone. --split-tolerance is the bound where fp32 is made of bf16 products (level amx): for random weights, whose
 * outputs are larger than a trained model's. */
struct comparison {
    char model[4096];
    const char *fixture, *cases, *store;
    bool reduced;
    double tolerance, split_tolerance;
    long most_texts;
};

/* Reads them, finds the model, and converts it where --store says so. Returns 0, or, having said why, what main returns:
 * 1 (no conversion), 2 (wrong arguments), 77 (a shared model that is not there: skipped). */
int comparison_begin(struct comparison *comparison, int argc, char **argv);
/* Removes what --store made. */
void comparison_end(const struct comparison *comparison);

/* The bound on differences of fp32 at the level of a model. */
double comparison_bound(const struct comparison *comparison, const distil_model *model);
/* How many of `texts` texts can be computed with so many products of a value and a row of `hidden` values, and within
 * --texts. */
int comparison_texts(const struct comparison *comparison, const int32_t *offsets, int texts,
                     int hidden, long most);

/* A model at a level, and the texts of a fixture. */
struct subject {
    distil_model *model;
    distil_session *session;
    distil_tokens **texts; /* (count) */
    int count;
};

/* Opens the model, with texts of these ids. False where this CPU does not have the level that the options name, unless
 * DISTILD_REQUIRE_LEVELS names it; fails the test where anything else is wrong. */
bool subject_open(struct subject *subject, const char *model, const distil_options *options,
                  const int32_t *ids, const int32_t *offsets, int texts);
void subject_close(struct subject *subject);

#endif

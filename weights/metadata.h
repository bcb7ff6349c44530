/* metadata.h: the strings of a model file's __metadata__, written and read back. docs/model-file.md
 * describes them. */
#ifndef WEIGHTS_METADATA_H
#define WEIGHTS_METADATA_H

#include <cjson/cJSON.h>

#include "weights/json.h"
#include "weights/output.h"
#include "weights/text.h"
#include "weights/weights.h"

#define WEIGHTS_KEY_VERSION "distild.format_version"
#define WEIGHTS_KEY_ARCHITECTURE "distild.architecture"
#define WEIGHTS_KEY_DTYPE "distild.dtype"
#define WEIGHTS_KEY_CONFIG "distild.config"
#define WEIGHTS_KEY_TOKENIZER "distild.tokenizer"
#define WEIGHTS_KEY_VOCABULARY "distild.vocabulary"
#define WEIGHTS_KEY_SOURCE "distild.source"

enum { WEIGHTS_FORMAT_MAJOR = 2 };

/* Adds the object with every key; the digest is 64 zeros. golden may be NULL. */
void weights_write_metadata(struct weights_text *text, const struct weights_model *model,
                            enum weights_dtype dtype, const struct weights_golden *golden);

/* Fills config, tokenizer, digest and source from the object. A file of a newer major version is
 * DISTIL_UNSUPPORTED. */
distil_status weights_read_metadata(struct weights_model *model, const cJSON *metadata,
                                    distil_error *error);

/* Strings that every file of this project states: its version, whose number before the point is newest at most
 * (DISTIL_UNSUPPORTED beyond it), and digests. */
distil_status weights_read_version(const struct weights_fields *fields, const char *key,
                                   int newest);
distil_status weights_read_digest(const struct weights_fields *fields, const char *key,
                                  char digest[65]);

#endif

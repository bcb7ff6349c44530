/* fixture.h: tiny checkpoints and tokenizers, made by the tests themselves in a temporary
 * directory. */
#ifndef TESTS_WEIGHTS_FIXTURE_H
#define TESTS_WEIGHTS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

enum { HIDDEN = 8, LAYERS = 2, HEADS = 2, FFN = 16, VOCAB = 12, WINDOW = 6, LABELS = 3 };

struct fixture_tensor {
    char name[128];
    const char *dtype;
    int rank;
    long shape[2];
    size_t count;
    float *values; /* multiples of 1/64 in [-1, 1], which every float type holds exactly */
};

struct fixture_checkpoint {
    struct fixture_tensor tensors[128];
    int count;
};

/* A new temporary directory, freed by fixture_remove, which also deletes it with all that is in it.
 */
char *fixture_directory(void);
void fixture_remove(char *directory);
/* How many files are in it. */
int fixture_count(const char *directory);
/* directory/name in a buffer that the fourth later call overwrites. */
const char *fixture_path(const char *directory, const char *name);

void fixture_write(const char *directory, const char *name, const void *bytes, size_t size);
void fixture_text(const char *directory, const char *name, const char *text);
/* A whole file; freed by the caller. */
unsigned char *fixture_read(const char *path, size_t *size);
/* Writes text with every `from` replaced by `to`. from must be in it. */
void fixture_edit(const char *directory, const char *name, const char *text, const char *from,
                  const char *to);

/* Copies directory/from to directory/to with `new` written over the first `old`, without moving what follows. old must be
 * in it. */
void fixture_patch(const char *directory, const char *from, const char *to, const char *old,
                   const char *new);

struct fixture_tensor *fixture_add(struct fixture_checkpoint *checkpoint, const char *name,
                                   const char *dtype, long rows, long cols); /* rows 0: a vector */
struct fixture_tensor *fixture_find(struct fixture_checkpoint *checkpoint, const char *name);
void fixture_drop(struct fixture_checkpoint *checkpoint, const char *name);
void fixture_clear(struct fixture_checkpoint *checkpoint);

/* All tensors of an encoder, names with the prefix ("distilbert.", "bert." or ""). */
void fixture_distilbert(struct fixture_checkpoint *checkpoint, const char *prefix,
                        const char *dtype);
void fixture_bert(struct fixture_checkpoint *checkpoint, const char *prefix, const char *dtype);

/* Writes tensors first <= i < end as a safetensors file. */
void fixture_safetensors(const char *directory, const char *name,
                         const struct fixture_checkpoint *checkpoint, int first, int end);
/* A safetensors file from a header as given and size bytes of zeros for data. */
void fixture_header(const char *directory, const char *name, const char *header, size_t size);

/* config.json of the tiny models; %s is the class. */
extern const char fixture_distilbert_config[], fixture_bert_config[];
extern const char fixture_tokenizer[], fixture_vocab[];
/* A whole DistilBertForSequenceClassification directory, and a BertModel one. */
void fixture_distilbert_directory(const char *directory, const char *dtype);
void fixture_bert_directory(const char *directory, const char *dtype);

/* Opens path, expecting failure with the status and a message that holds every one of count parts.
 */
void fixture_refused(const char *path, distil_status status, int count, ...);
/* Opens path, which must succeed. */
struct weights_model *fixture_open(const char *path);
/* Writes a model as directory/name, with values of that type. */
void fixture_convert(const char *directory, const char *name, const struct weights_model *model,
                     enum weights_dtype dtype);
/* A tensor's value as the reader of any type would see it. */
float fixture_value(const struct weights_tensor *tensor, long row, long col);
/* Slots of a model by canonical name; NULL where there is none. */
const struct weights_tensor *fixture_tensor_of(const struct weights_model *model, const char *name);

#endif

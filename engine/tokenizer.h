/* tokenizer.h: WordPiece exactly as HuggingFace's `tokenizers` does it for BERT. */
#ifndef ENGINE_TOKENIZER_H
#define ENGINE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/weights.h"

/* Immutable and shared by all threads. */
struct engine_tokenizer;

/* One text, or pair of texts, as the model reads it. Zero-initialise; the arrays grow as needed,
 * are reused by the next call, and are freed by engine_encoding_free. */
struct engine_encoding {
    int count;             /* tokens, special tokens included */
    int32_t *ids;          /* (count) */
    uint8_t *types;        /* (count): 0, or 1 for the second text of a pair and its [SEP] */
    uint8_t *special;      /* (count): 1 for [CLS] and [SEP] added around the text */
    int32_t (*offsets)[2]; /* (count) [start, end) in Unicode characters of the text the token came
                              from; 0, 0 for special */
    int full_count;        /* tokens before truncation, special tokens included */
    bool truncated;
    int capacity;
    void *scratch; /* of the tokenizer */
    size_t scratch_size;
};

enum engine_truncation {
    ENGINE_TRUNCATE_NONE,  /* a text over the window is DISTIL_TOO_LONG; the encoding still says
                              full_count */
    ENGINE_TRUNCATE_RIGHT, /* drop tokens from the end */
    ENGINE_TRUNCATE_LEFT   /* drop tokens from the start */
};

struct engine_encode_options {
    int window;                        /* most tokens, special tokens included */
    enum engine_truncation truncation; /* of a pair: tokens are dropped from the longer text first,
                                          as HuggingFace's longest_first */
    bool no_special_tokens;
};

/* The tokenizer keeps no pointer into spec. */
distil_status engine_tokenizer_create(struct engine_tokenizer **tokenizer,
                                      const struct weights_tokenizer *spec, distil_error *error);
void engine_tokenizer_free(struct engine_tokenizer *tokenizer);

/* Encodes text (UTF-8, length bytes, NULs allowed; malformed bytes are read as U+FFFD, one for each
 * maximal ill-formed part, as Python's errors="replace") and, where pair is not NULL, a second
 * text. */
distil_status engine_encode(const struct engine_tokenizer *tokenizer, const char *text,
                            size_t length, const char *pair, size_t pair_length,
                            const struct engine_encode_options *options,
                            struct engine_encoding *encoding, distil_error *error);
void engine_encoding_free(struct engine_encoding *encoding);
/* Makes room for count tokens in the arrays, keeping what they hold. */
distil_status engine_encoding_reserve(struct engine_encoding *encoding, int count);

/* The id of the token for what the vocabulary lacks. */
int32_t engine_unknown_token(const struct engine_tokenizer *tokenizer);

/* The token of an id; NULL outside the vocabulary. */
const char *engine_token(const struct engine_tokenizer *tokenizer, int id);
/* Whether a token goes on with the word of the one before it. */
bool engine_token_continues(const struct engine_tokenizer *tokenizer, int id);
/* The ids of [CLS] and [SEP]. */
void engine_special_tokens(const struct engine_tokenizer *tokenizer, int32_t *cls, int32_t *sep);

#endif

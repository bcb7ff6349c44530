/* tokenizer_files.h: the tokenizer of a HuggingFace directory: tokenizer.json, else vocab.txt with
 * tokenizer_config.json, special_tokens_map.json and added_tokens.json. */
#ifndef WEIGHTS_TOKENIZER_FILES_H
#define WEIGHTS_TOKENIZER_FILES_H

#include <cjson/cJSON.h>

#include "weights/arena.h"
#include "weights/weights.h"

/* rows: of the word table, which no token's id may reach. Everything is put in the arena. */
distil_status weights_read_tokenizer(struct weights_tokenizer *tokenizer,
                                     struct weights_arena *arena, const char *directory, int rows,
                                     distil_error *error);

/* What must hold wherever a tokenizer came from: no token twice, none with a line break, special
 * tokens present. */
distil_status weights_check_tokenizer(const struct weights_tokenizer *tokenizer, const char *where,
                                      int rows, distil_error *error);

/* The id of a token, in the vocabulary or among the added ones; -1 without one. */
int weights_token_id(const struct weights_tokenizer *tokenizer, const char *token);

/* A tokenizer being put together, by the files of this part. */
struct weights_vocabulary {
    struct weights_tokenizer *tokenizer;
    struct weights_arena *arena;
    const char *where; /* the file being read, for messages */
    int rows;
    int added_capacity;
    distil_error *error;
};

/* Makes room for ids below rows. */
distil_status weights_vocabulary_begin(struct weights_vocabulary *vocabulary);
/* Gives an id its token, which is not copied. */
distil_status weights_vocabulary_set(struct weights_vocabulary *vocabulary, int id,
                                     const char *token);
/* Adds an added token, copying its content; one that is there already takes the flags given now.
 * token->content is not read. */
distil_status weights_vocabulary_add(struct weights_vocabulary *vocabulary, const char *content,
                                     const struct weights_added_token *token);
/* The flags of an added token from its JSON object, and its content, which points into it; the id
 * is not touched. */
distil_status weights_read_added_token(struct weights_added_token *token, const char **content,
                                       const cJSON *json, const char *where, distil_error *error);

/* tokenizer_json.c: all but pad and mask. */
distil_status weights_read_tokenizer_json(struct weights_vocabulary *vocabulary, const cJSON *json);

#endif

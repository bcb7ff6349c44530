/* tokenizer_fixture.h: a tokenizer of a small vocabulary, whose specification a test may change. */
#ifndef TESTS_ENGINE_TOKENIZER_FIXTURE_H
#define TESTS_ENGINE_TOKENIZER_FIXTURE_H

#include "engine/tokenizer.h"

enum {
    PAD,
    UNK,
    CLS,
    SEP,
    MASK,
    THE,
    UN,
    AFF,
    ABLE,
    CAFE,
    COMMA,
    DOT,
    ZHONG,
    A,
    CA,
    E_ACUTE,
    SS,
    ONE,
    TWO,
    DOG,
    NEW,
    OUTER,
    I,
    DOT_ABOVE,
    KELVIN,
    ANGER,
    SPACED,
    COUNT
};

struct fixture {
    struct weights_tokenizer spec;
    const char *tokens[COUNT + 1];
    struct weights_added_token added[8];
    char prefix[8];
    struct engine_tokenizer *tokenizer;
    struct engine_encoding encoding;
    distil_error error;
};

/* One as BERT has it, in lower case, that has not been made yet. */
struct fixture *fixture_new(void);
void fixture_free(struct fixture *f);

/* Makes the tokenizer that the specification says, in the place of the one before. */
void create(struct fixture *f);
/* Adds an added token to the specification. */
void add_token(struct fixture *f, char *content, int id, struct weights_added_token flags);
/* Encodes a text, and a second one that may be NULL, into f->encoding. */
distil_status encode(struct fixture *f, const char *text, size_t length, const char *pair,
                     int window, enum engine_truncation truncation);

#endif

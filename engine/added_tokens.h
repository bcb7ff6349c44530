/* added_tokens.h: tokens that are looked for in the whole text before it is cut into words. */
#ifndef ENGINE_ADDED_TOKENS_H
#define ENGINE_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/vocabulary.h"
#include "weights/weights.h"

/* Most bytes of an added token: it bounds the work for each character of a text. */
#define ENGINE_ADDED_MAX 512

struct engine_added_token {
    int32_t id;
    bool single_word, lstrip, rstrip;
};

struct engine_added_tokens {
    char *text; /* the patterns, one after the other */
    size_t text_used;
    struct engine_vocabulary patterns; /* to indices of tokens */
    struct engine_added_token *tokens; /* (count) */
    int count;
    uint16_t lengths[ENGINE_ADDED_MAX]; /* (length_count) that patterns have, longest first */
    int length_count;
    int first_byte; /* that every pattern starts with; -1 where they differ */
};

distil_status engine_added_create(struct engine_added_tokens *added, int most, distil_error *error);
void engine_added_free(struct engine_added_tokens *added);
/* Adds a token that is found as pattern (1 to ENGINE_ADDED_MAX bytes). */
distil_status engine_added_add(struct engine_added_tokens *added,
                               const struct weights_added_token *token, const char *pattern,
                               size_t length, distil_error *error);

/* A part of a text: an added token, or the text between two. */
struct engine_split {
    size_t start, stop;
    int32_t id; /* -1 for text */
};

/* Cuts a text at the added tokens, leftmost and longest first. Set added, text and length, zero the
 * rest. */
struct engine_splitter {
    const struct engine_added_tokens *added;
    const uint8_t *text;
    size_t length;
    size_t search; /* where the next match may start */
    size_t done;   /* where the last part ended */
    struct engine_split next;
    bool has_next;
};
/* The next part; false at the end. Parts never are empty, and overlap only where a token of white
 * space follows one with rstrip. */
bool engine_splitter_next(struct engine_splitter *splitter, struct engine_split *split);

#endif

/* tokenizer_private.h: what the files of the tokenizer share. */
#ifndef ENGINE_TOKENIZER_PRIVATE_H
#define ENGINE_TOKENIZER_PRIVATE_H

#include "engine/added_tokens.h"
#include "engine/normalizer.h"
#include "engine/tokenizer.h"
#include "engine/vocabulary.h"

struct engine_tokenizer {
    struct engine_normalizer normalizer;
    struct engine_vocabulary vocabulary;
    struct engine_added_tokens raw;        /* found in the text as it is */
    struct engine_added_tokens normalized; /* found in the normalised text */
    int32_t unk, cls, sep;
    int max_word_characters;
    int32_t ascii_token[128]; /* of a word of one ASCII character */
    int count;
    char *strings;    /* every token, NUL-terminated */
    uint32_t *string; /* (count): where a token starts in strings; UINT32_MAX for none */
};

/* Normalised text as bytes, each with the character of the text it came from. */
struct engine_normal_text {
    char *bytes;      /* (capacity) ENGINE_PIECE_SLACK bytes stay free at the end */
    int32_t *sources; /* (capacity) */
    size_t length, capacity;
};

/* Normalises length bytes of text, whose first character has number *source, and appends to out;
 * moves *source on. */
distil_status engine_normalize_text(const struct engine_normalizer *normalizer,
                                    struct engine_reorder *reorder, const uint8_t *text,
                                    size_t length, int32_t *source, struct engine_normal_text *out);
void engine_normal_text_free(struct engine_normal_text *text);

/* Tokens of one text on their way into an encoding. */
struct engine_output {
    struct engine_encoding *encoding;
    int base;  /* entry of the first token */
    int count; /* tokens so far, kept or not */
    int keep;  /* only so many are kept */
    bool out_of_memory;
};

static inline void engine_output_push(struct engine_output *output, int32_t id, int32_t start,
                                      int32_t stop)
{
    struct engine_encoding *encoding = output->encoding;
    if (output->count >= output->keep) {
        output->count++;
        return;
    }
    int at = output->base + output->count;
    if (at >= encoding->capacity && engine_encoding_reserve(encoding, at + 1)) {
        output->out_of_memory = true;
        return;
    }
    encoding->ids[at] = id;
    encoding->offsets[at][0] = start;
    encoding->offsets[at][1] = stop;
    output->count++;
}

/* A normalised word: followed by ENGINE_PIECE_SLACK readable bytes. Byte i came from character
 * sources[i] of the text, or first + i where sources is NULL. */
struct engine_word {
    const char *bytes;
    size_t length;
    const int32_t *sources;
    int32_t first;
};

/* Greedy longest match: pushes the word's pieces, or one [UNK]. */
void engine_wordpiece(const struct engine_tokenizer *tokenizer, const struct engine_word *word,
                      struct engine_output *output);

/* Encodes one text into output. */
distil_status engine_encode_text(const struct engine_tokenizer *tokenizer, const uint8_t *text,
                                 size_t length, struct engine_output *output);
void engine_scratch_free(struct engine_encoding *encoding);

#endif

/* tokens.h: an encoded text behind the public handle. */
#ifndef ENGINE_TOKENS_H
#define ENGINE_TOKENS_H

#include "engine/distil.h"
#include "engine/tokenizer.h"

struct distil_tokens {
    struct engine_encoding encoding;
};

#endif

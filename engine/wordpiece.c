#include "engine/tokenizer_private.h"

static int32_t source(const struct engine_word *word, size_t i)
{
    return word->sources ? word->sources[i] : word->first + (int32_t)i;
}

void engine_wordpiece(const struct engine_tokenizer *tokenizer, const struct engine_word *word,
                      struct engine_output *output)
{
    const struct engine_vocabulary *vocabulary = &tokenizer->vocabulary;
    const int before = output->count;
    enum engine_piece piece = ENGINE_PIECE_START;
    for (size_t start = 0; start < word->length;) {
        size_t longest = vocabulary->longest[piece][(uint8_t)word->bytes[start]];
        size_t stop = longest < word->length - start ? start + longest : word->length;
        int32_t id = -1;
        for (; stop > start; stop--) {
            if (stop < word->length && ((uint8_t)word->bytes[stop] & 0xC0) == 0x80)
                continue; /* inside a character */
            id = engine_vocabulary_find(vocabulary, piece, word->bytes + start, stop - start);
            if (id >= 0)
                break;
        }
        if (id < 0) {
            output->count = before;
            engine_output_push(output, tokenizer->unk, source(word, 0),
                               source(word, word->length - 1) + 1);
            break;
        }
        engine_output_push(output, id, source(word, start), source(word, stop - 1) + 1);
        piece = ENGINE_PIECE_CONTINUE;
        start = stop;
    }
}

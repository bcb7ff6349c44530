#include "engine/tokens.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model.h"

static enum engine_truncation truncation_of(distil_truncation truncation)
{
    switch (truncation) {
    case DISTIL_TRUNCATE_RIGHT:
        return ENGINE_TRUNCATE_RIGHT;
    case DISTIL_TRUNCATE_LEFT:
        return ENGINE_TRUNCATE_LEFT;
    case DISTIL_TRUNCATE_NONE:
        break;
    }
    return ENGINE_TRUNCATE_NONE;
}

static distil_status make(distil_tokens **tokens, distil_error *error)
{
    if (!*tokens)
        *tokens = calloc(1, sizeof **tokens);
    if (*tokens)
        return DISTIL_OK;
    distil_fail(error, DISTIL_NO_MEMORY, "no memory for a text's tokens");
    return DISTIL_NO_MEMORY; /* said outright, so that static analysis sees it */
}

distil_status distil_encode(const distil_model *model, const char *text, size_t length,
                            const char *pair, size_t pair_length, distil_truncation truncation,
                            distil_tokens **tokens, distil_error *error)
{
    const struct engine_encode_options options = {
        .window = model->info.window,
        .truncation = truncation_of(truncation),
    };
    distil_status status = make(tokens, error);
    if (status)
        return status;
    return engine_encode(model->tokenizer, text, length, pair, pair_length, &options,
                         &(*tokens)->encoding, error);
}

distil_status distil_tokens_from_ids(const distil_model *model, const int32_t *ids, int count,
                                     distil_tokens **tokens, distil_error *error)
{
    if (count < 1 || count > model->info.window)
        return distil_fail(error, DISTIL_INVALID, "tokens: expected 1 to %d, found %d",
                           model->info.window, count);
    for (int i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= model->info.vocab)
            return distil_fail(error, DISTIL_INVALID,
                               "token %d: expected an id from 0 to %d, found %ld", i,
                               model->info.vocab - 1, (long)ids[i]);
    distil_status status = make(tokens, error);
    if (status)
        return status;
    struct engine_encoding *encoding = &(*tokens)->encoding;
    if (engine_encoding_reserve(encoding, count))
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %d tokens", count);
    memcpy(encoding->ids, ids, (size_t)count * sizeof *ids);
    memset(encoding->types, 0, (size_t)count);
    memset(encoding->special, 0, (size_t)count);
    memset(encoding->offsets, 0, (size_t)count * sizeof *encoding->offsets);
    encoding->count = encoding->full_count = count;
    encoding->truncated = false;
    return DISTIL_OK;
}

void distil_tokens_free(distil_tokens *tokens)
{
    if (!tokens)
        return;
    engine_encoding_free(&tokens->encoding);
    free(tokens);
}

int distil_tokens_count(const distil_tokens *tokens)
{
    return tokens->encoding.count;
}

int distil_tokens_full_count(const distil_tokens *tokens)
{
    return tokens->encoding.full_count;
}

int distil_tokens_truncated(const distil_tokens *tokens)
{
    return tokens->encoding.truncated;
}

int distil_tokens_unknown(const distil_model *model, const distil_tokens *tokens)
{
    int32_t unknown = engine_unknown_token(model->tokenizer);
    int count = 0;
    for (int i = 0; i < tokens->encoding.count; i++)
        count += tokens->encoding.ids[i] == unknown;
    return count;
}

const int32_t *distil_tokens_ids(const distil_tokens *tokens)
{
    return tokens->encoding.ids;
}

const int32_t (*distil_tokens_offsets(const distil_tokens *tokens))[2]
{
    return (const int32_t(*)[2])tokens->encoding.offsets;
}

/* tokenizer_create.c: a tokenizer from its specification, with everything in that checked. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer_private.h"

/* The work for a word grows with the square of this; every published vocabulary has 100. */
#define PREFIX_MAX 64
/* In a tokenizer's string, while that is being filled: an added token that no word yields. */
#define OUTSIDE (UINT32_MAX - 1)

/* A token in an error message: the start of it, without control characters. */
struct shown {
    char text[68];
};

static struct shown show(const char *token)
{
    struct shown shown;
    size_t i = 0;
    for (; token[i] && i < sizeof shown.text - 4; i++)
        shown.text[i] = (unsigned char)token[i] < ' ' ? '?' : token[i];
    /* Not in the middle of a character. */
    while (token[i] && i > 0 && ((unsigned char)token[i] & 0xC0) == 0x80)
        i--;
    memcpy(shown.text + i, token[i] ? "..." : "", token[i] ? 4 : 1);
    return shown;
}

static distil_status check_id(const struct weights_tokenizer *spec, const char *name, int id,
                              distil_error *error)
{
    if (id < 0 || id >= spec->count)
        return distil_fail(
            error, DISTIL_FORMAT,
            "tokenizer: the %s token has id %d, expected one of 0 to %d of the vocabulary", name,
            id, spec->count - 1);
    if (!spec->tokens[id])
        return distil_fail(error, DISTIL_FORMAT,
                           "tokenizer: the %s token has id %d, which the vocabulary lacks", name,
                           id);
    return DISTIL_OK;
}

static distil_status check_added(const struct weights_tokenizer *spec,
                                 const struct weights_added_token *added, distil_error *error)
{
    distil_status status = check_id(spec, "added", added->id, error);
    if (status)
        return status;
    if (!added->content || !*added->content)
        return distil_fail(error, DISTIL_FORMAT, "tokenizer: the added token with id %d is empty",
                           added->id);
    size_t length = strlen(added->content);
    if (length > ENGINE_ADDED_MAX)
        return distil_fail(
            error, DISTIL_UNSUPPORTED,
            "tokenizer: the added token with id %d has %zu bytes, expected at most %d", added->id,
            length, ENGINE_ADDED_MAX);
    if (!engine_utf8_valid((const uint8_t *)added->content, length))
        return distil_fail(error, DISTIL_FORMAT,
                           "tokenizer: the added token with id %d is not UTF-8", added->id);
    if (strcmp(added->content, spec->tokens[added->id]) != 0)
        return distil_fail(
            error, DISTIL_FORMAT,
            "tokenizer: the added token '%s' has id %d, which in the vocabulary is '%s'",
            show(added->content).text, added->id, show(spec->tokens[added->id]).text);
    return DISTIL_OK;
}

static distil_status check_spec(const struct weights_tokenizer *spec, distil_error *error)
{
    const struct {
        const char *name;
        int id;
    } special[] = {{"unknown", spec->unk},
                   {"[CLS]", spec->cls},
                   {"[SEP]", spec->sep},
                   {"padding", spec->pad},
                   {"mask", spec->mask}};
    if (spec->count < 1 || !spec->tokens)
        return distil_fail(error, DISTIL_FORMAT, "tokenizer: the vocabulary is empty");
    if (spec->added_count < 0 || (spec->added_count > 0 && !spec->added))
        return distil_fail(error, DISTIL_FORMAT, "tokenizer: %d added tokens", spec->added_count);
    if (spec->max_word_characters < 1 || spec->max_word_characters > WEIGHTS_WORD_CHARACTERS_MAX)
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "tokenizer: max_input_chars_per_word is %d, expected 1 to %d",
                           spec->max_word_characters, WEIGHTS_WORD_CHARACTERS_MAX);
    if (!spec->prefix || strlen(spec->prefix) > PREFIX_MAX ||
        !engine_utf8_valid((const uint8_t *)spec->prefix, strlen(spec->prefix)))
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "tokenizer: continuing_subword_prefix must be UTF-8 of at most %d bytes",
                           PREFIX_MAX);
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        bool absent_mask = i == 4 && special[i].id == -1;
        distil_status status =
            absent_mask ? DISTIL_OK : check_id(spec, special[i].name, special[i].id, error);
        if (status)
            return status;
    }
    for (int i = 0; i < spec->added_count; i++) {
        distil_status status = check_added(spec, &spec->added[i], error);
        if (status)
            return status;
    }
    return DISTIL_OK;
}

static distil_status add_piece(struct engine_tokenizer *tokenizer, enum engine_piece piece,
                               size_t start, size_t length, int id, distil_error *error)
{
    /* Longer than any word that is looked up. */
    if (length > ENGINE_UTF8_MAX * (size_t)tokenizer->max_word_characters)
        return DISTIL_OK;
    switch (engine_vocabulary_add(&tokenizer->vocabulary, piece, start, length, id)) {
    case ENGINE_ADDED:
        return DISTIL_OK;
    case ENGINE_DUPLICATE:
        return distil_fail(error, DISTIL_FORMAT,
                           "tokenizer: token %d of the vocabulary, '%s', stands there twice", id,
                           show(tokenizer->strings + tokenizer->string[id]).text);
    default:
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "tokenizer: too many tokens of the vocabulary collide, at token %d", id);
    }
}

/* Files a token as what may start a word, what may continue one, or both. */
static distil_status add_token(struct engine_tokenizer *tokenizer, int id, size_t length,
                               size_t prefix, bool prefix_in_words, distil_error *error)
{
    size_t start = tokenizer->string[id];
    const char *token = tokenizer->strings + start;
    bool continues = length > prefix && memcmp(token, tokenizer->strings, prefix) == 0;
    distil_status status = DISTIL_OK;
    if (continues)
        status =
            add_piece(tokenizer, ENGINE_PIECE_CONTINUE, start + prefix, length - prefix, id, error);
    if (!status && (!continues || prefix_in_words))
        status = add_piece(tokenizer, ENGINE_PIECE_START, start, length, id, error);
    return status;
}

/* Words with punctuation in them do not come up, so that "##ing" cannot be one. */
static bool may_be_in_words(const char *prefix)
{
    for (; *prefix; prefix++)
        if ((uint8_t)*prefix < 0x80 && engine_unicode_punctuation((uint8_t)*prefix))
            return false;
    return true;
}

/* Copies the tokens and files them. strings opens with the prefix. */
static distil_status add_tokens(struct engine_tokenizer *tokenizer,
                                const struct weights_tokenizer *spec, distil_error *error)
{
    size_t prefix = strlen(spec->prefix), used = prefix + 1;
    bool prefix_in_words = may_be_in_words(spec->prefix);
    int empty = -1;
    memcpy(tokenizer->strings, spec->prefix, used);
    for (int i = 0; i < spec->added_count; i++)
        if (spec->added[i].outside)
            tokenizer->string[spec->added[i].id] = OUTSIDE;
    for (int id = 0; id < spec->count; id++) {
        const char *token = spec->tokens[id];
        bool outside = tokenizer->string[id] == OUTSIDE;
        tokenizer->string[id] = token ? (uint32_t)used : UINT32_MAX;
        if (!token)
            continue;
        size_t length = strlen(token);
        memcpy(tokenizer->strings + used, token, length + 1);
        used += length + 1;
        if (!engine_utf8_valid((const uint8_t *)token, length))
            return distil_fail(error, DISTIL_FORMAT,
                               "tokenizer: token %d of the vocabulary is not UTF-8", id);
        if (outside)
            continue;
        if (length == 0 && empty >= 0)
            return distil_fail(error, DISTIL_FORMAT,
                               "tokenizer: tokens %d and %d of the vocabulary are empty", empty,
                               id);
        if (length == 0) {
            empty = id;
            continue;
        }
        distil_status status = add_token(tokenizer, id, length, prefix, prefix_in_words, error);
        if (status)
            return status;
    }
    return DISTIL_OK;
}

static distil_status create_vocabulary(struct engine_tokenizer *tokenizer,
                                       const struct weights_tokenizer *spec, distil_error *error)
{
    size_t bytes = strlen(spec->prefix) + 1, keys = (size_t)spec->count;
    for (int id = 0; id < spec->count; id++)
        bytes += spec->tokens[id] ? strlen(spec->tokens[id]) + 1 : 0;
    if (bytes > UINT32_MAX / 2 || keys > UINT32_MAX / 64)
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "tokenizer: a vocabulary of %zu tokens in %zu bytes is too large", keys,
                           bytes);
    tokenizer->strings = malloc(bytes + ENGINE_PIECE_SLACK);
    tokenizer->string = calloc(keys, sizeof *tokenizer->string);
    if (!tokenizer->strings || !tokenizer->string)
        return distil_fail(error, DISTIL_NO_MEMORY, "tokenizer: out of memory for %d tokens",
                           spec->count);
    memset(tokenizer->strings + bytes, 0, ENGINE_PIECE_SLACK);
    tokenizer->count = spec->count;
    /* A token that may both start and continue a word has two keys. */
    if (may_be_in_words(spec->prefix))
        keys *= 2;
    distil_status status =
        engine_vocabulary_create(&tokenizer->vocabulary, keys, tokenizer->strings, error);
    if (status)
        return status;
    status = add_tokens(tokenizer, spec, error);
    if (status)
        return status;
    for (int i = 0; i < 128; i++) {
        const char word[1 + ENGINE_PIECE_SLACK] = {(char)i};
        int32_t id = engine_vocabulary_find(&tokenizer->vocabulary, ENGINE_PIECE_START, word, 1);
        tokenizer->ascii_token[i] = id < 0 ? tokenizer->unk : id;
    }
    return DISTIL_OK;
}

static distil_status create_added(struct engine_tokenizer *tokenizer,
                                  const struct weights_tokenizer *spec, distil_error *error)
{
    int normalized = 0;
    for (int i = 0; i < spec->added_count; i++)
        normalized += spec->added[i].normalized;
    struct engine_normal_text pattern = {0};
    struct engine_reorder reorder = {0};
    distil_status status =
        engine_added_create(&tokenizer->raw, spec->added_count - normalized, error);
    if (!status)
        status = engine_added_create(&tokenizer->normalized, normalized, error);
    for (int i = 0; i < spec->added_count && !status; i++) {
        const struct weights_added_token *token = &spec->added[i];
        size_t length = strlen(token->content);
        if (!token->normalized) {
            status = engine_added_add(&tokenizer->raw, token, token->content, length, error);
            continue;
        }
        int32_t source = 0;
        pattern.length = 0;
        if (engine_normalize_text(&tokenizer->normalizer, &reorder, (const uint8_t *)token->content,
                                  length, &source, &pattern))
            status =
                distil_fail(error, DISTIL_NO_MEMORY, "tokenizer: out of memory for an added token");
        else
            status = engine_added_add(&tokenizer->normalized, token, pattern.bytes, pattern.length,
                                      error);
    }
    engine_normal_text_free(&pattern);
    engine_reorder_free(&reorder);
    return status;
}

distil_status engine_tokenizer_create(struct engine_tokenizer **tokenizer,
                                      const struct weights_tokenizer *spec, distil_error *error)
{
    *tokenizer = NULL;
    distil_status status = check_spec(spec, error);
    if (status)
        return status;
    struct engine_tokenizer *made = calloc(1, sizeof *made);
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "tokenizer: out of memory");
    made->unk = spec->unk;
    made->cls = spec->cls;
    made->sep = spec->sep;
    made->max_word_characters = spec->max_word_characters;
    status = engine_normalizer_create(&made->normalizer, spec->clean_text, spec->chinese_chars,
                                      spec->strip_accents, spec->lowercase, error);
    if (!status)
        status = create_vocabulary(made, spec, error);
    if (!status)
        status = create_added(made, spec, error);
    if (status) {
        engine_tokenizer_free(made);
        return status;
    }
    *tokenizer = made;
    return DISTIL_OK;
}

void engine_tokenizer_free(struct engine_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    engine_added_free(&tokenizer->raw);
    engine_added_free(&tokenizer->normalized);
    engine_vocabulary_free(&tokenizer->vocabulary);
    engine_normalizer_free(&tokenizer->normalizer);
    free(tokenizer->strings);
    free(tokenizer->string);
    free(tokenizer);
}

int32_t engine_unknown_token(const struct engine_tokenizer *tokenizer)
{
    return tokenizer->unk;
}

const char *engine_token(const struct engine_tokenizer *tokenizer, int id)
{
    if (id < 0 || id >= tokenizer->count || tokenizer->string[id] == UINT32_MAX)
        return NULL;
    return tokenizer->strings + tokenizer->string[id];
}

bool engine_token_continues(const struct engine_tokenizer *tokenizer, int id)
{
    const char *token = engine_token(tokenizer, id), *prefix = tokenizer->strings;
    size_t length = strlen(prefix);
    return token && length > 0 && strncmp(token, prefix, length) == 0 && token[length];
}

void engine_special_tokens(const struct engine_tokenizer *tokenizer, int32_t *cls, int32_t *sep)
{
    *cls = tokenizer->cls;
    *sep = tokenizer->sep;
}

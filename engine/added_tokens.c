#include "engine/added_tokens.h"

#include <stdlib.h>

#include "engine/unicode.h"

distil_status engine_added_create(struct engine_added_tokens *added, int most, distil_error *error)
{
    *added = (struct engine_added_tokens){.first_byte = -1};
    if (most == 0)
        return DISTIL_OK;
    added->text = calloc((size_t)most * ENGINE_ADDED_MAX + ENGINE_PIECE_SLACK, 1);
    added->tokens = calloc((size_t)most, sizeof *added->tokens);
    if (!added->text || !added->tokens) {
        engine_added_free(added);
        return distil_fail(error, DISTIL_NO_MEMORY, "tokenizer: out of memory for %d added tokens",
                           most);
    }
    distil_status status =
        engine_vocabulary_create(&added->patterns, (size_t)most, added->text, error);
    if (status) {
        engine_added_free(added);
        return status;
    }
    return DISTIL_OK;
}

void engine_added_free(struct engine_added_tokens *added)
{
    if (!added)
        return;
    engine_vocabulary_free(&added->patterns);
    free(added->tokens);
    free(added->text);
    *added = (struct engine_added_tokens){.first_byte = -1};
}

static void note_length(struct engine_added_tokens *added, uint16_t length)
{
    int i = 0;
    while (i < added->length_count && added->lengths[i] > length)
        i++;
    if (i < added->length_count && added->lengths[i] == length)
        return;
    memmove(added->lengths + i + 1, added->lengths + i,
            (size_t)(added->length_count - i) * sizeof *added->lengths);
    added->lengths[i] = length;
    added->length_count++;
}

distil_status engine_added_add(struct engine_added_tokens *added,
                               const struct weights_added_token *token, const char *pattern,
                               size_t length, distil_error *error)
{
    if (length == 0 || length > ENGINE_ADDED_MAX)
        return distil_fail(
            error, DISTIL_FORMAT,
            "tokenizer: the added token with id %d has %zu bytes once normalised, expected 1 to %d",
            token->id, length, ENGINE_ADDED_MAX);
    memcpy(added->text + added->text_used, pattern, length);
    switch (engine_vocabulary_add(&added->patterns, ENGINE_PIECE_START, added->text_used, length,
                                  added->count)) {
    case ENGINE_ADDED:
        break;
    case ENGINE_DUPLICATE:
        return distil_fail(
            error, DISTIL_FORMAT,
            "tokenizer: the added token with id %d reads as another added token does", token->id);
    case ENGINE_CROWDED:
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "tokenizer: too many added tokens collide, at id %d", token->id);
    }
    added->text_used += length;
    int first = (uint8_t)pattern[0];
    added->first_byte = added->count == 0 || added->first_byte == first ? first : -1;
    note_length(added, (uint16_t)length);
    added->tokens[added->count++] =
        (struct engine_added_token){token->id, token->single_word, token->lstrip, token->rstrip};
    return DISTIL_OK;
}

/* The longest pattern at text[at]: its bytes, 0 for none. */
static size_t match_at(const struct engine_added_tokens *added, const uint8_t *text, size_t length,
                       size_t at, int32_t *index)
{
    char copy[ENGINE_ADDED_MAX + ENGINE_PIECE_SLACK];
    const char *bytes = (const char *)text + at;
    size_t longest = added->patterns.longest[ENGINE_PIECE_START][text[at]], left = length - at;
    if (longest == 0)
        return 0;
    if (longest > left)
        longest = left;
    if (longest + ENGINE_PIECE_SLACK > left) {
        memcpy(copy, bytes, longest);
        memset(copy + longest, 0, ENGINE_PIECE_SLACK);
        bytes = copy;
    }
    for (int i = 0; i < added->length_count; i++) {
        if (added->lengths[i] > longest)
            continue;
        *index =
            engine_vocabulary_find(&added->patterns, ENGINE_PIECE_START, bytes, added->lengths[i]);
        if (*index >= 0)
            return added->lengths[i];
    }
    return 0;
}

static bool find(const struct engine_splitter *splitter, size_t *start, size_t *stop,
                 int32_t *index)
{
    const struct engine_added_tokens *added = splitter->added;
    for (size_t at = splitter->search; at < splitter->length; at++) {
        if (added->first_byte >= 0) {
            const uint8_t *found =
                memchr(splitter->text + at, added->first_byte, splitter->length - at);
            if (!found)
                return false;
            at = (size_t)(found - splitter->text);
        }
        size_t length = match_at(added, splitter->text, splitter->length, at, index);
        if (length) {
            *start = at;
            *stop = at + length;
            return true;
        }
    }
    return false;
}

/* No letter, digit or underscore beside the match. */
static bool stands_alone(const struct engine_splitter *splitter, size_t start, size_t stop)
{
    uint32_t cp;
    if (start > 0) {
        engine_utf8_before(splitter->text, start, &cp);
        if (engine_unicode_word(cp))
            return false;
    }
    if (stop < splitter->length) {
        engine_utf8_decode(splitter->text + stop, splitter->length - stop, &cp);
        if (engine_unicode_word(cp))
            return false;
    }
    return true;
}

static size_t strip_left(const struct engine_splitter *splitter, size_t start)
{
    if (start < splitter->done)
        return splitter->done;
    while (start > splitter->done) {
        uint32_t cp;
        size_t before = engine_utf8_before(splitter->text, start, &cp);
        if (!engine_unicode_space(cp))
            break;
        start = before;
    }
    return start;
}

static size_t strip_right(const struct engine_splitter *splitter, size_t stop)
{
    /* Past stop already: the token before took this white space. */
    if (stop < splitter->done)
        return splitter->done;
    while (stop < splitter->length) {
        uint32_t cp;
        size_t size = engine_utf8_decode(splitter->text + stop, splitter->length - stop, &cp);
        if (!engine_unicode_space(cp))
            break;
        stop += size;
    }
    return stop;
}

bool engine_splitter_next(struct engine_splitter *splitter, struct engine_split *split)
{
    size_t start, stop;
    int32_t index;
    if (splitter->has_next) {
        *split = splitter->next;
        splitter->has_next = false;
        return true;
    }
    while (splitter->added->count && find(splitter, &start, &stop, &index)) {
        const struct engine_added_token *token = &splitter->added->tokens[index];
        splitter->search = stop;
        if (token->single_word && !stands_alone(splitter, start, stop))
            continue;
        if (token->lstrip)
            start = strip_left(splitter, start);
        if (token->rstrip)
            stop = strip_right(splitter, stop);
        if (start >= stop)
            continue;
        struct engine_split found = {start, stop, token->id};
        *split = found;
        if (splitter->done < start) {
            *split = (struct engine_split){splitter->done, start, -1};
            splitter->next = found;
            splitter->has_next = true;
        }
        splitter->done = stop;
        return true;
    }
    splitter->search = splitter->length;
    if (splitter->done >= splitter->length)
        return false;
    *split = (struct engine_split){splitter->done, splitter->length, -1};
    splitter->done = splitter->length;
    return true;
}

/* tokenizer.c: encodings: special tokens, pairs, truncation. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer_private.h"

/* Most bytes of a text: no count of tokens or characters overflows. */
#define TEXT_MAX ((size_t)INT32_MAX / 8)

distil_status engine_encoding_reserve(struct engine_encoding *encoding, int count)
{
    if (count <= encoding->capacity)
        return DISTIL_OK;
    size_t capacity = (size_t)count + (size_t)count / 2 + 64;
    if (capacity > INT_MAX)
        return DISTIL_NO_MEMORY;
    void *ids = realloc(encoding->ids, capacity * sizeof *encoding->ids);
    encoding->ids = ids ? ids : encoding->ids;
    void *types = realloc(encoding->types, capacity);
    encoding->types = types ? types : encoding->types;
    void *special = realloc(encoding->special, capacity);
    encoding->special = special ? special : encoding->special;
    void *offsets = realloc(encoding->offsets, capacity * sizeof *encoding->offsets);
    encoding->offsets = offsets ? offsets : encoding->offsets;
    if (!ids || !types || !special || !offsets)
        return DISTIL_NO_MEMORY;
    encoding->capacity = (int)capacity;
    return DISTIL_OK;
}

void engine_encoding_free(struct engine_encoding *encoding)
{
    if (!encoding)
        return;
    engine_scratch_free(encoding);
    free(encoding->ids);
    free(encoding->types);
    free(encoding->special);
    free(encoding->offsets);
    *encoding = (struct engine_encoding){0};
}

/* Shares room between two texts: the longer one gives way first, as `tokenizers` has it. */
static void share(int room, int first, int second, int *first_kept, int *second_kept)
{
    bool swap = first > second;
    int shorter = swap ? second : first, longer;
    if (shorter > room)
        longer = shorter;
    else
        longer = shorter > room - shorter ? shorter : room - shorter;
    if (shorter + longer > room) {
        shorter = room / 2;
        longer = shorter + room % 2;
    }
    *first_kept = swap ? longer : shorter;
    *second_kept = swap ? shorter : longer;
    if (*first_kept > first)
        *first_kept = first;
    if (*second_kept > second)
        *second_kept = second;
}

/* Moves the tokens of output that stay to the entry at. */
static void place(const struct engine_output *output, int kept, int at,
                  enum engine_truncation truncation)
{
    struct engine_encoding *encoding = output->encoding;
    int from = output->base + (truncation == ENGINE_TRUNCATE_LEFT ? output->count - kept : 0);
    if (kept == 0)
        return; /* there may be no arrays yet */
    memmove(encoding->ids + at, encoding->ids + from, (size_t)kept * sizeof *encoding->ids);
    memmove(encoding->offsets + at, encoding->offsets + from,
            (size_t)kept * sizeof *encoding->offsets);
}

static void put_special(struct engine_encoding *encoding, int at, int32_t id)
{
    encoding->ids[at] = id;
    encoding->offsets[at][0] = encoding->offsets[at][1] = 0;
    encoding->special[at] = 1;
}

/* [CLS] first [SEP], and for a pair second [SEP]. */
static distil_status assemble(const struct engine_tokenizer *tokenizer,
                              const struct engine_output *first, int first_kept,
                              const struct engine_output *second, int second_kept, bool specials,
                              enum engine_truncation truncation)
{
    struct engine_encoding *encoding = first->encoding;
    int edge = specials ? 1 : 0;
    int first_end = first_kept + 2 * edge, count = first_end;
    if (second)
        count += second_kept + edge;
    if (engine_encoding_reserve(encoding, count))
        return DISTIL_NO_MEMORY;
    encoding->count = count;
    if (count == 0) /* there may be no memory to write to */
        return DISTIL_OK;
    place(first, first_kept, edge, truncation);
    if (second)
        place(second, second_kept, first_end, truncation);
    memset(encoding->special, 0, (size_t)count);
    memset(encoding->types, 0, (size_t)first_end);
    memset(encoding->types + first_end, 1, (size_t)(count - first_end));
    if (specials) {
        put_special(encoding, 0, tokenizer->cls);
        put_special(encoding, first_end - 1, tokenizer->sep);
        if (second)
            put_special(encoding, count - 1, tokenizer->sep);
    }
    return DISTIL_OK;
}

/* Encodes the text or texts in full, or as far as they may be needed; second's base leaves the
 * first's tokens alone. */
static distil_status encode_texts(const struct engine_tokenizer *tokenizer, const char *text,
                                  size_t length, const char *pair, size_t pair_length,
                                  struct engine_output *first, struct engine_output *second,
                                  distil_error *error)
{
    distil_status status = engine_encode_text(tokenizer, (const uint8_t *)text, length, first);
    if (!status && pair) {
        second->base = first->base + (first->count < first->keep ? first->count : first->keep) + 1;
        status = engine_encode_text(tokenizer, (const uint8_t *)pair, pair_length, second);
    }
    if (status)
        return distil_fail(error, status, "out of memory for the tokens of a text of %zu bytes",
                           length + pair_length);
    return DISTIL_OK;
}

distil_status engine_encode(const struct engine_tokenizer *tokenizer, const char *text,
                            size_t length, const char *pair, size_t pair_length,
                            const struct engine_encode_options *options,
                            struct engine_encoding *encoding, distil_error *error)
{
    const int specials = options->no_special_tokens ? 0 : pair ? 3 : 2;
    const int room = options->window - specials;
    encoding->count = encoding->full_count = 0;
    encoding->truncated = false;
    if (options->window < 0 || room < 0)
        return distil_fail(error, DISTIL_INVALID,
                           "a window of %d tokens has no place for %d special tokens",
                           options->window, specials);
    if (length > TEXT_MAX || pair_length > TEXT_MAX)
        return distil_fail(error, DISTIL_TOO_LONG, "a text of %zu bytes, expected at most %zu",
                           length > pair_length ? length : pair_length, TEXT_MAX);

    struct engine_output first = {
        .encoding = encoding,
        .base = specials ? 1 : 0,
        .keep = options->truncation == ENGINE_TRUNCATE_LEFT ? INT_MAX : options->window};
    struct engine_output second = first;
    distil_status status =
        encode_texts(tokenizer, text, length, pair, pair ? pair_length : 0, &first, &second, error);
    if (status)
        return status;
    int first_kept = first.count, second_kept = second.count;
    encoding->full_count = first.count + second.count + specials;
    if (encoding->full_count > options->window) {
        if (options->truncation == ENGINE_TRUNCATE_NONE)
            return distil_fail(error, DISTIL_TOO_LONG, "the text has %d tokens, the window %d",
                               encoding->full_count, options->window);
        encoding->truncated = true;
        first_kept = room;
        if (pair)
            share(room, first.count, second.count, &first_kept, &second_kept);
    }
    status = assemble(tokenizer, &first, first_kept, pair ? &second : NULL, second_kept,
                      specials > 0, options->truncation);
    return status ? distil_fail(error, status, "out of memory for %d tokens", encoding->full_count)
                  : DISTIL_OK;
}

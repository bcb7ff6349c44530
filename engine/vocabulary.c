#include "engine/vocabulary.h"

#include <stdlib.h>

/* Slots that one look-up may pass. At a load under one half a run of this length means keys made to
 * collide. */
#define PROBES_MAX 512

distil_status engine_vocabulary_create(struct engine_vocabulary *vocabulary, size_t count,
                                       const char *text, distil_error *error)
{
    *vocabulary = (struct engine_vocabulary){0};
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    vocabulary->mask = slots - 1;
    vocabulary->limit = count;
    vocabulary->text = text;
    vocabulary->slots = calloc(slots, sizeof *vocabulary->slots);
    vocabulary->key = malloc(slots * sizeof *vocabulary->key);
    if (!vocabulary->slots || !vocabulary->key) {
        engine_vocabulary_free(vocabulary);
        return distil_fail(error, DISTIL_NO_MEMORY,
                           "tokenizer: out of memory for a vocabulary of %zu tokens", count);
    }
    return DISTIL_OK;
}

void engine_vocabulary_free(struct engine_vocabulary *vocabulary)
{
    if (!vocabulary)
        return;
    free(vocabulary->slots);
    free(vocabulary->key);
    *vocabulary = (struct engine_vocabulary){0};
}

enum engine_added engine_vocabulary_add(struct engine_vocabulary *vocabulary,
                                        enum engine_piece piece, size_t start, size_t length,
                                        int32_t id)
{
    if (vocabulary->used == vocabulary->limit || start > UINT32_MAX)
        return ENGINE_CROWDED;
    const char *bytes = vocabulary->text + start;
    uint32_t shape = (uint32_t)length << 1 | piece;
    uint64_t head = engine_load_head(bytes, length);
    uint64_t at = engine_hash(shape, head, bytes, length) & vocabulary->mask;
    for (int probes = 0; vocabulary->slots[at].shape; at = (at + 1) & vocabulary->mask) {
        const struct engine_slot *slot = &vocabulary->slots[at];
        if (slot->head == head && slot->shape == shape &&
            memcmp(vocabulary->text + vocabulary->key[at], bytes, length) == 0)
            return ENGINE_DUPLICATE;
        if (++probes == PROBES_MAX)
            return ENGINE_CROWDED;
    }
    vocabulary->slots[at] = (struct engine_slot){head, shape, id};
    vocabulary->key[at] = (uint32_t)start;
    vocabulary->used++;
    uint16_t *longest = &vocabulary->longest[piece][(uint8_t)bytes[0]];
    if (length > *longest)
        *longest = (uint16_t)length;
    return ENGINE_ADDED;
}

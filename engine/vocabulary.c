#include "engine/vocabulary.h"

#include <stdlib.h>

/* Slots that one look-up may pass. At a load under one half a run of this length means keys made to
 * collide. */
#define PROBES_MAX 512

distil_status engine_vocabulary_create(struct engine_vocabulary *vocabulary, size_t count,
                                       size_t bytes, distil_error *error)
{
    *vocabulary = (struct engine_vocabulary){0};
    if (count > (size_t)1 << 28 || bytes > UINT32_MAX - 8 * count - 64)
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "tokenizer: a vocabulary of %zu tokens in %zu bytes is too large", count,
                           bytes);
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    vocabulary->mask = slots - 1;
    vocabulary->limit = count;
    vocabulary->text_size = bytes + 8 * count + 8;
    vocabulary->slots = calloc(slots, sizeof *vocabulary->slots);
    vocabulary->key = calloc(slots, sizeof *vocabulary->key);
    vocabulary->text = malloc(vocabulary->text_size);
    if (!vocabulary->slots || !vocabulary->key || !vocabulary->text) {
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
    free(vocabulary->text);
    *vocabulary = (struct engine_vocabulary){0};
}

enum engine_added engine_vocabulary_add(struct engine_vocabulary *vocabulary,
                                        enum engine_piece piece, const char *bytes, size_t length,
                                        int32_t id)
{
    size_t padded = (length + 7) & ~(size_t)7;
    if (vocabulary->used == vocabulary->limit ||
        padded > vocabulary->text_size - vocabulary->text_used)
        return ENGINE_CROWDED;
    char *key = vocabulary->text + vocabulary->text_used;
    memset(key + padded - 8, 0, 8);
    memcpy(key, bytes, length);

    uint32_t shape = (uint32_t)length << 1 | piece;
    uint64_t head = engine_load64(key);
    uint64_t hash = engine_hash_step(shape, head);
    for (size_t i = 8; i < padded; i += 8)
        hash = engine_hash_step(hash, engine_load64(key + i));
    uint64_t at = hash & vocabulary->mask;
    for (int probes = 0; vocabulary->slots[at].shape; at = (at + 1) & vocabulary->mask) {
        const struct engine_slot *slot = &vocabulary->slots[at];
        if (slot->head == head && slot->shape == shape &&
            memcmp(vocabulary->text + vocabulary->key[at], key, padded) == 0)
            return ENGINE_DUPLICATE;
        if (++probes == PROBES_MAX)
            return ENGINE_CROWDED;
    }
    vocabulary->slots[at] = (struct engine_slot){head, shape, id};
    vocabulary->key[at] = (uint32_t)vocabulary->text_used;
    vocabulary->text_used += padded;
    vocabulary->used++;
    uint16_t *longest = &vocabulary->longest[piece][(uint8_t)bytes[0]];
    if (length > *longest)
        *longest = (uint16_t)length;
    return ENGINE_ADDED;
}

/* vocabulary.h: strings to ids, for words, for their continuations and for added tokens. */
#ifndef ENGINE_VOCABULARY_H
#define ENGINE_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "weights/distil_status.h"

/* A string at the start of a word, and one that continues a word, are different keys. */
enum engine_piece { ENGINE_PIECE_START, ENGINE_PIECE_CONTINUE };

/* Most bytes of a key: no piece of a word may be longer. */
#define ENGINE_PIECE_MAX 4096
/* Bytes that must be readable after a key that is looked up. */
#define ENGINE_PIECE_SLACK 8

/* head holds the first 8 bytes, zero-padded, so that most look-ups end in one cache line. */
struct engine_slot {
    uint64_t head;
    uint32_t shape; /* length << 1 | piece; 0 for a free slot: no key is empty */
    int32_t id;
};

struct engine_vocabulary {
    struct engine_slot *slots; /* (mask + 1), a power of two, open addressing */
    uint64_t mask;
    size_t limit, used;
    const char
        *text; /* of the owner: holds every key, ENGINE_PIECE_SLACK readable bytes after the last */
    uint32_t *key;            /* (mask + 1): where the key of a slot starts in text */
    uint16_t longest[2][256]; /* bytes of the longest key by piece and first byte */
};

/* Makes room for count keys, which are all to be parts of text. */
distil_status engine_vocabulary_create(struct engine_vocabulary *vocabulary, size_t count,
                                       const char *text, distil_error *error);
void engine_vocabulary_free(struct engine_vocabulary *vocabulary);

enum engine_added { ENGINE_ADDED, ENGINE_DUPLICATE, ENGINE_CROWDED };
/* Adds the key text[start, start + length), 1 to ENGINE_PIECE_MAX bytes. DUPLICATE: it is there
 * already. CROWDED: too many keys collide. */
enum engine_added engine_vocabulary_add(struct engine_vocabulary *vocabulary,
                                        enum engine_piece piece, size_t start, size_t length,
                                        int32_t id);

static inline uint64_t engine_load64(const void *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* The first length bytes, at most 8, as a number; the rest zero. Little and big endian agree with
 * engine_load64. */
static inline uint64_t engine_load_head(const void *bytes, size_t length)
{
    uint64_t value = engine_load64(bytes);
    if (length >= 8)
        return value;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return value & ~(UINT64_MAX >> (8 * length));
#else
    return value & (((uint64_t)1 << (8 * length)) - 1);
#endif
}

static inline uint64_t engine_hash_step(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 32);
}

static inline uint64_t engine_hash(uint32_t shape, uint64_t head, const char *bytes, size_t length)
{
    uint64_t hash = engine_hash_step(shape, head);
    for (size_t i = 8; i < length; i += 8)
        hash = engine_hash_step(hash, engine_load_head(bytes + i, length - i));
    return hash;
}

/* -1 where there is none. length >= 1; ENGINE_PIECE_SLACK bytes after the key must be readable. */
static inline int32_t engine_vocabulary_find(const struct engine_vocabulary *vocabulary,
                                             enum engine_piece piece, const char *bytes,
                                             size_t length)
{
    uint32_t shape = (uint32_t)length << 1 | piece;
    uint64_t head = engine_load_head(bytes, length);
    uint64_t hash = engine_hash(shape, head, bytes, length);
    for (uint64_t at = hash & vocabulary->mask;; at = (at + 1) & vocabulary->mask) {
        const struct engine_slot *slot = &vocabulary->slots[at];
        if (slot->head == head && slot->shape == shape &&
            (length <= 8 ||
             memcmp(vocabulary->text + vocabulary->key[at] + 8, bytes + 8, length - 8) == 0))
            return slot->id;
        if (!slot->shape)
            return -1;
    }
}

#endif

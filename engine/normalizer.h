/* normalizer.h: BertNormalizer and BertPreTokenizer, one character at a time. */
#ifndef ENGINE_NORMALIZER_H
#define ENGINE_NORMALIZER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/unicode.h"
#include "weights/distil_status.h"

/* What a character becomes. */
enum engine_class {
    ENGINE_LETTER,      /* one character of a word */
    ENGINE_SPACE,       /* ends a word */
    ENGINE_PUNCTUATION, /* one character, a word of its own */
    ENGINE_CHINESE,     /* the same, with spaces around it */
    ENGINE_DROP,        /* nothing */
    ENGINE_EXPAND,      /* several characters, see engine_normalizer_expand */
    ENGINE_REORDER      /* leaves a combining character, which canonical order may move */
};

/* A character's fate in one number: bits 0-20 the character it becomes, then: */
#define ENGINE_FATE_CHARACTER 0x1FFFFFu
#define ENGINE_FATE_CLASS_SHIFT 21
#define ENGINE_FATE_STARTER 0x1000000u /* canonical order moves nothing across it */
#define ENGINE_FATE_CLEANED 0x2000000u /* removed before the text is decomposed */
#define ENGINE_FATE_KNOWN 0x4000000u

struct engine_normalizer {
    bool clean_text, chinese_chars, strip_accents, lowercase;
    /* The fate of each code point, 0 until it is first asked for. The value is a function of the
     * code point alone, so threads that fill the same entry store the same number. Pages that no
     * text touches take no memory. */
    _Atomic uint32_t *fates;   /* (ENGINE_UNICODE_COUNT) */
    uint8_t ascii_class[256];  /* ENGINE_LETTER, SPACE, PUNCTUATION, or DROP for all that needs a
                                  closer look */
    uint8_t ascii_letter[256]; /* what an ASCII letter becomes */
};

distil_status engine_normalizer_create(struct engine_normalizer *normalizer, bool clean_text,
                                       bool chinese_chars, bool strip_accents, bool lowercase,
                                       distil_error *error);
void engine_normalizer_free(struct engine_normalizer *normalizer);

uint32_t engine_normalizer_compute(const struct engine_normalizer *normalizer, uint32_t cp);

static inline uint32_t engine_normalizer_fate(const struct engine_normalizer *normalizer,
                                              uint32_t cp)
{
    uint32_t fate = atomic_load_explicit(&normalizer->fates[cp], memory_order_relaxed);
    return fate ? fate : engine_normalizer_compute(normalizer, cp);
}

static inline enum engine_class engine_fate_class(uint32_t fate)
{
    return (enum engine_class)(fate >> ENGINE_FATE_CLASS_SHIFT & 7);
}

/* One character of normalised text, and the character of the text that it stands for. */
struct engine_normal {
    uint32_t cp;
    int32_t source;
    uint8_t class_; /* ENGINE_LETTER, SPACE, PUNCTUATION or CHINESE */
};

#define ENGINE_EXPANSION_MAX (2 * ENGINE_DECOMPOSITION_MAX)
/* All characters that cp becomes, in order, without regard to its neighbours. Returns their number.
 */
int engine_normalizer_expand(const struct engine_normalizer *normalizer, uint32_t cp,
                             int32_t source, struct engine_normal out[ENGINE_EXPANSION_MAX]);

/* Memory that a run of combining characters is put into canonical order in. Zero-initialise. */
struct engine_reorder {
    struct engine_combining *items, *sorted;
    int32_t *sources;
    size_t capacity;
};
void engine_reorder_free(struct engine_reorder *reorder);

/* Receives normalised characters. */
typedef distil_status engine_normal_sink(void *context, const struct engine_normal *normal);

/* Normalises from *position, character number *source, which follows a starter, to the end of the
 * run of combining characters that holds the one at trigger, moving both on. */
distil_status engine_normalizer_reorder(const struct engine_normalizer *normalizer,
                                        struct engine_reorder *reorder, const uint8_t *text,
                                        size_t length, size_t trigger, size_t *position,
                                        int32_t *source, engine_normal_sink *sink, void *context);

#endif

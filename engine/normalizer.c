#include "engine/normalizer.h"

#include <stdlib.h>
#include <string.h>

static uint32_t make_fate(enum engine_class class_, uint32_t cp, uint32_t flags)
{
    return cp | (uint32_t)class_ << ENGINE_FATE_CLASS_SHIFT | flags | ENGINE_FATE_KNOWN;
}

static enum engine_class classify(uint32_t cp)
{
    return engine_unicode_space(cp)         ? ENGINE_SPACE
           : engine_unicode_punctuation(cp) ? ENGINE_PUNCTUATION
                                            : ENGINE_LETTER;
}

/* clean_text: false where cp is removed; white space becomes a space. */
static bool clean(const struct engine_normalizer *normalizer, uint32_t *cp)
{
    if (!normalizer->clean_text)
        return true;
    bool kept_control = *cp == '\t' || *cp == '\n' || *cp == '\r';
    if (*cp == 0 || *cp == ENGINE_REPLACEMENT || (!kept_control && engine_unicode_other(*cp)))
        return false;
    if (engine_unicode_space(*cp))
        *cp = ' ';
    return true;
}

/* Writes cp in lower case, where that is asked for, and classified. */
static int finish(const struct engine_normalizer *normalizer, uint32_t cp, int32_t source,
                  bool chinese, struct engine_normal *out)
{
    uint32_t lower[2] = {cp, 0};
    int count = normalizer->lowercase ? engine_unicode_lower(cp, lower) : 1;
    for (int i = 0; i < count; i++)
        out[i] = (struct engine_normal){lower[i], source,
                                        (uint8_t)(chinese ? ENGINE_CHINESE : classify(lower[i]))};
    return count;
}

int engine_normalizer_expand(const struct engine_normalizer *normalizer, uint32_t cp,
                             int32_t source, struct engine_normal out[ENGINE_EXPANSION_MAX])
{
    if (!clean(normalizer, &cp))
        return 0;
    bool chinese = normalizer->chinese_chars && engine_unicode_chinese(cp);
    if (!normalizer->strip_accents)
        return finish(normalizer, cp, source, chinese, out);
    uint32_t parts[ENGINE_DECOMPOSITION_MAX];
    int part_count = engine_unicode_decompose(cp, parts), count = 0;
    for (int i = 0; i < part_count; i++)
        if (!engine_unicode_mark(parts[i]))
            count += finish(normalizer, parts[i], source, chinese, out + count);
    return count;
}

uint32_t engine_normalizer_compute(const struct engine_normalizer *normalizer, uint32_t cp)
{
    struct engine_normal out[ENGINE_EXPANSION_MAX];
    int count = engine_normalizer_expand(normalizer, cp, 0, out);
    uint32_t cleaned = cp, flags = ENGINE_FATE_STARTER, fate;
    bool reorder = false;
    if (!clean(normalizer, &cleaned)) {
        flags = ENGINE_FATE_CLEANED;
    } else if (normalizer->strip_accents) {
        uint32_t parts[ENGINE_DECOMPOSITION_MAX];
        int part_count = engine_unicode_decompose(cleaned, parts);
        if (engine_unicode_combining(parts[0]))
            flags = 0;
        for (int i = 0; i < part_count; i++)
            reorder |= engine_unicode_combining(parts[i]) && !engine_unicode_mark(parts[i]);
    }
    if (reorder)
        fate = make_fate(ENGINE_REORDER, cp, flags);
    else if (count == 0)
        fate = make_fate(ENGINE_DROP, cp, flags);
    else if (count == 1)
        fate = make_fate((enum engine_class)out[0].class_, out[0].cp, flags);
    else
        fate = make_fate(ENGINE_EXPAND, cp, flags);
    atomic_store_explicit(&normalizer->fates[cp], fate, memory_order_relaxed);
    return fate;
}

distil_status engine_normalizer_create(struct engine_normalizer *normalizer, bool clean_text,
                                       bool chinese_chars, bool strip_accents, bool lowercase,
                                       distil_error *error)
{
    *normalizer = (struct engine_normalizer){.clean_text = clean_text,
                                             .chinese_chars = chinese_chars,
                                             .strip_accents = strip_accents,
                                             .lowercase = lowercase};
    normalizer->fates = calloc(ENGINE_UNICODE_COUNT, sizeof *normalizer->fates);
    if (!normalizer->fates)
        return distil_fail(error, DISTIL_NO_MEMORY,
                           "tokenizer: out of memory for the table of characters");
    memset(normalizer->ascii_class, ENGINE_DROP, sizeof normalizer->ascii_class);
    for (uint32_t cp = 0; cp < 0x80; cp++) {
        uint32_t fate = engine_normalizer_fate(normalizer, cp);
        normalizer->ascii_class[cp] = (uint8_t)engine_fate_class(fate);
        normalizer->ascii_letter[cp] = (uint8_t)(fate & ENGINE_FATE_CHARACTER);
    }
    return DISTIL_OK;
}

void engine_normalizer_free(struct engine_normalizer *normalizer)
{
    if (!normalizer)
        return;
    free(normalizer->fates);
    normalizer->fates = NULL;
}

/* One character of a decomposed run. */
struct engine_combining {
    uint32_t cp;
    uint8_t combining;
    bool added; /* not the first of its decomposition: takes no character of the text */
};

/* The run being read. */
struct run {
    struct engine_reorder *reorder;
    size_t count, source_count;
    int32_t last; /* character of the text that was consumed last */
};

void engine_reorder_free(struct engine_reorder *reorder)
{
    if (!reorder)
        return;
    free(reorder->items);
    free(reorder->sorted);
    free(reorder->sources);
    *reorder = (struct engine_reorder){0};
}

static distil_status grow(struct engine_reorder *reorder)
{
    size_t capacity = reorder->capacity ? 2 * reorder->capacity : 64;
    void *items = realloc(reorder->items, capacity * sizeof *reorder->items);
    reorder->items = items ? items : reorder->items;
    void *sorted = realloc(reorder->sorted, capacity * sizeof *reorder->sorted);
    reorder->sorted = sorted ? sorted : reorder->sorted;
    void *sources = realloc(reorder->sources, capacity * sizeof *reorder->sources);
    reorder->sources = sources ? sources : reorder->sources;
    if (!items || !sorted || !sources)
        return DISTIL_NO_MEMORY;
    reorder->capacity = capacity;
    return DISTIL_OK;
}

static distil_status append(struct run *run, struct engine_combining item, int32_t source)
{
    if (run->count == run->reorder->capacity && grow(run->reorder))
        return DISTIL_NO_MEMORY;
    run->reorder->items[run->count++] = item;
    if (!item.added)
        run->reorder->sources[run->source_count++] = source;
    return DISTIL_OK;
}

/* Stable counting sort by combining class: a flood of marks takes linear time. */
static void sort_run(const struct run *run)
{
    size_t starts[256] = {0}, start = 0;
    for (size_t i = 0; i < run->count; i++)
        starts[run->reorder->items[i].combining]++;
    for (int i = 0; i < 256; i++) {
        size_t n = starts[i];
        starts[i] = start;
        start += n;
    }
    for (size_t i = 0; i < run->count; i++)
        run->reorder->sorted[starts[run->reorder->items[i].combining]++] = run->reorder->items[i];
}

static distil_status emit(const struct engine_normalizer *normalizer, uint32_t cp, int32_t source,
                          engine_normal_sink *sink, void *context)
{
    if (engine_unicode_mark(cp))
        return DISTIL_OK;
    struct engine_normal out[2];
    int count = finish(normalizer, cp, source, false, out);
    distil_status status = DISTIL_OK;
    for (int i = 0; i < count && !status; i++)
        status = sink(context, &out[i]);
    return status;
}

/* Emits the run in canonical order. `tokenizers` moves characters but hands out their places in the
 * text in reading order: a character takes the next place, one that its decomposition added keeps
 * the place of the one before. */
static distil_status flush(const struct engine_normalizer *normalizer, struct run *run,
                           engine_normal_sink *sink, void *context)
{
    size_t next = 0;
    distil_status status = DISTIL_OK;
    sort_run(run);
    for (size_t i = 0; i < run->count && !status; i++) {
        const struct engine_combining *item = &run->reorder->sorted[i];
        if (!item->added)
            run->last = run->reorder->sources[next++];
        status = emit(normalizer, item->cp, run->last, sink, context);
    }
    run->count = run->source_count = 0;
    return status;
}

distil_status engine_normalizer_reorder(const struct engine_normalizer *normalizer,
                                        struct engine_reorder *reorder, const uint8_t *text,
                                        size_t length, size_t trigger, size_t *position,
                                        int32_t *source, engine_normal_sink *sink, void *context)
{
    struct run run = {.reorder = reorder, .last = *source};
    distil_status status = DISTIL_OK;
    while (*position < length && !status) {
        uint32_t cp, parts[ENGINE_DECOMPOSITION_MAX];
        size_t size = engine_utf8_decode(text + *position, length - *position, &cp);
        if (clean(normalizer, &cp)) {
            int part_count = engine_unicode_decompose(cp, parts);
            if (*position > trigger && engine_unicode_combining(parts[0]) == 0)
                break;
            for (int i = 0; i < part_count && !status; i++) {
                struct engine_combining item = {parts[i],
                                                (uint8_t)engine_unicode_combining(parts[i]), i > 0};
                if (item.combining) {
                    status = append(&run, item, *source);
                    continue;
                }
                status = flush(normalizer, &run, sink, context);
                if (!item.added)
                    run.last = *source;
                if (!status)
                    status = emit(normalizer, item.cp, run.last, sink, context);
            }
        }
        *position += size;
        ++*source;
    }
    return status ? status : flush(normalizer, &run, sink, context);
}

/* encode.c: from a text to the pieces of its words. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer_private.h"

/* Kept from call to call in an encoding, up to this many bytes. */
#define SCRATCH_KEPT_MAX ((size_t)1 << 20)

struct scratch {
    struct engine_reorder reorder;
    struct engine_normal_text normal; /* of texts that are searched for normalised added tokens */
    struct engine_normal_text word;   /* the word that is being gathered */
};

struct encoder {
    const struct engine_tokenizer *tokenizer;
    const uint8_t *text;
    size_t length;
    int32_t character; /* number of the character that is read next */
    struct scratch *scratch;
    struct engine_normal_text *word;
    int word_characters;
    int32_t word_first, word_last; /* characters of the text */
    struct engine_output *output;
};

void engine_normal_text_free(struct engine_normal_text *text)
{
    if (!text)
        return;
    free(text->bytes);
    free(text->sources);
    *text = (struct engine_normal_text){0};
}

static distil_status grow_normal(struct engine_normal_text *text, size_t length)
{
    if (length + ENGINE_PIECE_SLACK <= text->capacity)
        return DISTIL_OK;
    size_t capacity = 2 * length + 64;
    char *bytes = realloc(text->bytes, capacity);
    if (!bytes)
        return DISTIL_NO_MEMORY;
    text->bytes = bytes;
    int32_t *sources = realloc(text->sources, capacity * sizeof *sources);
    if (!sources)
        return DISTIL_NO_MEMORY;
    text->sources = sources;
    text->capacity = capacity;
    return DISTIL_OK;
}

static distil_status append_character(struct engine_normal_text *text, uint32_t cp, int32_t source)
{
    if (text->length + ENGINE_UTF8_MAX + ENGINE_PIECE_SLACK > text->capacity &&
        grow_normal(text, text->length + ENGINE_UTF8_MAX))
        return DISTIL_NO_MEMORY;
    size_t size = engine_utf8_encode(cp, (uint8_t *)text->bytes + text->length);
    for (size_t i = 0; i < size; i++)
        text->sources[text->length + i] = source;
    text->length += size;
    return DISTIL_OK;
}

static distil_status append_normal(void *context, const struct engine_normal *normal)
{
    struct engine_normal_text *text = context;
    bool chinese = normal->class_ == ENGINE_CHINESE;
    distil_status status = chinese ? append_character(text, ' ', normal->source) : DISTIL_OK;
    if (!status)
        status = append_character(text, normal->cp, normal->source);
    if (!status && chinese)
        status = append_character(text, ' ', normal->source);
    return status;
}

distil_status engine_normalize_text(const struct engine_normalizer *normalizer,
                                    struct engine_reorder *reorder, const uint8_t *text,
                                    size_t length, int32_t *source, struct engine_normal_text *out)
{
    size_t run = 0; /* just after the last starter */
    int32_t run_source = *source;
    distil_status status = DISTIL_OK;
    for (size_t at = 0; at < length && !status;) {
        uint32_t cp;
        size_t next = at + engine_utf8_decode(text + at, length - at, &cp);
        uint32_t fate = engine_normalizer_fate(normalizer, cp);
        if (engine_fate_class(fate) == ENGINE_REORDER) {
            status = engine_normalizer_reorder(normalizer, reorder, text, length, at, &run,
                                               &run_source, append_normal, out);
            at = run;
            *source = run_source;
            continue;
        }
        struct engine_normal normal[ENGINE_EXPANSION_MAX];
        int count = engine_normalizer_expand(normalizer, cp, *source, normal);
        for (int i = 0; i < count && !status; i++)
            status = append_normal(out, &normal[i]);
        at = next;
        ++*source;
        if (fate & ENGINE_FATE_STARTER) {
            run = at;
            run_source = *source;
        }
    }
    /* The look-ups of a key read a little past it. */
    if (!status)
        status = grow_normal(out, out->length);
    return status;
}

/* Ends the word that is being gathered, if there is one. */
static void end_word(struct encoder *encoder)
{
    const struct engine_tokenizer *tokenizer = encoder->tokenizer;
    if (encoder->word_characters == 0)
        return;
    if (encoder->word_characters > tokenizer->max_word_characters) {
        engine_output_push(encoder->output, tokenizer->unk, encoder->word_first,
                           encoder->word_last + 1);
    } else {
        struct engine_word word = {encoder->word->bytes, encoder->word->length,
                                   encoder->word->sources, 0};
        engine_wordpiece(tokenizer, &word, encoder->output);
    }
    encoder->word_characters = 0;
    encoder->word->length = 0;
}

static distil_status add_letter(struct encoder *encoder, uint32_t cp, int32_t source)
{
    if (encoder->word_characters == 0)
        encoder->word_first = source;
    encoder->word_last = source;
    /* One more than the longest word that is looked up says enough. */
    if (encoder->word_characters > encoder->tokenizer->max_word_characters)
        return DISTIL_OK;
    encoder->word_characters++;
    return append_character(encoder->word, cp, source);
}

static distil_status accept(void *context, const struct engine_normal *normal)
{
    struct encoder *encoder = context;
    if (normal->class_ == ENGINE_LETTER)
        return add_letter(encoder, normal->cp, normal->source);
    end_word(encoder);
    if (normal->class_ == ENGINE_SPACE)
        return DISTIL_OK;
    distil_status status = add_letter(encoder, normal->cp, normal->source);
    end_word(encoder);
    return status;
}

static bool ascii_boundary(const struct engine_tokenizer *tokenizer, uint8_t byte)
{
    uint8_t class_ = tokenizer->normalizer.ascii_class[byte];
    return class_ == ENGINE_SPACE || class_ == ENGINE_PUNCTUATION;
}

/* Encodes text[*at, stop) character by character as far as the next ASCII space or punctuation, and
 * moves *at there. */
static distil_status encode_characters(struct encoder *encoder, size_t *at, size_t stop)
{
    const struct engine_normalizer *normalizer = &encoder->tokenizer->normalizer;
    size_t run = *at; /* just after the last starter: what stands before is ASCII, an added token or
                         nothing */
    int32_t run_character = encoder->character;
    distil_status status = DISTIL_OK;
    while (*at < stop && !status && !ascii_boundary(encoder->tokenizer, encoder->text[*at])) {
        uint32_t cp;
        size_t size = engine_utf8_decode(encoder->text + *at, stop - *at, &cp);
        uint32_t fate = engine_normalizer_fate(normalizer, cp);
        enum engine_class class_ = engine_fate_class(fate);
        if (class_ == ENGINE_LETTER) {
            status = add_letter(encoder, fate & ENGINE_FATE_CHARACTER, encoder->character);
        } else if (class_ == ENGINE_REORDER) {
            status =
                engine_normalizer_reorder(normalizer, &encoder->scratch->reorder, encoder->text,
                                          stop, *at, &run, &run_character, accept, encoder);
            *at = run;
            encoder->character = run_character;
            continue;
        } else if (class_ == ENGINE_EXPAND) {
            struct engine_normal normal[ENGINE_EXPANSION_MAX];
            int count = engine_normalizer_expand(normalizer, cp, encoder->character, normal);
            for (int i = 0; i < count && !status; i++)
                status = accept(encoder, &normal[i]);
        } else if (class_ != ENGINE_DROP) {
            struct engine_normal normal = {fate & ENGINE_FATE_CHARACTER, encoder->character,
                                           (uint8_t)class_};
            status = accept(encoder, &normal);
        }
        *at += size;
        encoder->character++;
        if (fate & ENGINE_FATE_STARTER) {
            run = *at;
            run_character = encoder->character;
        }
    }
    end_word(encoder);
    return status;
}

/* Encodes the word of ASCII letters at text[at]: its length; 0 where it goes on with something
 * else. */
static size_t encode_ascii_word(struct encoder *encoder, size_t at, size_t stop)
{
    const struct engine_tokenizer *tokenizer = encoder->tokenizer;
    const struct engine_normalizer *normalizer = &tokenizer->normalizer;
    const uint8_t *text = encoder->text + at;
    char *word = encoder->word->bytes;
    size_t left = stop - at, most = (size_t)tokenizer->max_word_characters, n = 0;
    size_t room = left < most ? left : most;
    while (n < room && normalizer->ascii_class[text[n]] == ENGINE_LETTER) {
        word[n] = (char)normalizer->ascii_letter[text[n]];
        n++;
    }
    size_t stored = n;
    while (n < left && normalizer->ascii_class[text[n]] == ENGINE_LETTER)
        n++;
    if (n < left && !ascii_boundary(tokenizer, text[n]))
        return 0;
    if (n > stored) {
        engine_output_push(encoder->output, tokenizer->unk, encoder->character,
                           encoder->character + (int32_t)n);
    } else {
        struct engine_word piece = {word, n, NULL, encoder->character};
        engine_wordpiece(tokenizer, &piece, encoder->output);
    }
    return n;
}

/* Encodes text[at, stop), which holds no added token of the raw kind. */
static distil_status encode_span(struct encoder *encoder, size_t at, size_t stop)
{
    const struct engine_normalizer *normalizer = &encoder->tokenizer->normalizer;
    distil_status status = DISTIL_OK;
    while (at < stop && !status) {
        uint8_t byte = encoder->text[at], class_ = normalizer->ascii_class[byte];
        size_t n = 1;
        if (class_ == ENGINE_LETTER) {
            n = encode_ascii_word(encoder, at, stop);
        } else if (class_ == ENGINE_PUNCTUATION) {
            engine_output_push(encoder->output, encoder->tokenizer->ascii_token[byte],
                               encoder->character, encoder->character + 1);
        } else if (class_ != ENGINE_SPACE) {
            n = 0;
        }
        if (n == 0)
            status = encode_characters(encoder, &at, stop);
        at += n;
        encoder->character += (int32_t)n;
    }
    return status;
}

/* Encodes text[start, stop) of normalised text. */
static void encode_normal(struct encoder *encoder, const struct engine_normal_text *normal,
                          size_t start, size_t stop)
{
    const struct engine_tokenizer *tokenizer = encoder->tokenizer;
    const uint8_t *bytes = (const uint8_t *)normal->bytes;
    size_t word = start, next;
    int characters = 0;
    for (size_t at = start; at <= stop; at = next) {
        uint32_t cp = ' ';
        next = at < stop ? at + engine_utf8_decode(bytes + at, stop - at, &cp) : at + 1;
        bool space = engine_unicode_space(cp), punctuation = engine_unicode_punctuation(cp);
        if (!space && !punctuation) {
            characters++;
            continue;
        }
        if (characters > tokenizer->max_word_characters) {
            engine_output_push(encoder->output, tokenizer->unk, normal->sources[word],
                               normal->sources[at - 1] + 1);
        } else if (characters) {
            struct engine_word piece = {normal->bytes + word, at - word, normal->sources + word, 0};
            engine_wordpiece(tokenizer, &piece, encoder->output);
        }
        if (punctuation) {
            struct engine_word piece = {normal->bytes + at, next - at, normal->sources + at, 0};
            engine_wordpiece(tokenizer, &piece, encoder->output);
        }
        word = next;
        characters = 0;
    }
}

/* encode_span where there are added tokens of the normalised kind. */
static distil_status encode_normalized_span(struct encoder *encoder, size_t start, size_t stop)
{
    struct engine_normal_text *normal = &encoder->scratch->normal;
    normal->length = 0;
    distil_status status =
        engine_normalize_text(&encoder->tokenizer->normalizer, &encoder->scratch->reorder,
                              encoder->text + start, stop - start, &encoder->character, normal);
    if (status)
        return status;
    struct engine_splitter splitter = {.added = &encoder->tokenizer->normalized,
                                       .text = (const uint8_t *)normal->bytes,
                                       .length = normal->length};
    struct engine_split split;
    while (engine_splitter_next(&splitter, &split)) {
        if (split.id < 0)
            encode_normal(encoder, normal, split.start, split.stop);
        else
            engine_output_push(encoder->output, split.id, normal->sources[split.start],
                               normal->sources[split.stop - 1] + 1);
    }
    return DISTIL_OK;
}

/* Encodes everything between the added tokens of the raw kind, and these. */
static distil_status encode_all(struct encoder *encoder)
{
    const struct engine_tokenizer *tokenizer = encoder->tokenizer;
    struct engine_splitter splitter = {
        .added = &tokenizer->raw, .text = encoder->text, .length = encoder->length};
    struct engine_split split;
    size_t done = 0;
    distil_status status = DISTIL_OK;
    while (!status && engine_splitter_next(&splitter, &split)) {
        if (split.id >= 0) {
            if (split.start < done) /* reaches back into white space that an rstrip took */
                encoder->character -=
                    (int32_t)engine_utf8_count(encoder->text + split.start, done - split.start);
            int32_t first = encoder->character;
            encoder->character +=
                (int32_t)engine_utf8_count(encoder->text + split.start, split.stop - split.start);
            engine_output_push(encoder->output, split.id, first, encoder->character);
        } else if (tokenizer->normalized.count) {
            status = encode_normalized_span(encoder, split.start, split.stop);
        } else {
            status = encode_span(encoder, split.start, split.stop);
        }
        done = split.stop;
    }
    return status;
}

distil_status engine_encode_text(const struct engine_tokenizer *tokenizer, const uint8_t *text,
                                 size_t length, struct engine_output *output)
{
    struct engine_encoding *encoding = output->encoding;
    if (!encoding->scratch) {
        encoding->scratch = calloc(1, sizeof(struct scratch));
        if (!encoding->scratch)
            return DISTIL_NO_MEMORY;
        encoding->scratch_size = sizeof(struct scratch);
    }
    struct scratch *scratch = encoding->scratch;
    struct encoder encoder = {.tokenizer = tokenizer,
                              .text = text,
                              .length = length,
                              .scratch = scratch,
                              .word = &scratch->word,
                              .output = output};
    scratch->word.length = 0;
    if (grow_normal(&scratch->word, ENGINE_UTF8_MAX * ((size_t)tokenizer->max_word_characters + 2)))
        return DISTIL_NO_MEMORY;
    distil_status status = encode_all(&encoder);
    /* A giant text must not hold its memory for ever. */
    if (scratch->normal.capacity > SCRATCH_KEPT_MAX)
        engine_normal_text_free(&scratch->normal);
    if (scratch->reorder.capacity > SCRATCH_KEPT_MAX / 32)
        engine_reorder_free(&scratch->reorder);
    return status ? status : output->out_of_memory ? DISTIL_NO_MEMORY : DISTIL_OK;
}

void engine_scratch_free(struct engine_encoding *encoding)
{
    struct scratch *scratch = encoding->scratch;
    if (!scratch)
        return;
    engine_reorder_free(&scratch->reorder);
    engine_normal_text_free(&scratch->normal);
    engine_normal_text_free(&scratch->word);
    free(scratch);
    encoding->scratch = NULL;
    encoding->scratch_size = 0;
}

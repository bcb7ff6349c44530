/* tokenizer_fixture.c: see tokenizer_fixture.h. */
#include "tests/engine/tokenizer_fixture.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char *const vocabulary[COUNT] = {
    [PAD] = "[PAD]",    [UNK] = "[UNK]",   [CLS] = "[CLS]",     [SEP] = "[SEP]",
    [MASK] = "[MASK]",  [THE] = "the",     [UN] = "un",         [AFF] = "##aff",
    [ABLE] = "##able",  [CAFE] = "cafe",   [COMMA] = ",",       [DOT] = ".",
    [ZHONG] = "\u4e2d", [A] = "a",         [CA] = "##a",        [E_ACUTE] = "\u00e9",
    [SS] = "\u00df",    [ONE] = "one",     [TWO] = "two",       [DOG] = "dog",
    [NEW] = "new",      [OUTER] = "outer", [I] = "i",           [DOT_ABOVE] = "##\u0307",
    [KELVIN] = "k",     [ANGER] = "anger", [SPACED] = "big cat"};

static struct weights_added_token special_tokens[] = {
    {.content = (char[]){"[PAD]"}, .id = PAD, .special = true},
    {.content = (char[]){"[UNK]"}, .id = UNK, .special = true},
    {.content = (char[]){"[CLS]"}, .id = CLS, .special = true},
    {.content = (char[]){"[SEP]"}, .id = SEP, .special = true},
    {.content = (char[]){"[MASK]"}, .id = MASK, .special = true, .lstrip = true}};

struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof *f);
    ck_assert_ptr_nonnull(f);
    memcpy(f->tokens, vocabulary, sizeof vocabulary);
    memcpy(f->added, special_tokens, sizeof special_tokens);
    memcpy(f->prefix, "##", 3);
    f->spec = (struct weights_tokenizer){.count = COUNT,
                                         .tokens = f->tokens,
                                         .added_count = 5,
                                         .added = f->added,
                                         .clean_text = true,
                                         .chinese_chars = true,
                                         .lowercase = true,
                                         .strip_accents = true,
                                         .prefix = f->prefix,
                                         .max_word_characters = 100,
                                         .unk = UNK,
                                         .cls = CLS,
                                         .sep = SEP,
                                         .pad = PAD,
                                         .mask = MASK};
    return f;
}

void fixture_free(struct fixture *f)
{
    engine_tokenizer_free(f->tokenizer);
    engine_encoding_free(&f->encoding);
    free(f);
}

void create(struct fixture *f)
{
    engine_tokenizer_free(f->tokenizer);
    ck_assert_msg(engine_tokenizer_create(&f->tokenizer, &f->spec, &f->error) == DISTIL_OK, "%s",
                  f->error.message);
}

void add_token(struct fixture *f, char *content, int id, struct weights_added_token flags)
{
    flags.content = content;
    flags.id = id;
    f->added[f->spec.added_count++] = flags;
}

distil_status encode(struct fixture *f, const char *text, size_t length, const char *pair,
                     int window, enum engine_truncation truncation)
{
    struct engine_encode_options options = {.window = window, .truncation = truncation};
    return engine_encode(f->tokenizer, text, length, pair, pair ? strlen(pair) : 0, &options,
                         &f->encoding, &f->error);
}

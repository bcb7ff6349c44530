/* test_tokenizer.c: the rules of the tokenizer one by one, on a small vocabulary, and bad input. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/tokenizer.h"
#include "tests/suite.h"

enum {
    PAD,
    UNK,
    CLS,
    SEP,
    MASK,
    THE,
    UN,
    AFF,
    ABLE,
    CAFE,
    COMMA,
    DOT,
    ZHONG,
    A,
    CA,
    E_ACUTE,
    SS,
    ONE,
    TWO,
    DOG,
    NEW,
    OUTER,
    I,
    DOT_ABOVE,
    KELVIN,
    ANGER,
    SPACED,
    COUNT
};

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

/* A specification that a test may change. */
struct fixture {
    struct weights_tokenizer spec;
    const char *tokens[COUNT + 1];
    struct weights_added_token added[8];
    char prefix[8];
    struct engine_tokenizer *tokenizer;
    struct engine_encoding encoding;
    distil_error error;
};
static struct fixture *f;

static void setup(void)
{
    f = calloc(1, sizeof *f);
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
}

static void teardown(void)
{
    engine_tokenizer_free(f->tokenizer);
    engine_encoding_free(&f->encoding);
    free(f);
}

static void create(void)
{
    engine_tokenizer_free(f->tokenizer);
    ck_assert_msg(engine_tokenizer_create(&f->tokenizer, &f->spec, &f->error) == DISTIL_OK, "%s",
                  f->error.message);
}

static void add_token(char *content, int id, struct weights_added_token flags)
{
    flags.content = content;
    flags.id = id;
    f->added[f->spec.added_count++] = flags;
}

static distil_status encode(const char *text, size_t length, const char *pair, int window,
                            enum engine_truncation truncation)
{
    struct engine_encode_options options = {.window = window, .truncation = truncation};
    return engine_encode(f->tokenizer, text, length, pair, pair ? strlen(pair) : 0, &options,
                         &f->encoding, &f->error);
}

/* expected: "id@start-end" for each token between [CLS] and [SEP]. */
static void check_bytes(const char *text, size_t length, const char *expected)
{
    char found[512] = "";
    size_t used = 0;
    if (!f->tokenizer)
        create();
    ck_assert_int_eq(encode(text, length, NULL, 1000, ENGINE_TRUNCATE_NONE), DISTIL_OK);
    ck_assert_int_ge(f->encoding.count, 2);
    ck_assert_int_eq(f->encoding.ids[0], CLS);
    ck_assert_int_eq(f->encoding.ids[f->encoding.count - 1], SEP);
    for (int i = 1; i < f->encoding.count - 1; i++)
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%s@%d-%d", i > 1 ? " " : "",
                                 engine_token(f->tokenizer, f->encoding.ids[i]),
                                 f->encoding.offsets[i][0], f->encoding.offsets[i][1]);
    ck_assert_str_eq(found, expected);
}

static void check(const char *text, const char *expected)
{
    check_bytes(text, strlen(text), expected);
}

START_TEST(words_and_pieces)
{
    check("", "");
    check(" \t\n", "");
    check("unaffable", "un@0-2 ##aff@2-5 ##able@5-9");
    check("The UNAFFABLE, the.", "the@0-3 un@4-6 ##aff@6-9 ##able@9-13 ,@13-14 the@15-18 .@18-19");
    check("unaffablex the", "[UNK]@0-10 the@11-14");
    check("##able", "[UNK]@0-1 [UNK]@1-2 [UNK]@2-6");
}
END_TEST

START_TEST(long_words)
{
    char text[120];
    memset(text, 'a', sizeof text);
    f->spec.max_word_characters = 3;
    check_bytes(text, 3, "a@0-1 ##a@1-2 ##a@2-3");
    check_bytes(text, 4, "[UNK]@0-4");
    check("\u00e9aaa", "[UNK]@0-4");
    check("a\u0301aa", "a@0-1 ##a@2-3 ##a@3-4");
}
END_TEST

START_TEST(normalisation)
{
    check("CAF\u00c9", "cafe@0-4");
    check("cafe\u0301 the", "cafe@0-4 the@6-9");
    check("a\u00adb th\u200be", "[UNK]@0-3 the@4-8");
    check("the\u4e2dthe", "the@0-3 \u4e2d@3-4 the@4-7");
    check("\u212a", "k@0-1");
    check("the\u00a0the\u3000the", "the@0-3 the@4-7 the@8-11");
    check("the\u3001the", "the@0-3 [UNK]@3-4 the@4-7");
    check_bytes("t\0he", 4, "the@0-4");
}
END_TEST

START_TEST(normalisation_off)
{
    f->spec.lowercase = f->spec.strip_accents = false;
    check("\u00e9 e\u0301 The", "\u00e9@0-1 [UNK]@2-4 [UNK]@5-8");
    f->spec.lowercase = true;
    create();
    check("\u0130", "i@0-1 ##\u0307@0-1");
    f->spec.chinese_chars = false;
    create();
    check("\u4e2d\u4e2d", "[UNK]@0-2");
    f->spec.clean_text = false;
    create();
    check("a\u200b", "[UNK]@0-2");
}
END_TEST

START_TEST(malformed_bytes)
{
    check("th\xC0\x80"
          "e",
          "the@0-5");
    check("\xE4\xB8 the", "the@2-5");
    check("\xF0\x9F\x98the\xED\xA0\x80 a", "the@1-4 a@8-9");
    check("the\xE4\xB8", "the@0-3");
}
END_TEST

START_TEST(special_tokens_in_text)
{
    check("the[SEP]the", "the@0-3 [SEP]@3-8 the@8-11");
    check("[sep]", "[UNK]@0-1 [UNK]@1-4 [UNK]@4-5");
    check("the  [MASK]\u00e9", "the@0-3 [MASK]@3-11 [UNK]@11-12");
    check("[[CLS]]", "[UNK]@0-1 [CLS]@1-6 [UNK]@6-7");
    ck_assert_int_eq(f->encoding.special[2], 0);
}
END_TEST

START_TEST(added_tokens)
{
    char dog[] = "dog", new_[] = "new", spaced[] = "big cat", outer[] = "outer";
    add_token(dog, DOG, (struct weights_added_token){.normalized = true, .rstrip = true});
    add_token(new_, NEW, (struct weights_added_token){.single_word = true});
    add_token(outer, OUTER, (struct weights_added_token){.single_word = true, .outside = true});
    check("D\u00d6G  the", "dog@0-5 the@5-8");
    check("newnew", "[UNK]@0-6");
    check("(outer) outer_", "[UNK]@0-1 outer@1-6 [UNK]@6-7 [UNK]@8-13 [UNK]@13-14");
    f->spec.added_count = 5;
    add_token(spaced, SPACED, (struct weights_added_token){0});
    create();
    check("a big cat", "a@0-1 big cat@2-9");
}
END_TEST

static void check_ids(const char *name, const int *ids, int count)
{
    ck_assert_msg(f->encoding.count == count, "%s: %d tokens", name, f->encoding.count);
    for (int i = 0; i < count; i++)
        ck_assert_msg(f->encoding.ids[i] == ids[i], "%s: token %d is %d, expected %d", name, i,
                      f->encoding.ids[i], ids[i]);
}
#define CHECK_IDS(name, ...)                                                                       \
    check_ids(name, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

START_TEST(truncation)
{
    const char *text = "one two the a";
    create();
    ck_assert_int_eq(encode(text, 13, NULL, 6, ENGINE_TRUNCATE_NONE), DISTIL_OK);
    ck_assert(!f->encoding.truncated);
    ck_assert_int_eq(encode(text, 13, NULL, 5, ENGINE_TRUNCATE_NONE), DISTIL_TOO_LONG);
    ck_assert_int_eq(f->encoding.full_count, 6);
    ck_assert_int_eq(f->error.code, DISTIL_TOO_LONG);
    ck_assert_int_eq(encode(text, 13, NULL, 4, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    ck_assert(f->encoding.truncated);
    ck_assert_int_eq(f->encoding.full_count, 6);
    CHECK_IDS("right", CLS, ONE, TWO, SEP);
    ck_assert_int_eq(encode(text, 13, NULL, 4, ENGINE_TRUNCATE_LEFT), DISTIL_OK);
    CHECK_IDS("left", CLS, THE, A, SEP);
    ck_assert_int_eq(f->encoding.offsets[1][0], 8);
    ck_assert_int_eq(encode(text, 13, NULL, 2, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    CHECK_IDS("nothing left", CLS, SEP);
    ck_assert_int_eq(encode(text, 13, NULL, 1, ENGINE_TRUNCATE_RIGHT), DISTIL_INVALID);
}
END_TEST

START_TEST(pairs)
{
    create();
    ck_assert_int_eq(encode("one two", 7, "the", 20, ENGINE_TRUNCATE_NONE), DISTIL_OK);
    CHECK_IDS("pair", CLS, ONE, TWO, SEP, THE, SEP);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(f->encoding.types[i], i > 3);
    ck_assert_int_eq(f->encoding.offsets[4][0], 0);
    ck_assert_int_eq(encode("one two the a one", 17, "a", 6, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    CHECK_IDS("first gives way", CLS, ONE, TWO, SEP, A, SEP);
    ck_assert_int_eq(encode("a", 1, "one two the a one", 6, ENGINE_TRUNCATE_LEFT), DISTIL_OK);
    CHECK_IDS("second gives way", CLS, A, SEP, A, ONE, SEP);
    ck_assert_int_eq(encode("one two the", 11, "a a a", 8, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    CHECK_IDS("both give way", CLS, ONE, TWO, SEP, A, A, A, SEP);
    struct engine_encode_options bare = {.window = 9, .no_special_tokens = true};
    ck_assert_int_eq(engine_encode(f->tokenizer, "one", 3, "two", 3, &bare, &f->encoding, NULL),
                     DISTIL_OK);
    CHECK_IDS("bare", ONE, TWO);
    ck_assert_int_eq(f->encoding.types[1], 1);
    ck_assert_int_eq(f->encoding.special[0], 0);
}
END_TEST

static void check_refused(distil_status status, const char *part)
{
    struct engine_tokenizer *tokenizer = NULL;
    ck_assert_int_eq(engine_tokenizer_create(&tokenizer, &f->spec, &f->error), status);
    ck_assert_ptr_null(tokenizer);
    ck_assert_msg(strstr(f->error.message, part) != NULL, "'%s' lacks '%s'", f->error.message,
                  part);
}

START_TEST(bad_vocabularies)
{
    f->spec.cls = COUNT;
    check_refused(DISTIL_FORMAT, "[CLS] token has id 27");
    f->spec.cls = CLS;
    f->tokens[SEP] = NULL;
    check_refused(DISTIL_FORMAT, "[SEP]");
    f->tokens[SEP] = "[SEP]";
    f->spec.unk = -1;
    check_refused(DISTIL_FORMAT, "unknown token has id -1");
    f->spec.unk = UNK;
    f->spec.mask = -1;
    f->tokens[ONE] = "two";
    check_refused(DISTIL_FORMAT, "'two', stands there twice");
    f->tokens[ONE] = "##able";
    check_refused(DISTIL_FORMAT, "twice");
    f->tokens[ONE] = "o\xFF";
    check_refused(DISTIL_FORMAT, "not UTF-8");
    f->tokens[ONE] = f->tokens[TWO] = "";
    check_refused(DISTIL_FORMAT, "empty");
    f->tokens[ONE] = NULL;
    f->spec.max_word_characters = 0;
    check_refused(DISTIL_UNSUPPORTED, "max_input_chars_per_word is 0");
    f->spec.max_word_characters = 100;
    f->spec.prefix = NULL;
    check_refused(DISTIL_UNSUPPORTED, "continuing_subword_prefix");
    f->spec.count = 0;
    check_refused(DISTIL_FORMAT, "empty");
}
END_TEST

START_TEST(bad_added_tokens)
{
    char upper[] = "DOG", dog[] = "dog", mark[] = "\u0301", empty[] = "", bad[] = "\x80", huge[600];
    const struct weights_added_token normalized = {.normalized = true};
    memset(huge, 'x', sizeof huge);
    huge[sizeof huge - 1] = 0;
    f->tokens[COUNT] = upper;
    f->spec.count++;
    add_token(dog, DOG, normalized);
    add_token(upper, COUNT, normalized);
    check_refused(DISTIL_FORMAT, "as another added token");
    f->spec.added_count--;
    add_token(dog, COUNT, normalized);
    check_refused(DISTIL_FORMAT, "'DOG'");
    f->spec.added_count--;
    add_token(dog, 1 << 30, normalized);
    check_refused(DISTIL_FORMAT, "id 1073741824");
    char *const contents[] = {mark, empty, bad, huge};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        f->tokens[COUNT] = contents[i];
        f->spec.added_count--;
        add_token(contents[i], COUNT, normalized);
        check_refused(i == 3 ? DISTIL_UNSUPPORTED : DISTIL_FORMAT, "added token");
    }
}
END_TEST

/* Allocations that still succeed; -1 for no limit. The linker sends the tokenizer's calls here. */
static long allocations_left = -1;
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static bool refuse(void)
{
    if (allocations_left < 0)
        return false;
    if (allocations_left == 0)
        return true;
    allocations_left--;
    return false;
}

void *__wrap_malloc(size_t size)
{
    return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return refuse() ? NULL : __real_realloc(memory, size);
}

/* Each allocation fails in its turn, in both modes and with a text that needs every kind of memory. */
START_TEST(allocation_failures)
{
    const char *text = "the unaffable \u302e\u0301\u302f\u0323 dog one two";
    char dog[] = "dog";
    for (int mode = 0; mode < 2; mode++) {
        if (mode)
            add_token(dog, DOG, (struct weights_added_token){.normalized = true});
        distil_status status = DISTIL_NO_MEMORY;
        for (long n = 0; status; n++) {
            struct engine_encoding encoding = {0};
            struct engine_tokenizer *tokenizer = NULL;
            struct engine_encode_options options = {.window = 100};
            ck_assert_int_lt(n, 100);
            allocations_left = n;
            status = engine_tokenizer_create(&tokenizer, &f->spec, &f->error);
            bool sound = status ? tokenizer == NULL : tokenizer != NULL;
            if (!status)
                status = engine_encode(tokenizer, text, strlen(text), NULL, 0, &options, &encoding,
                                       &f->error);
            allocations_left = -1;
            ck_assert(sound);
            ck_assert_msg(n > 0 || status, "no allocation failed");
            ck_assert(status == DISTIL_OK || status == DISTIL_NO_MEMORY);
            engine_encoding_free(&encoding);
            engine_tokenizer_free(tokenizer);
        }
    }
}
END_TEST

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Texts that a careless tokenizer takes quadratic time or memory for: each of 1 MB, in both modes. */
START_TEST(giant_texts)
{
    static const char *const units[] = {
        "a",          "\u0301", "\u302e\u0301", "\u4e2d",  "\u00e9",      "\uac01",
        "\U0001d160", "[",      "[SEP]",        "un",      " ",           "\xE4",
        "a\x01",      ",",      "\u0344\u0323", "[MASK] ", "\u212b\u0300"};
    const size_t size = 1 << 20;
    char *text = malloc(size), dog[] = "dog";
    ck_assert_ptr_nonnull(text);
    for (int mode = 0; mode < 2; mode++) {
        if (mode)
            add_token(dog, DOG, (struct weights_added_token){.normalized = true});
        create();
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            size_t unit = strlen(units[i]);
            for (size_t at = 0; at < size; at++)
                text[at] = units[i][at % unit];
            double start = seconds();
            ck_assert_int_eq(encode(text, size, NULL, 512, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
            ck_assert_int_le(f->encoding.count, 512);
            ck_assert_int_le(f->encoding.capacity, 2048);
            ck_assert_msg(seconds() - start < (double)patience_ms() / 5000, "unit %zu took %.1f s",
                          i, seconds() - start);
        }
    }
    ck_assert_int_eq(encode(text, size, NULL, 512, ENGINE_TRUNCATE_LEFT), DISTIL_OK);
    free(text);
}
END_TEST

/* xorshift64 */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Random bytes, a buffer of exactly their length: offsets stay inside the text and in order, and nothing is read past it. */
START_TEST(random_bytes)
{
    static const char *const parts[] = {"[SEP]",  "unaffable", "\u0301", "\u302e",   "\U0001d160",
                                        "\u4e2d", " ",         "dog",    "\xE4\xB8", "[MASK"};
    uint64_t state = UINT64_C(0x2545F4914F6CDD1D);
    char dog[] = "dog";
    for (int mode = 0; mode < 4; mode++) {
        f->spec.added_count = 5;
        if (mode & 1)
            add_token(dog, DOG, (struct weights_added_token){.normalized = true, .lstrip = true});
        f->spec.clean_text = f->spec.strip_accents = !(mode & 2);
        create();
        for (int round = 0; round < 4000; round++) {
            size_t length = next_random(&state) % 60;
            char *text = malloc(length ? length : 1);
            ck_assert_ptr_nonnull(text);
            for (size_t i = 0; i < length; i++) {
                const char *part = parts[next_random(&state) % 10];
                uint64_t choice = next_random(&state) % 3;
                for (size_t j = 0; choice == 0 && part[j] && i + 1 < length; j++)
                    text[i++] = part[j];
                text[i] = (char)(choice == 1 ? next_random(&state) : next_random(&state) % 128);
            }
            ck_assert_int_eq(encode(text, length, NULL, 100, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
            for (int i = 1; i < f->encoding.count - 1; i++) {
                const int32_t *offsets = f->encoding.offsets[i];
                ck_assert(f->encoding.ids[i] >= 0 && f->encoding.ids[i] < COUNT);
                ck_assert_int_lt(offsets[0], offsets[1]);
                ck_assert_int_ge(offsets[0], f->encoding.offsets[i - 1][0]);
                ck_assert_int_le(offsets[1], (int)length);
            }
            free(text);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokenizer");
    TCase *tcase = tcase_create("tokenizer");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, words_and_pieces);
    tcase_add_test(tcase, long_words);
    tcase_add_test(tcase, normalisation);
    tcase_add_test(tcase, normalisation_off);
    tcase_add_test(tcase, malformed_bytes);
    tcase_add_test(tcase, special_tokens_in_text);
    tcase_add_test(tcase, added_tokens);
    tcase_add_test(tcase, truncation);
    tcase_add_test(tcase, pairs);
    tcase_add_test(tcase, bad_vocabularies);
    tcase_add_test(tcase, bad_added_tokens);
    tcase_add_test(tcase, allocation_failures);
    tcase_add_test(tcase, giant_texts);
    tcase_add_test(tcase, random_bytes);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}

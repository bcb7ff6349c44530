/* test_tokenizer.c: the rules of the tokenizer one by one, on a small vocabulary. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/engine/tokenizer_fixture.h"
#include "tests/suite.h"

static struct fixture *f;

static void setup(void)
{
    f = fixture_new();
}

static void teardown(void)
{
    fixture_free(f);
}

/* expected: "id@start-end" for each token between [CLS] and [SEP]. */
static void check_bytes(const char *text, size_t length, const char *expected)
{
    char found[512] = "";
    size_t used = 0;
    if (!f->tokenizer)
        create(f);
    ck_assert_int_eq(encode(f, text, length, NULL, 1000, ENGINE_TRUNCATE_NONE), DISTIL_OK);
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
    create(f);
    check("\u0130", "i@0-1 ##\u0307@0-1");
    f->spec.chinese_chars = false;
    create(f);
    check("\u4e2d\u4e2d", "[UNK]@0-2");
    f->spec.clean_text = false;
    create(f);
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
    add_token(f, dog, DOG, (struct weights_added_token){.normalized = true, .rstrip = true});
    add_token(f, new_, NEW, (struct weights_added_token){.single_word = true});
    add_token(f, outer, OUTER, (struct weights_added_token){.single_word = true, .outside = true});
    check("D\u00d6G  the", "dog@0-5 the@5-8");
    check("newnew", "[UNK]@0-6");
    check("(outer) outer_", "[UNK]@0-1 outer@1-6 [UNK]@6-7 [UNK]@8-13 [UNK]@13-14");
    f->spec.added_count = 5;
    add_token(f, spaced, SPACED, (struct weights_added_token){0});
    create(f);
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
    create(f);
    ck_assert_int_eq(encode(f, text, 13, NULL, 6, ENGINE_TRUNCATE_NONE), DISTIL_OK);
    ck_assert(!f->encoding.truncated);
    ck_assert_int_eq(encode(f, text, 13, NULL, 5, ENGINE_TRUNCATE_NONE), DISTIL_TOO_LONG);
    ck_assert_int_eq(f->encoding.full_count, 6);
    ck_assert_int_eq(f->error.code, DISTIL_TOO_LONG);
    ck_assert_int_eq(encode(f, text, 13, NULL, 4, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    ck_assert(f->encoding.truncated);
    ck_assert_int_eq(f->encoding.full_count, 6);
    CHECK_IDS("right", CLS, ONE, TWO, SEP);
    ck_assert_int_eq(encode(f, text, 13, NULL, 4, ENGINE_TRUNCATE_LEFT), DISTIL_OK);
    CHECK_IDS("left", CLS, THE, A, SEP);
    ck_assert_int_eq(f->encoding.offsets[1][0], 8);
    ck_assert_int_eq(encode(f, text, 13, NULL, 2, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    CHECK_IDS("nothing left", CLS, SEP);
    ck_assert_int_eq(encode(f, text, 13, NULL, 1, ENGINE_TRUNCATE_RIGHT), DISTIL_INVALID);
}
END_TEST

START_TEST(pairs)
{
    create(f);
    ck_assert_int_eq(encode(f, "one two", 7, "the", 20, ENGINE_TRUNCATE_NONE), DISTIL_OK);
    CHECK_IDS("pair", CLS, ONE, TWO, SEP, THE, SEP);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(f->encoding.types[i], i > 3);
    ck_assert_int_eq(f->encoding.offsets[4][0], 0);
    ck_assert_int_eq(encode(f, "one two the a one", 17, "a", 6, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    CHECK_IDS("first gives way", CLS, ONE, TWO, SEP, A, SEP);
    ck_assert_int_eq(encode(f, "a", 1, "one two the a one", 6, ENGINE_TRUNCATE_LEFT), DISTIL_OK);
    CHECK_IDS("second gives way", CLS, A, SEP, A, ONE, SEP);
    ck_assert_int_eq(encode(f, "one two the", 11, "a a a", 8, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
    CHECK_IDS("both give way", CLS, ONE, TWO, SEP, A, A, A, SEP);
    struct engine_encode_options bare = {.window = 9, .no_special_tokens = true};
    ck_assert_int_eq(engine_encode(f->tokenizer, "one", 3, "two", 3, &bare, &f->encoding, NULL),
                     DISTIL_OK);
    CHECK_IDS("bare", ONE, TWO);
    ck_assert_int_eq(f->encoding.types[1], 1);
    ck_assert_int_eq(f->encoding.special[0], 0);
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
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}

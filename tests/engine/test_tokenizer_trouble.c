/* test_tokenizer_trouble.c: what would trouble the tokenizer: bad vocabularies, no memory, and texts that are long or random. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
    add_token(f, dog, DOG, normalized);
    add_token(f, upper, COUNT, normalized);
    check_refused(DISTIL_FORMAT, "as another added token");
    f->spec.added_count--;
    add_token(f, dog, COUNT, normalized);
    check_refused(DISTIL_FORMAT, "'DOG'");
    f->spec.added_count--;
    add_token(f, dog, 1 << 30, normalized);
    check_refused(DISTIL_FORMAT, "id 1073741824");
    char *const contents[] = {mark, empty, bad, huge};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        f->tokens[COUNT] = contents[i];
        f->spec.added_count--;
        add_token(f, contents[i], COUNT, normalized);
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
            add_token(f, dog, DOG, (struct weights_added_token){.normalized = true});
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
            add_token(f, dog, DOG, (struct weights_added_token){.normalized = true});
        create(f);
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            size_t unit = strlen(units[i]);
            for (size_t at = 0; at < size; at++)
                text[at] = units[i][at % unit];
            double start = seconds();
            ck_assert_int_eq(encode(f, text, size, NULL, 512, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
            ck_assert_int_le(f->encoding.count, 512);
            ck_assert_int_le(f->encoding.capacity, 2048);
            ck_assert_msg(seconds() - start < (double)patience_ms() / 5000, "unit %zu took %.1f s",
                          i, seconds() - start);
        }
    }
    ck_assert_int_eq(encode(f, text, size, NULL, 512, ENGINE_TRUNCATE_LEFT), DISTIL_OK);
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
            add_token(f, dog, DOG,
                      (struct weights_added_token){.normalized = true, .lstrip = true});
        f->spec.clean_text = f->spec.strip_accents = !(mode & 2);
        create(f);
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
            ck_assert_int_eq(encode(f, text, length, NULL, 100, ENGINE_TRUNCATE_RIGHT), DISTIL_OK);
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
    Suite *suite = suite_create("tokenizer_trouble");
    TCase *tcase = tcase_create("tokenizer_trouble");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, bad_vocabularies);
    tcase_add_test(tcase, bad_added_tokens);
    tcase_add_test(tcase, allocation_failures);
    tcase_add_test(tcase, giant_texts);
    tcase_add_test(tcase, random_bytes);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}

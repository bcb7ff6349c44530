/* tokenizer.json and vocab.txt: both come to the same tokenizer, and what is refused. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tests/suite.h"
#include "weights/tokenizer_files.h"

static char *directory;
static struct weights_arena arena;
static struct weights_tokenizer tokenizer;
static distil_error error;

static void setup(void)
{
    directory = fixture_directory();
}

static void teardown(void)
{
    weights_arena_free(&arena);
    fixture_remove(directory);
}

static distil_status read_files(int rows)
{
    tokenizer = (struct weights_tokenizer){0};
    error.message[0] = '\0';
    return weights_read_tokenizer(&tokenizer, &arena, directory, rows, &error);
}

static void check_tokenizer(void)
{
    static const char *const tokens[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
                                         "a",     "b",     "##c",   "word",  "\xc3\xa9t\xc3\xa9"};
    ck_assert_msg(tokenizer.count == 10, "%d tokens; %s", tokenizer.count, error.message);
    for (int i = 0; i < 10; i++)
        ck_assert_str_eq(tokenizer.tokens[i], tokens[i]);
    ck_assert_int_eq(tokenizer.pad, 0);
    ck_assert_int_eq(tokenizer.unk, 1);
    ck_assert_int_eq(tokenizer.cls, 2);
    ck_assert_int_eq(tokenizer.sep, 3);
    ck_assert_int_eq(tokenizer.mask, 4);
    ck_assert_int_eq(tokenizer.added_count, 5);
    for (int i = 0; i < 5; i++) {
        ck_assert(tokenizer.added[i].special);
        ck_assert(!tokenizer.added[i].normalized);
        ck_assert(!tokenizer.added[i].outside);
    }
    ck_assert_str_eq(tokenizer.prefix, "##");
    ck_assert_int_eq(tokenizer.max_word_characters, 100);
    ck_assert(tokenizer.clean_text && tokenizer.chinese_chars && tokenizer.lowercase &&
              tokenizer.strip_accents);
}

START_TEST(reads_json)
{
    fixture_text(directory, "tokenizer.json", fixture_tokenizer);
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    check_tokenizer();
    ck_assert_int_eq(read_files(10), DISTIL_OK);
}
END_TEST

START_TEST(reads_vocab)
{
    fixture_text(directory, "vocab.txt", fixture_vocab);
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    check_tokenizer();
    fixture_edit(directory, "vocab.txt", fixture_vocab, "\n", "\r\n");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    check_tokenizer();
    fixture_edit(directory, "vocab.txt", fixture_vocab, "word\n", "word\n");
    fixture_text(
        directory, "tokenizer_config.json",
        "{\"do_lower_case\": false, \"tokenize_chinese_chars\": false, \"strip_accents\": null, "
        "\"unk_token\": {\"content\": \"word\"}, \"tokenizer_class\": \"DistilBertTokenizer\"}");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    ck_assert_int_eq(tokenizer.unk, 8);
    ck_assert(!tokenizer.lowercase && !tokenizer.strip_accents && !tokenizer.chinese_chars);
    fixture_text(directory, "tokenizer_config.json",
                 "{\"do_lower_case\": true, \"strip_accents\": false}");
    fixture_text(directory, "special_tokens_map.json", "{\"sep_token\": \"b\"}");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    ck_assert(tokenizer.lowercase && !tokenizer.strip_accents);
    ck_assert_int_eq(tokenizer.sep, 6);
}
END_TEST

START_TEST(reads_added_tokens)
{
    fixture_edit(
        directory, "tokenizer.json", fixture_tokenizer, "\"normalized\": false}],",
        "\"normalized\": false}, {\"id\": 11, \"content\": \"new\", \"special\": false, "
        "\"single_word\": true, \"lstrip\": true, \"rstrip\": true, \"normalized\": true}],");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    ck_assert_int_eq(tokenizer.count, 12);
    ck_assert_ptr_null(tokenizer.tokens[10]);
    ck_assert_str_eq(tokenizer.tokens[11], "new");
    ck_assert_int_eq(tokenizer.added_count, 6);
    const struct weights_added_token *added = &tokenizer.added[5];
    ck_assert_int_eq(added->id, 11);
    ck_assert(!added->special && added->single_word && added->lstrip && added->rstrip &&
              added->normalized && added->outside);
    ck_assert_int_eq(read_files(11), DISTIL_FORMAT);
    fixture_remove(directory);
    directory = fixture_directory();
    fixture_text(directory, "vocab.txt", fixture_vocab);
    fixture_text(directory, "tokenizer_config.json",
                 "{\"added_tokens_decoder\": {\"10\": {\"content\": \"new\", \"special\": true, "
                 "\"normalized\": false}, \"0\": {\"content\": \"[PAD]\", \"special\": true}}}");
    fixture_text(directory, "added_tokens.json", "{\"old\": 11}");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    ck_assert_int_eq(tokenizer.count, 12);
    ck_assert_int_eq(tokenizer.added_count, 7);
    ck_assert_str_eq(tokenizer.tokens[11], "old");
    ck_assert_int_eq(weights_token_id(&tokenizer, "new"), 10);
    ck_assert_int_eq(weights_token_id(&tokenizer, "newer"), -1);
}
END_TEST

START_TEST(reads_normalizers)
{
    const char *base = fixture_tokenizer;
    fixture_edit(directory, "tokenizer.json", base, "\"normalizer\"",
                 "\"normalizer\": {\"type\": \"Lowercase\"}, \"unused\"");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    ck_assert(tokenizer.lowercase && !tokenizer.strip_accents && !tokenizer.clean_text);
    fixture_edit(directory, "tokenizer.json", base, "\"normalizer\"",
                 "\"normalizer\": null, \"unused\"");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    ck_assert(!tokenizer.lowercase && !tokenizer.clean_text && !tokenizer.chinese_chars);
    fixture_edit(directory, "tokenizer.json", base, "\"strip_accents\": null, \"lowercase\": true",
                 "\"strip_accents\": true, \"lowercase\": false");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    ck_assert(!tokenizer.lowercase && tokenizer.strip_accents);
    fixture_edit(directory, "tokenizer.json", base, "{\"type\": \"BertPreTokenizer\"}",
                 "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"BertPreTokenizer\"}]}");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
}
END_TEST

START_TEST(reads_bert_processing)
{
    fixture_edit(
        directory, "tokenizer.json", fixture_tokenizer, "\"post_processor\"",
        "\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"[SEP]\", 3], \"cls\": "
        "[\"[CLS]\", 2]}, \"unused\"");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_OK);
    check_tokenizer();
}
END_TEST

static const struct {
    const char *from, *to;
    distil_status status;
    const char *message;
} bad_json[] = {
    {"\"model\": {\"type\": \"WordPiece\"", "\"model\": {\"type\": \"BPE\"", DISTIL_UNSUPPORTED,
     "model: expected WordPiece, found BPE"},
    {"\"model\": {", "\"other\": {", DISTIL_UNSUPPORTED,
     "model: expected WordPiece, found nothing"},
    {"BertNormalizer", "NFC", DISTIL_UNSUPPORTED, "normalizer: expected BertNormalizer, found NFC"},
    {"{\"type\": \"BertNormalizer\"",
     "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"Lowercase\"}]",
     DISTIL_UNSUPPORTED, "normalizer: expected BertNormalizer, found Sequence"},
    {"BertPreTokenizer", "Whitespace", DISTIL_UNSUPPORTED,
     "pre_tokenizer: expected BertPreTokenizer, found Whitespace"},
    {"\"post_processor\": {\"type\": \"TemplateProcessing\"",
     "\"post_processor\": {\"type\": \"RobertaProcessing\"", DISTIL_UNSUPPORTED,
     "post_processor: expected"},
    {"\"id\": \"B\", \"type_id\": 1", "\"id\": \"B\", \"type_id\": 0", DISTIL_UNSUPPORTED,
     "post_processor: expected"},
    {"\"ids\": [2]", "\"ids\": [4]", DISTIL_FORMAT,
     "post_processor: \"[CLS]\": expected its id in the vocabulary, 2, found the number 4"},
    {"\"unk_token\": \"[UNK]\"", "\"unk_token\": \"<unk>\"", DISTIL_FORMAT,
     "has no unknown-word token"},
    {"\"a\": 5", "\"a\": 12", DISTIL_FORMAT, "token \"a\": expected an id below 12"},
    {"\"a\": 5", "\"a\": -1", DISTIL_FORMAT, "token \"a\": expected an id below 12"},
    {"\"a\": 5", "\"a\": \"5\"", DISTIL_FORMAT, "token \"a\""},
    {"\"a\": 5", "\"a\": 6", DISTIL_FORMAT, "id 6 belongs to two tokens"},
    {"\"a\": 5", "\"b\": 5", DISTIL_FORMAT, "\"b\" appears twice"},
    {"\"a\": 5", "\"a\\nb\": 5", DISTIL_UNSUPPORTED, "token 5 holds a line break"},
    {"\"vocab\": {", "\"vocab\": [], \"unused\": {", DISTIL_FORMAT,
     "vocab: expected an object, found an array"},
    {"\"clean_text\": true", "\"clean_text\": 1", DISTIL_FORMAT,
     "clean_text: expected true or false"},
    {"\"max_input_chars_per_word\": 100", "\"max_input_chars_per_word\": -1", DISTIL_FORMAT,
     "max_input_chars_per_word: expected an integer from 1 to 1000"},
    {"\"max_input_chars_per_word\": 100", "\"max_input_chars_per_word\": 0", DISTIL_FORMAT,
     "max_input_chars_per_word: expected an integer from 1 to 1000"},
    {"\"max_input_chars_per_word\": 100", "\"max_input_chars_per_word\": 1001", DISTIL_FORMAT,
     "max_input_chars_per_word: expected an integer from 1 to 1000"},
    {"\"a\": 5", "\"a\\r\\u001b\": 12", DISTIL_FORMAT,
     "token \"a\\r\\u001b\": expected an id below 12"},
    {"\"id\": 4, \"content\": \"[MASK]\"", "\"id\": 5, \"content\": \"[MASK]\"", DISTIL_FORMAT,
     "added token \"[MASK]\": expected its id in the vocabulary, 4, found 5"},
    {"\"id\": 4, \"content\": \"[MASK]\"", "\"id\": 5, \"content\": \"[NEW]\"", DISTIL_FORMAT,
     "id 5 belongs to two tokens"},
    {"\"id\": 4, \"content\": \"[MASK]\"", "\"id\": 12, \"content\": \"[NEW]\"", DISTIL_FORMAT,
     "id: expected an integer"},
    {"\"content\": \"[MASK]\"", "\"content\": \"\"", DISTIL_FORMAT, "content: expected a token"},
};

START_TEST(refuses_json)
{
    fixture_edit(directory, "tokenizer.json", fixture_tokenizer, bad_json[_i].from,
                 bad_json[_i].to);
    ck_assert_int_eq(read_files(VOCAB), bad_json[_i].status);
    ck_assert_msg(strstr(error.message, bad_json[_i].message) != NULL, "expected \"%s\" in: %s",
                  bad_json[_i].message, error.message);
    ck_assert_msg(strstr(error.message, "tokenizer.json: ") != NULL, "expected the file in: %s",
                  error.message);
}
END_TEST

static const struct {
    const char *from, *to, *message;
} bad_vocab[] = {
    {"[SEP]\n", "", "has no separator token"},
    {"[CLS]\n", "x\n", "has no classification token"},
    {"[UNK]\n", "x\n", "has no unknown-word token"},
    {"[PAD]\n", "x\n", "has no padding token"},
    {"b\n", "a\n", "the token \"a\" appears twice"},
    {"word\n", "word\nx\ny\nz\n",
     "token \"\xc3\xa9t\xc3\xa9\": expected an id below 12, the rows of the word embeddings, found "
     "12"},
    {"word\n", "w\xff\n", "not valid UTF-8"},
};

START_TEST(refuses_vocab)
{
    fixture_edit(directory, "vocab.txt", fixture_vocab, bad_vocab[_i].from, bad_vocab[_i].to);
    ck_assert_int_eq(read_files(VOCAB), DISTIL_FORMAT);
    ck_assert_msg(strstr(error.message, bad_vocab[_i].message) != NULL, "expected \"%s\" in: %s",
                  bad_vocab[_i].message, error.message);
    ck_assert_msg(strstr(error.message, "vocab.txt: ") != NULL, "expected the file in: %s",
                  error.message);
}
END_TEST

/* Rows that pad a table are few; more without a token mean that the vocabulary is cut or another
 * model's. */
START_TEST(refuses_a_short_vocabulary)
{
    fixture_text(directory, "vocab.txt", fixture_vocab);
    ck_assert_int_eq(read_files(10 + 64), DISTIL_OK);
    ck_assert_int_eq(read_files(10 + 65), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message,
                                 "vocab.txt: expected 75 tokens, the rows of the word embeddings, "
                                 "or up to 64 fewer, found 10"));
    tokenizer.count = 30522 - 477;
    ck_assert_int_eq(weights_check_tokenizer(&tokenizer, "x", 30522, &error), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.message, "or up to 476 fewer, found 30045"));
}
END_TEST

START_TEST(refuses_missing_and_strange)
{
    ck_assert_int_eq(read_files(VOCAB), DISTIL_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.message, "vocab.txt"));
    fixture_text(directory, "vocab.txt", "");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_FORMAT);
    ck_assert_ptr_nonnull(
        strstr(error.message, "vocab.txt: expected one token a line, found none"));
    fixture_text(directory, "vocab.txt", fixture_vocab);
    fixture_text(directory, "tokenizer_config.json", "{\"tokenizer_class\": \"RobertaTokenizer\"}");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "RobertaTokenizer"));
    fixture_text(directory, "tokenizer_config.json", "{\"do_lower_case\": \"yes\"}");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_FORMAT);
    fixture_text(directory, "tokenizer_config.json",
                 "{\"added_tokens_decoder\": {\"x\": {\"content\": \"new\"}}}");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_FORMAT);
    fixture_text(directory, "tokenizer_config.json", "[]");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_FORMAT);
    fixture_text(directory, "tokenizer.json", "{");
    ck_assert_int_eq(read_files(VOCAB), DISTIL_FORMAT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokenizer files");
    TCase *tests = tcase_create("files");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, reads_json);
    tcase_add_test(tests, reads_vocab);
    tcase_add_test(tests, reads_added_tokens);
    tcase_add_test(tests, reads_normalizers);
    tcase_add_test(tests, reads_bert_processing);
    tcase_add_loop_test(tests, refuses_json, 0, (int)(sizeof bad_json / sizeof *bad_json));
    tcase_add_loop_test(tests, refuses_vocab, 0, (int)(sizeof bad_vocab / sizeof *bad_vocab));
    tcase_add_test(tests, refuses_a_short_vocabulary);
    tcase_add_test(tests, refuses_missing_and_strange);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

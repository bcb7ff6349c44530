/* test_tokenizer_golden.c: what the `tokenizers` package makes of some thousands of texts (tests/golden/make_tokenizer.py),
 * on the vocabulary of the bundled model, or where it is not there yet of the shared one. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/tokenizer.h"
#include "tests/suite.h"

#define TEST_SKIP 77
#define ADDED_MAX 32
#define PATH_SIZE 4096

static struct weights_model *model;

static int number(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

/* Undoes \xHH in place; returns the length. */
static size_t unescape(char *text)
{
    size_t length = 0;
    for (const char *at = text; *at; length++) {
        if (*at != '\\') {
            text[length] = *at++;
            continue;
        }
        ck_assert_msg(at[1] == 'x' && at[2] && at[3], "a malformed escape in the golden file");
        const char digits[3] = {at[2], at[3], 0};
        text[length] = (char)strtol(digits, NULL, 16);
        at += 4;
    }
    text[length] = 0;
    return length;
}

static int id_of(const struct weights_tokenizer *spec, const char *token)
{
    for (int id = 0; id < spec->count; id++)
        if (spec->tokens[id] && strcmp(spec->tokens[id], token) == 0)
            return id;
    ck_abort_msg("the vocabulary has no '%s'", token);
    return -1;
}

/* The tokenizer of a line "S name flags added". */
static struct engine_tokenizer *make(char *line)
{
    struct weights_added_token added[ADDED_MAX] = {{0}};
    struct weights_tokenizer spec = model->tokenizer;
    char *save, *fields[3];
    strtok_r(line, "\t", &save);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(fields[i] = strtok_r(NULL, "\t\n", &save));
    int flags = number(fields[1]);
    spec.clean_text = flags & 1;
    spec.chinese_chars = flags & 2;
    spec.lowercase = flags & 4;
    spec.strip_accents = flags & 8;
    spec.added = added;
    spec.added_count = 0;
    for (char *item = strtok_r(fields[2], " ", &save); item; item = strtok_r(NULL, " ", &save)) {
        ck_assert_int_lt(spec.added_count, ADDED_MAX);
        struct weights_added_token *token = &added[spec.added_count++];
        flags = (int)strtol(item, &token->content, 10);
        token->content++;
        unescape(token->content);
        token->single_word = flags & 1;
        token->lstrip = flags & 2;
        token->rstrip = flags & 4;
        token->normalized = flags & 8;
        token->special = flags & 16;
        token->id = id_of(&spec, token->content);
    }
    struct engine_tokenizer *tokenizer;
    distil_error error;
    ck_assert_msg(engine_tokenizer_create(&tokenizer, &spec, &error) == DISTIL_OK, "%s: %s",
                  fields[0], error.message);
    return tokenizer;
}

static void check_tokens(const struct engine_encoding *encoding, char *expected, int first,
                         int line)
{
    char *save;
    int end = 0, i = 0;
    for (char *item = strtok_r(expected, " \n", &save); item; item = strtok_r(NULL, " \n", &save)) {
        char *rest = item;
        int id = (int)strtol(rest, &rest, 10);
        ck_assert_int_eq(*rest++, ':');
        int gap = (int)strtol(rest, &rest, 10);
        ck_assert_int_eq(*rest++, ':');
        int length = (int)strtol(rest, &rest, 10);
        ck_assert_int_eq(*rest, 0);
        ck_assert_msg(i < encoding->count, "line %d: %d tokens, expected more", line,
                      encoding->count);
        int start = end + gap;
        end = start + length;
        ck_assert_msg(encoding->ids[i] == id && encoding->offsets[i][0] == start &&
                          encoding->offsets[i][1] == end && encoding->types[i] == (i >= first),
                      "line %d, token %d: expected %d at %d-%d, found %d at %d-%d of type %d", line,
                      i, id, start, end, encoding->ids[i], encoding->offsets[i][0],
                      encoding->offsets[i][1], encoding->types[i]);
        bool special = i == 0 || i == first - 1 || i == encoding->count - 1;
        ck_assert_msg(encoding->special[i] == special, "line %d, token %d: special is %d", line, i,
                      encoding->special[i]);
        i++;
    }
    ck_assert_msg(i == encoding->count, "line %d: %d tokens, expected %d", line, encoding->count,
                  i);
}

/* Checks a line "T window truncation text pair first tokens". */
static void check_text(const struct engine_tokenizer *tokenizer, struct engine_encoding *encoding,
                       char *text_line, int line)
{
    char *fields[7], *rest = text_line;
    for (int i = 0; i < 7; i++)
        ck_assert_ptr_nonnull(fields[i] = strsep(&rest, "\t"));
    struct engine_encode_options options = {
        .window = number(fields[1]), .truncation = (enum engine_truncation)number(fields[2])};
    char *pair = strcmp(fields[4], "-") == 0 ? NULL : fields[4];
    size_t length = unescape(fields[3]), pair_length = pair ? unescape(pair) : 0;
    distil_error error;
    distil_status status =
        engine_encode(tokenizer, fields[3], length, pair, pair_length, &options, encoding, &error);
    ck_assert_msg(status == DISTIL_OK, "line %d: %s", line, error.message);
    ck_assert_int_ge(encoding->full_count, encoding->count);
    ck_assert_int_eq(encoding->truncated, encoding->full_count > encoding->count);
    check_tokens(encoding, fields[6], number(fields[5]), line);
}

START_TEST(golden_texts)
{
    char *line = NULL;
    FILE *file = golden_file("tokenizer.tsv");
    struct engine_tokenizer *tokenizer = NULL;
    struct engine_encoding encoding = {0};
    size_t capacity = 0;
    int number = 0, texts = 0;
    while (getline(&line, &capacity, file) > 0) {
        number++;
        if (line[0] == 'S') {
            engine_tokenizer_free(tokenizer);
            tokenizer = make(line);
        } else {
            ck_assert_ptr_nonnull(tokenizer);
            check_text(tokenizer, &encoding, line, number);
            texts++;
        }
    }
    ck_assert_int_ge(texts, 3000);
    engine_tokenizer_free(tokenizer);
    engine_encoding_free(&encoding);
    free(line);
    fclose(file);
}
END_TEST

/* Opens the bundled model or else the shared one; false where there is neither. */
static bool open_model(const char *source)
{
    char path[PATH_SIZE];
    distil_error error;
    const char *shared = getenv("DISTILD_SHARED");
    snprintf(path, sizeof path, "%s/weights/sst2-minilm.distild", source);
    if (access(path, R_OK) != 0) {
        if (shared)
            snprintf(path, sizeof path, "%s/models/sst2-minilm", shared);
        else
            snprintf(path, sizeof path, "%s/../shared/models/sst2-minilm", source);
    }
    if (access(path, R_OK) != 0) {
        printf("skipped: there is neither a bundled model nor %s\n", path);
        return false;
    }
    if (weights_open(&model, path, &error) == DISTIL_OK)
        return true;
    fprintf(stderr, "%s\n", error.message);
    exit(EXIT_FAILURE);
}

int main(void)
{
    const char *source = getenv("DISTILD_SOURCE_DIR");
    if (!source) {
        fprintf(stderr, "DISTILD_SOURCE_DIR is not set\n");
        return EXIT_FAILURE;
    }
    if (!open_model(source))
        return TEST_SKIP;
    Suite *suite = suite_create("tokenizer golden");
    TCase *tcase = tcase_create("golden");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, golden_texts);
    suite_add_tcase(suite, tcase);
    const int status = run_suite(suite);
    weights_free(model);
    return status;
}

/* Windows of a context, and answers from their logits, with logits made for the purpose: what a model
 * answers is in test_answers_golden. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distil_answer.h"
#include "tests/suite.h"

enum { MOST = 20, WORDS = 150 };

static distil_model *model;

static void open_model(void)
{
    char path[1024];
    distil_error error;
    snprintf(path, sizeof path, "%s/tests/golden/tiny/bert-single", getenv("DISTILD_SOURCE_DIR"));
    ck_assert_msg(distil_model_open(path, NULL, &model, &error) == DISTIL_OK, "%s", error.message);
}

static void close_model(void)
{
    distil_model_free(model);
}

static distil_windows *cut(const char *question, const char *context,
                           const distil_answer_options *options)
{
    distil_windows *windows;
    distil_error error;
    distil_status status = distil_windows_create(model, question, strlen(question), context,
                                                 strlen(context), options, &windows, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    return windows;
}

static distil_status cut_fails(const char *question, const char *context,
                               distil_answer_options options, const char *message)
{
    distil_windows *windows;
    distil_error error;
    distil_status status = distil_windows_create(model, question, strlen(question), context,
                                                 strlen(context), &options, &windows, &error);
    ck_assert_ptr_null(windows);
    ck_assert_msg(strstr(error.message, message) != NULL, "%s", error.message);
    return status;
}

/* ---- windows ---- */

/* Words that follow one another without a pattern that repeats soon. */
static char *some_words(int count)
{
    static const char *const words[] = {"film", "goodness", "bad", "long", "dull,", "warm", "xyz"};
    char *text = calloc((size_t)count, 10);
    for (int i = 0; i < count; i++) {
        strcat(text, words[(i * i + i / 7) % 7]);
        strcat(text, " ");
    }
    return text;
}

/* Whether the windows of options are the context, in pieces of as many tokens as have room, each
 * beginning with the last `stride` of the one before. */
static void check_windows(const char *question, const char *context, distil_answer_options options)
{
    distil_windows *windows = cut(question, context, &options);
    distil_tokens *asked = NULL, *whole = NULL, *tokens = NULL;
    int asks = distil_windows_question_tokens(windows),
        all = distil_windows_context_tokens(windows);
    int room = options.max_seq_len - 3 - asks, at = 0;
    ck_assert_int_eq(distil_encode(model, question, strlen(question), NULL, 0, DISTIL_TRUNCATE_NONE,
                                   &asked, NULL),
                     DISTIL_OK);
    ck_assert_int_eq(distil_tokens_count(asked), asks + 2);
    for (int i = 0; i < distil_windows_count(windows); i++) {
        int last = i == distil_windows_count(windows) - 1;
        int part = last ? all - at : room;
        ck_assert_int_eq(distil_windows_tokens(windows, i, &tokens, NULL), DISTIL_OK);
        ck_assert_int_eq(distil_tokens_count(tokens), asks + 3 + part);
        const int32_t *ids = distil_tokens_ids(tokens);
        const int32_t(*offsets)[2] = distil_tokens_offsets(tokens);
        /* The whole context is more than the model's window: it is encoded from where this part
           starts, so that the ids are the first. */
        ck_assert_int_eq(memcmp(ids, distil_tokens_ids(asked), sizeof *ids * (size_t)(asks + 2)),
                         0);
        ck_assert_int_eq(ids[asks + 2 + part], ids[asks + 1]);
        const char *rest = context + offsets[asks + 2][0];
        ck_assert_int_eq(
            distil_encode(model, rest, strlen(rest), NULL, 0, DISTIL_TRUNCATE_RIGHT, &whole, NULL),
            DISTIL_OK);
        int same = distil_tokens_count(whole) - 2 < part ? distil_tokens_count(whole) - 2 : part;
        int begins_a_word = offsets[asks + 2][0] == 0 || rest[-1] == ' ';
        if (begins_a_word)
            ck_assert_int_eq(
                memcmp(ids + asks + 2, distil_tokens_ids(whole) + 1, sizeof *ids * (size_t)same),
                0);
        at += last ? part : part - options.doc_stride;
    }
    ck_assert_int_eq(at, all);
    distil_tokens_free(asked);
    distil_tokens_free(whole);
    distil_tokens_free(tokens);
    distil_windows_free(windows);
}

START_TEST(windows_cover_the_context)
{
    static const int cases[][2] = {{64, 0}, {64, 1}, {64, 32}, {64, 57}, {20, 5}, {9, 2}, {12, 0}};
    char *context = some_words(WORDS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_windows(
            "is it fun", context,
            (distil_answer_options){.max_seq_len = cases[i][0], .doc_stride = cases[i][1]});
        check_windows(
            "is it fun", "good",
            (distil_answer_options){.max_seq_len = cases[i][0], .doc_stride = cases[i][1]});
    }
    free(context);
}
END_TEST

/* Contexts of every length about that of one window and of two. */
START_TEST(windows_end_where_the_context_does)
{
    const distil_answer_options options = {.max_seq_len = 16, .doc_stride = 4};
    for (int words = 1; words < 40; words++) {
        char context[200] = "";
        for (int i = 0; i < words; i++)
            strcat(context, "good ");
        distil_windows *windows =
            cut("bad", context, &options); /* room for 12 tokens, steps of 8 */
        ck_assert_int_eq(distil_windows_count(windows), words <= 12 ? 1 : (words - 4 + 7) / 8);
        distil_windows_free(windows);
        check_windows("bad", context, options);
    }
}
END_TEST

START_TEST(defaults_fit_the_model)
{
    char *context = some_words(WORDS);
    distil_tokens *tokens = NULL;
    distil_windows *windows = cut("good", context, NULL);
    ck_assert_int_eq(distil_windows_tokens(windows, 0, &tokens, NULL), DISTIL_OK);
    ck_assert_int_eq(distil_tokens_count(tokens), distil_model_info(model)->window);
    distil_windows_free(windows);
    distil_answer_options options = distil_answer_defaults(),
                          spelt = {.max_seq_len = 64, .doc_stride = 32};
    distil_windows *a = cut("good", context, &options), *b = cut("good", context, &spelt);
    ck_assert_int_eq(distil_windows_count(a), distil_windows_count(b));
    distil_windows_free(a);
    distil_windows_free(b);
    distil_tokens_free(tokens);
    free(context);
}
END_TEST

START_TEST(questions_longer_than_the_window_are_refused)
{
    const distil_answer_options options = {.max_seq_len = 12, .doc_stride = 4};
    const char *five = "good good good good good";
    const char *seven = "good good good good good good good";
    /* Nine tokens beside the special ones: four for the question leave five, one more than repeat. */
    distil_windows_free(cut("good good good good", seven, &options));
    ck_assert_int_eq(cut_fails(five, seven, options, "the question has 5 tokens"), DISTIL_TOO_LONG);
    distil_windows_free(cut(five, "bad bad bad bad", &options)); /* one window is enough */
    ck_assert_int_eq(
        cut_fails(
            "a a a a a a a a a a", "bad", options,
            "the question has 10 tokens: a window of 12 with a doc_stride of 4 has room for 4"),
        DISTIL_TOO_LONG);
}
END_TEST

START_TEST(options_out_of_range_are_named)
{
    ck_assert_int_eq(cut_fails("a", "b", (distil_answer_options){.max_seq_len = 65},
                               "max_seq_len: expected 4 to 64, found 65"),
                     DISTIL_INVALID);
    ck_assert_int_eq(cut_fails("a", "b", (distil_answer_options){.max_seq_len = 3}, "max_seq_len"),
                     DISTIL_INVALID);
    ck_assert_int_eq(cut_fails("a", "b",
                               (distil_answer_options){.max_seq_len = 20, .doc_stride = 20},
                               "doc_stride: expected less than max_seq_len, 20, found 20"),
                     DISTIL_INVALID);
    ck_assert_int_eq(
        cut_fails("a", "b", (distil_answer_options){.max_answer_len = -1}, "max_answer_len"),
        DISTIL_INVALID);
}
END_TEST

/* ---- answers ---- */

/* The answers of one window whose logits are 0 but for those in `high`: token, start, end. */
struct high {
    int token; /* of the context; -1: [CLS] */
    float start, end;
};

static int answer(const char *context, distil_answer_options options, const struct high *high,
                  int highs, distil_answer *answers, int count)
{
    options.doc_stride = -1;
    distil_windows *windows = cut("is it fun", context, &options);
    distil_error error;
    ck_assert_int_eq(distil_windows_count(windows), 1);
    int tokens = distil_windows_context_tokens(windows) + 6;
    float *logits = calloc((size_t)tokens, 2 * sizeof *logits);
    for (int i = 0; i < tokens; i++) /* what is not of the context must not count */
        logits[2 * i] = logits[2 * i + 1] = i > 0 && (i < 5 || i == tokens - 1) ? 50.0F : 0.0F;
    for (int i = 0; i < highs; i++) {
        int at = high[i].token < 0 ? 0 : high[i].token + 5;
        logits[2 * at] = high[i].start;
        logits[2 * at + 1] = high[i].end;
    }
    ck_assert_int_eq(distil_windows_answers(windows, logits, answers, &count, &error), DISTIL_OK);
    free(logits);
    distil_windows_free(windows);
    return count;
}

static void is(const distil_answer *found, const char *text, int start, int end)
{
    ck_assert_msg(strlen(text) == found->length && memcmp(found->text, text, found->length) == 0,
                  "expected %s, found %.*s", text, (int)found->length, found->text);
    ck_assert_int_eq(found->start, start);
    ck_assert_int_eq(found->end, end);
}

START_TEST(scores_are_products_of_softmaxes)
{
    distil_answer answers[MOST];
    /* Six tokens and [CLS]. */
    const struct high high[] = {{1, 3, 0}, {2, 0, 2}, {-1, 1, 1}};
    int count =
        answer("the film was very good end", (distil_answer_options){0}, high, 3, answers, 3);
    double starts = exp(3) + exp(1) + 5, ends = exp(2) + exp(1) + 5;
    ck_assert_int_eq(count, 3);
    is(&answers[0], "film was", 4, 12);
    ck_assert_double_eq_tol(answers[0].score, exp(3) * exp(2) / starts / ends, 1e-6);
    ck_assert_float_ge(answers[1].score, answers[2].score);
    ck_assert_double_eq_tol(answers[1].score, exp(3) / starts / ends, 1e-6);
}
END_TEST

START_TEST(answers_keep_to_their_length)
{
    distil_answer answers[MOST];
    const struct high high[] = {{0, 9, 0}, {4, 0, 9}, {3, 1, 0}};
    answer("the film was very good end", (distil_answer_options){.max_answer_len = 5}, high, 3,
           answers, 1);
    is(&answers[0], "the film was very good", 0, 22);
    int count = answer("the film was very good end", (distil_answer_options){.max_answer_len = 4},
                       high, 3, answers, 1);
    ck_assert_int_eq(count, 1);
    is(&answers[0], "very good", 13, 22);
}
END_TEST

START_TEST(answers_grow_to_whole_words)
{
    distil_answer answers[MOST];
    const struct high high[] = {{2, 9, 0}, {4, 0, 9}}; /* ##ness .. short */
    int count = answer("the goodness was shorter", (distil_answer_options){0}, high, 2, answers, 1);
    ck_assert_int_eq(count, 1);
    is(&answers[0], "goodness was shorter", 4, 24);
}
END_TEST

START_TEST(answers_that_read_the_same_are_one)
{
    distil_answer answers[MOST];
    /* "Good" later is likelier than "good", which is the place that is given. */
    const struct high high[] = {{0, 4, 4}, {3, 5, 5}};
    int count = answer("good, bad Good", (distil_answer_options){.max_answer_len = 1}, high, 2,
                       answers, MOST);
    double sum = exp(4) + exp(5) + 3;
    ck_assert_int_eq(count, 3);
    is(&answers[0], "Good", 10, 14);
    ck_assert_double_eq_tol(answers[0].score, (exp(8) + exp(10)) / sum / sum, 1e-6);
}
END_TEST

START_TEST(places_are_in_characters)
{
    distil_answer answers[MOST];
    const char *context = "\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80 Cafe\xCC\x81 good";
    distil_windows *windows = cut("a", context, NULL);
    int tokens = distil_windows_context_tokens(windows), count = 1;
    distil_tokens *encoded = NULL;
    ck_assert_int_eq(distil_windows_tokens(windows, 0, &encoded, NULL), DISTIL_OK);
    float *logits = calloc((size_t)tokens + 4, 2 * sizeof *logits);
    for (int i = 3; i < 3 + tokens; i++) {
        logits[2 * i] = distil_tokens_offsets(encoded)[i][0] == 7 ? 9 : 0;
        logits[2 * i + 1] = distil_tokens_offsets(encoded)[i][1] == 17 ? 9 : 0;
    }
    ck_assert_int_eq(distil_windows_answers(windows, logits, answers, &count, NULL), DISTIL_OK);
    is(&answers[0], "Cafe\xCC\x81 good", 7, 17);
    ck_assert_ptr_eq(answers[0].text + answers[0].length, context + strlen(context));
    free(logits);
    distil_tokens_free(encoded);
    distil_windows_free(windows);
}
END_TEST

START_TEST(no_answer_has_a_score_of_its_own)
{
    distil_answer answers[MOST];
    const struct high high[] = {{-1, 3, 3}, {1, 2, 2}, {2, 1, 1}};
    double sum = exp(3) + exp(2) + exp(1) + 1;
    distil_answer_options options = {.handle_impossible_answer = 1, .max_answer_len = 1};
    int count = answer("the film was", options, high, 3, answers, 2);
    ck_assert_int_eq(count, 2);
    is(&answers[0], "", 0, 0);
    ck_assert_double_eq_tol(answers[0].score, exp(6) / sum / sum, 1e-6);
    is(&answers[1], "film", 4, 8);
    ck_assert_float_eq(answers[1].none, answers[0].score);
    options.handle_impossible_answer = 0;
    answer("the film was", options, high, 3, answers, 1);
    is(&answers[0], "film", 4, 8);
}
END_TEST

START_TEST(a_threshold_leaves_no_answer)
{
    distil_answer answers[MOST];
    const struct high high[] = {{-1, 3, 3}, {1, 2, 2}, {2, 1, 1}};
    double sum = exp(3) + exp(2) + exp(1) + 1, film = exp(4) / sum / sum;
    distil_answer_options options = {.max_answer_len = 1, .threshold = (float)film * 0.999F};
    ck_assert_int_eq(answer("the film was", options, high, 3, answers, MOST), 1);
    is(&answers[0], "film", 4, 8);
    options.threshold = (float)film * 1.001F;
    ck_assert_int_eq(answer("the film was", options, high, 3, answers, MOST), 1);
    is(&answers[0], "", 0, 0);
    ck_assert_double_eq_tol(answers[0].score, exp(6) / sum / sum, 1e-6);
}
END_TEST

/* Windows that do not hold the answer do not say what does not have one. */
START_TEST(windows_are_read_together)
{
    const distil_answer_options options = {
        .max_seq_len = 8, .doc_stride = 1, .max_answer_len = 2, .handle_impossible_answer = 1};
    const char *context = "the film was very good end"; /* of 4 in each window: 0-3, 3-5 */
    distil_windows *windows = cut("a", context, &options);
    distil_answer answers[MOST];
    int count = MOST;
    ck_assert_int_eq(distil_windows_count(windows), 2);
    float logits[2 * (8 + 7)] = {0};
    logits[0] = logits[1] = 2;              /* [CLS] of the first window */
    logits[16] = logits[17] = -1;           /* of the second */
    logits[16 + 2 * 4] = 5;                 /* good .. */
    logits[16 + 2 * 5 + 1] = 6;             /* .. end */
    logits[2 * 6] = logits[16 + 2 * 3] = 1; /* very, in both, */
    logits[2 * 6 + 1] = logits[16 + 2 * 3 + 1] = 1;
    ck_assert_int_eq(distil_windows_answers(windows, logits, answers, &count, NULL), DISTIL_OK);
    is(&answers[0], "good end", 18, 26);
    double first = exp(2) + exp(1) + 3;
    double starts = exp(-1) + exp(5) + exp(1) + 1, ends = exp(-1) + exp(6) + exp(1) + 1;
    ck_assert_double_eq_tol(answers[0].score, exp(11) / starts / ends, 1e-6);
    int very = 0, none = 0;
    for (int i = 0; i < count; i++) {
        if (answers[i].length == 4 && memcmp(answers[i].text, "very", 4) == 0) {
            very++;
            ck_assert_double_eq_tol(answers[i].score,
                                    exp(2) / first / first + exp(2) / starts / ends, 1e-6);
        } else if (answers[i].length == 0) {
            none++;
            ck_assert_double_eq_tol(answers[i].score, exp(-2) / starts / ends, 1e-6);
        }
    }
    ck_assert_int_eq(very, 1);
    ck_assert_int_eq(none, 1);
    distil_windows_free(windows);
}
END_TEST

START_TEST(nothing_to_answer_from)
{
    distil_windows *windows = cut("a", " \t\n", NULL);
    distil_answer answers[1];
    distil_error error;
    float logits[2 * 4] = {0};
    int count = 1;
    ck_assert_int_eq(distil_windows_context_tokens(windows), 0);
    ck_assert_int_eq(distil_windows_answers(windows, logits, answers, &count, &error), DISTIL_OK);
    ck_assert_int_eq(count, 0);
    count = 0;
    ck_assert_int_eq(distil_windows_answers(windows, logits, answers, &count, &error),
                     DISTIL_INVALID);
    count = DISTIL_ANSWERS_MAX + 1;
    ck_assert_int_eq(distil_windows_answers(windows, logits, answers, &count, &error),
                     DISTIL_INVALID);
    distil_windows_free(windows);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("answers");
    TCase *windows = tcase_create("windows"), *answers = tcase_create("answers");
    tcase_add_checked_fixture(windows, open_model, close_model);
    tcase_add_checked_fixture(answers, open_model, close_model);
    tcase_add_test(windows, windows_cover_the_context);
    tcase_add_test(windows, windows_end_where_the_context_does);
    tcase_add_test(windows, defaults_fit_the_model);
    tcase_add_test(windows, questions_longer_than_the_window_are_refused);
    tcase_add_test(windows, options_out_of_range_are_named);
    tcase_add_test(answers, scores_are_products_of_softmaxes);
    tcase_add_test(answers, answers_keep_to_their_length);
    tcase_add_test(answers, answers_grow_to_whole_words);
    tcase_add_test(answers, answers_that_read_the_same_are_one);
    tcase_add_test(answers, places_are_in_characters);
    tcase_add_test(answers, no_answer_has_a_score_of_its_own);
    tcase_add_test(answers, a_threshold_leaves_no_answer);
    tcase_add_test(answers, windows_are_read_together);
    tcase_add_test(answers, nothing_to_answer_from);
    suite_add_tcase(suite, windows);
    suite_add_tcase(suite, answers);
    return run_suite(suite);
}

/* answer_windows.c: a question and its context as windows that the model can read. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/answer.h"
#include "engine/model.h"
#include "engine/tokens.h"

enum { SPECIAL_TOKENS = 3, DEFAULT_SEQ_LEN = 384, DEFAULT_STRIDE = 128, DEFAULT_ANSWER_LEN = 15 };

distil_answer_options distil_answer_defaults(void)
{
    return (distil_answer_options){.doc_stride = -1};
}

/* Fills the defaults in and checks what was given. */
static distil_status settle(distil_answer_options *options, int window, distil_error *error)
{
    if (options->max_seq_len == 0)
        options->max_seq_len = window < DEFAULT_SEQ_LEN ? window : DEFAULT_SEQ_LEN;
    if (options->max_seq_len <= SPECIAL_TOKENS || options->max_seq_len > window)
        return distil_fail(error, DISTIL_INVALID, "max_seq_len: expected %d to %d, found %d",
                           SPECIAL_TOKENS + 1, window, options->max_seq_len);
    if (options->doc_stride < 0)
        options->doc_stride =
            options->max_seq_len / 2 < DEFAULT_STRIDE ? options->max_seq_len / 2 : DEFAULT_STRIDE;
    if (options->doc_stride >= options->max_seq_len)
        return distil_fail(error, DISTIL_INVALID,
                           "doc_stride: expected less than max_seq_len, %d, found %d",
                           options->max_seq_len, options->doc_stride);
    if (options->max_answer_len == 0)
        options->max_answer_len = DEFAULT_ANSWER_LEN;
    if (options->max_answer_len < 0)
        return distil_fail(error, DISTIL_INVALID, "max_answer_len: expected 1 or more, found %d",
                           options->max_answer_len);
    return DISTIL_OK;
}

/* Cuts the context, of which each window but the first repeats doc_stride tokens. */
static distil_status cut(distil_windows *windows, distil_error *error)
{
    const distil_answer_options *options = &windows->options;
    int question = windows->question.count, whole = windows->whole.count;
    windows->room = options->max_seq_len - SPECIAL_TOKENS - question;
    windows->count = 1;
    if (windows->room >= whole && windows->room > 0)
        return DISTIL_OK;
    if (windows->room <= options->doc_stride) {
        int most = options->max_seq_len - SPECIAL_TOKENS - options->doc_stride - 1;
        return distil_fail(error, DISTIL_TOO_LONG,
                           "the question has %d tokens: a window of %d with a doc_stride of %d has "
                           "room for %d",
                           question, options->max_seq_len, options->doc_stride,
                           most > 0 ? most : 0);
    }
    int step = windows->room - options->doc_stride, beyond = whole - windows->room;
    windows->count += beyond / step + (beyond % step > 0);
    return DISTIL_OK;
}

distil_status distil_windows_create(const distil_model *model, const char *question,
                                    size_t question_length, const char *context,
                                    size_t context_length, const distil_answer_options *options,
                                    distil_windows **windows, distil_error *error)
{
    const struct engine_encode_options encode = {.window = INT_MAX, .no_special_tokens = true};
    distil_windows *made = calloc(1, sizeof *made);
    distil_status status;
    *windows = NULL;
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for the windows of a context");
    made->model = model;
    made->context = context;
    made->context_length = context_length;
    made->options = options ? *options : distil_answer_defaults();
    status = settle(&made->options, model->info.window, error);
    if (!status)
        status = engine_encode(model->tokenizer, question, question_length, NULL, 0, &encode,
                               &made->question, error);
    if (!status)
        status = engine_encode(model->tokenizer, context, context_length, NULL, 0, &encode,
                               &made->whole, error);
    if (!status)
        status = cut(made, error);
    if (status) {
        distil_windows_free(made);
        return status;
    }
    *windows = made;
    return DISTIL_OK;
}

void distil_windows_free(distil_windows *windows)
{
    if (!windows)
        return;
    engine_encoding_free(&windows->question);
    engine_encoding_free(&windows->whole);
    free(windows);
}

int distil_windows_count(const distil_windows *windows)
{
    return windows->count;
}

int distil_windows_question_tokens(const distil_windows *windows)
{
    return windows->question.count;
}

int distil_windows_context_tokens(const distil_windows *windows)
{
    return windows->whole.count;
}

struct engine_part engine_windows_part(const struct distil_windows *windows, int i)
{
    int first = i * (windows->room - windows->options.doc_stride);
    int left = windows->whole.count - first;
    return (struct engine_part){first, left < windows->room ? left : windows->room};
}

/* Appends tokens [first, first + count) of source, or a special token where source is NULL. */
static void append(struct engine_encoding *to, const struct engine_encoding *source, int first,
                   int count, int32_t special, uint8_t type)
{
    size_t at = (size_t)to->count, n = (size_t)count;
    memset(to->types + at, type, n);
    memset(to->special + at, source ? 0 : 1, n);
    if (source) {
        memcpy(to->ids + at, source->ids + first, n * sizeof *to->ids);
        memcpy(to->offsets + at, source->offsets + first, n * sizeof *to->offsets);
    } else {
        to->ids[at] = special;
        to->offsets[at][0] = to->offsets[at][1] = 0;
    }
    to->count += count;
}

distil_status distil_windows_tokens(const distil_windows *windows, int i, distil_tokens **tokens,
                                    distil_error *error)
{
    const struct engine_encoding *question = &windows->question;
    struct engine_part part = engine_windows_part(windows, i);
    int count = SPECIAL_TOKENS + question->count + part.count;
    int32_t cls, sep;
    engine_special_tokens(windows->model->tokenizer, &cls, &sep);
    if (!*tokens)
        *tokens = calloc(1, sizeof **tokens);
    if (!*tokens || engine_encoding_reserve(&(*tokens)->encoding, count))
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %d tokens", count);
    struct engine_encoding *encoding = &(*tokens)->encoding;
    encoding->count = 0;
    append(encoding, NULL, 0, 1, cls, 0);
    append(encoding, question, 0, question->count, 0, 0);
    append(encoding, NULL, 0, 1, sep, 0);
    append(encoding, &windows->whole, part.first, part.count, 0, 1);
    append(encoding, NULL, 0, 1, sep, 1);
    encoding->full_count = encoding->count;
    encoding->truncated = false;
    return DISTIL_OK;
}

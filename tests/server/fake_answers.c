/* fake_answers.c: the part of the stand-in engine behind distil_answer.h. A token is a run of bytes
 * without white space, and a window as long as the fake model's. The answers are the context's words, from the
 * first on, with the scores 1/2, 1/3 and so on, where "no answer" has 0.4; `start` says how long answers
 * may be, and `end` which doc_stride there is. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distil_answer.h"

struct distil_windows {
    const distil_model *model;
    const char *question, *context;
    size_t question_length, context_length;
    distil_answer_options options;
    int question_tokens, context_tokens, count;
};

/* The next word of [*at, end); NULL where there is none. */
static const char *next_word(const char **at, const char *end, size_t *length)
{
    const char *word;
    while (*at < end && isspace((unsigned char)**at))
        ++*at;
    word = *at;
    while (*at < end && !isspace((unsigned char)**at))
        ++*at;
    *length = (size_t)(*at - word);
    return *length ? word : NULL;
}

static int count_words(const char *text, size_t length)
{
    const char *at = text;
    size_t word;
    int count = 0;
    while (next_word(&at, text + length, &word))
        count++;
    return count;
}

distil_answer_options distil_answer_defaults(void)
{
    return (distil_answer_options){.doc_stride = -1};
}

distil_status distil_windows_create(const distil_model *model, const char *question,
                                    size_t question_length, const char *context,
                                    size_t context_length, const distil_answer_options *options,
                                    distil_windows **windows, distil_error *error)
{
    distil_windows *w = calloc(1, sizeof(*w));
    int sequence = options->max_seq_len ? options->max_seq_len : distil_model_info(model)->window;
    int stride = options->doc_stride < 0 ? 2 : options->doc_stride, room;
    if (!w)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    *w = (distil_windows){.model = model,
                          .question = question,
                          .question_length = question_length,
                          .context = context,
                          .context_length = context_length,
                          .options = *options,
                          .question_tokens = count_words(question, question_length),
                          .context_tokens = count_words(context, context_length),
                          .count = 1};
    w->options.doc_stride = stride;
    room = sequence - 3 - w->question_tokens;
    if (room <= stride) {
        free(w);
        *windows = NULL;
        return distil_fail(error, DISTIL_TOO_LONG, "the question has too many tokens");
    }
    if (w->context_tokens > room)
        w->count += (w->context_tokens - room + room - stride - 1) / (room - stride);
    *windows = w;
    return DISTIL_OK;
}

void distil_windows_free(distil_windows *windows)
{
    free(windows);
}

int distil_windows_count(const distil_windows *windows)
{
    return windows->count;
}

int distil_windows_question_tokens(const distil_windows *windows)
{
    return windows->question_tokens;
}

int distil_windows_context_tokens(const distil_windows *windows)
{
    return windows->context_tokens;
}

distil_status distil_windows_tokens(const distil_windows *windows, int i, distil_tokens **tokens,
                                    distil_error *error)
{
    (void)i;
    return distil_encode(windows->model, windows->context, windows->context_length,
                         windows->question, windows->question_length, DISTIL_TRUNCATE_RIGHT, tokens,
                         error);
}

distil_status distil_windows_answers(const distil_windows *windows, const float *logits,
                                     distil_answer *answers, int *count, distil_error *error)
{
    const char *at = windows->context, *end = at + windows->context_length, *word;
    int none_given = !windows->options.handle_impossible_answer, found = 0, rank = 0;
    size_t length;
    (void)logits;
    (void)error;
    while (found < *count && (word = next_word(&at, end, &length))) {
        float score = 1 / (float)(rank++ + 2);
        if (!none_given && score < 0.4F && found < *count) {
            answers[found++] = (distil_answer){.text = "", .score = 0.4F};
            none_given = 1;
        }
        if (found < *count && score >= windows->options.threshold)
            answers[found++] = (distil_answer){.text = word,
                                               .length = length,
                                               .start = windows->options.max_answer_len,
                                               .end = windows->options.doc_stride,
                                               .score = score};
    }
    if (found == 0)
        answers[found++] = (distil_answer){.text = "", .score = 0.4F};
    *count = found;
    return DISTIL_OK;
}

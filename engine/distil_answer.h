/* distil_answer.h: answers to questions, found in a context: spans of it.
 *
 *   distil_answer answer;
 *   int count = 1;
 *   if (distil_answers(session, question, strlen(question), context, strlen(context), NULL, &answer,
 *                      &count, &error) == DISTIL_OK)
 *       printf("%.*s (%.2f)\n", (int)answer.length, answer.text, answer.score);
 *
 * What comes out is what the question-answering pipeline of HuggingFace's transformers 4 gives. A context that is
 * too long for the model is read in windows that overlap. A window's tokens are [CLS] question [SEP]
 * part of the context [SEP]; the score of a span in it is softmax(start) * softmax(end) over [CLS] and
 * the context's tokens, and [CLS] alone stands for "there is no answer". A span grows to whole words,
 * and the scores of spans that read the same but for case are added up, so that a score may exceed 1. */
#ifndef DISTIL_ANSWER_H
#define DISTIL_ANSWER_H

#include <stddef.h>

#include "distil.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int max_seq_len;    /* tokens of a window, 0: 384 or, where that is less, the model's window */
    int doc_stride;     /* tokens that a window of the context shares with the one before; below 0:
                           128 or, where that is less, half of max_seq_len */
    int max_answer_len; /* tokens of an answer; 0: 15 */
    int handle_impossible_answer; /* 1: "no answer" takes its place among the answers */
    float threshold;              /* "no answer" in the place of all whose score is less */
} distil_answer_options;

typedef struct {
    const char *text; /* within the context, not NUL-terminated; "" for "no answer" */
    size_t length;    /* in bytes; 0 for "no answer" */
    int start, end;   /* in Unicode characters of the context; 0, 0 for "no answer" */
    float score;      /* of "no answer": the least that a window gave it */
    float none;       /* the score of "no answer", whether or not that is among the answers */
} distil_answer;

/* What distil_answers does without being told otherwise. */
DISTIL_API distil_answer_options distil_answer_defaults(void);

enum { DISTIL_ANSWERS_MAX = 1000 }; /* that can be wanted */

/* Answers a question from a context; lengths are in bytes. *count: answers wanted, and set to those
 * found, best first: at least one, unless the context holds nothing that becomes a token. They point into
 * the context. options: NULL for the defaults. DISTIL_TOO_LONG where the question leaves no room for the
 * context in a window; DISTIL_INVALID for an option out of its range; DISTIL_TASK and
 * DISTIL_NOT_FINITE as distil_spans. */
DISTIL_API distil_status distil_answers(distil_session *session, const char *question,
                                        size_t question_length, const char *context,
                                        size_t context_length, const distil_answer_options *options,
                                        distil_answer *answers, int *count, distil_error *error);

/* The steps of distil_answers, for callers that compute in their own way.
 *
 * The windows of a question and a context, which must outlive them. */
typedef struct distil_windows distil_windows;

/* Fails as distil_answers. */
DISTIL_API distil_status distil_windows_create(const distil_model *model, const char *question,
                                               size_t question_length, const char *context,
                                               size_t context_length,
                                               const distil_answer_options *options,
                                               distil_windows **windows, distil_error *error);
DISTIL_API void distil_windows_free(distil_windows *windows);
/* How many windows there are, at least 1. */
DISTIL_API int distil_windows_count(const distil_windows *windows);
/* Tokens of the whole question and of the whole context, without special ones. */
DISTIL_API int distil_windows_question_tokens(const distil_windows *windows);
DISTIL_API int distil_windows_context_tokens(const distil_windows *windows);
/* The tokens of window 0 <= i < count, to be computed by distil_spans. *tokens is created when NULL,
 * else reused. */
DISTIL_API distil_status distil_windows_tokens(const distil_windows *windows, int i,
                                               distil_tokens **tokens, distil_error *error);
/* The answers, from the logits of all windows one after another: (total tokens, 2). */
DISTIL_API distil_status distil_windows_answers(const distil_windows *windows, const float *logits,
                                                distil_answer *answers, int *count,
                                                distil_error *error);

#ifdef __cplusplus
}
#endif
#endif

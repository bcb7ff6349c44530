/* answer.c: a question answered by a session. */
#include <stdlib.h>

#include "engine/answer.h"
#include "engine/session.h"

/* The tokens of all windows, to be freed with their list by free_texts. */
static distil_status encode_windows(const distil_windows *windows, distil_tokens **texts,
                                    size_t *tokens, distil_error *error)
{
    distil_status status = DISTIL_OK;
    *tokens = 0;
    for (int i = 0; i < windows->count && !status; i++) {
        status = distil_windows_tokens(windows, i, &texts[i], error);
        *tokens += status ? 0 : (size_t)distil_tokens_count(texts[i]);
    }
    return status;
}

static void free_texts(distil_tokens **texts, int count)
{
    for (int i = 0; texts && i < count; i++)
        distil_tokens_free(texts[i]);
    free((void *)texts);
}

distil_status distil_answers(distil_session *session, const char *question, size_t question_length,
                             const char *context, size_t context_length,
                             const distil_answer_options *options, distil_answer *answers,
                             int *count, distil_error *error)
{
    distil_windows *windows;
    distil_tokens **texts = NULL;
    float *logits = NULL;
    size_t tokens;
    int n = 0;
    distil_status status = distil_windows_create(session->model, question, question_length, context,
                                                 context_length, options, &windows, error);
    if (status)
        return status;
    n = windows->count;
    texts = calloc((size_t)n, sizeof(distil_tokens *));
    if (!texts) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for %d windows", n);
        goto done;
    }
    status = encode_windows(windows, texts, &tokens, error);
    if (status)
        goto done;
    logits = calloc(tokens + 1, 2 * sizeof *logits); /* one more, lest it be none */
    if (!logits) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for %d windows", n);
        goto done;
    }
    status = distil_spans(session, (const distil_tokens *const *)texts, n, logits, error);
    if (!status)
        status = distil_windows_answers(windows, logits, answers, count, error);
done:
    free(logits);
    free_texts(texts, n);
    distil_windows_free(windows);
    return status;
}

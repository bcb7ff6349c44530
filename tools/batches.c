#include "tools/batches.h"

#include <stdlib.h>

#include "tools/progress.h"

/* A batch is computed before it has more tokens than this, so that long texts do not need memory
 * without bound. */
enum { BATCH_TOKENS = 16384 };

distil_status tool_batches_create(struct tool_batches *batches, distil_model *model, long most,
                                  distil_error *error)
{
    const size_t count = (size_t)most;
    batches->model = model;
    batches->most = most;
    batches->slots = calloc(count, sizeof *batches->slots);
    batches->tokens = calloc(count, sizeof(distil_tokens *));
    batches->encoded = calloc(count, sizeof(const distil_tokens *));
    if (!batches->slots || !batches->tokens || !batches->encoded)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a batch of %ld texts", most);
    return DISTIL_OK;
}

/* Reads what has arrived, waiting for the first text only, into slots 0..*n-1. */
static enum tool_line gather(struct tool_batches *batches, int *n, int *encoded,
                             distil_error *error)
{
    enum tool_line outcome = TOOL_LINE;
    int tokens = 0;
    *encoded = 0;
    for (*n = 0; *n < batches->most && tokens < BATCH_TOKENS; ++*n) {
        struct tool_text *text = &batches->slots[*n];
        outcome = tool_texts_next(&batches->texts, *n == 0, text, error);
        if (outcome != TOOL_LINE)
            return outcome;
        if (text->problem.code)
            continue;
        if (distil_encode(batches->model, text->text, text->length, NULL, 0, DISTIL_TRUNCATE_RIGHT,
                          &batches->tokens[*n], error))
            return TOOL_BROKEN;
        batches->encoded[(*encoded)++] = batches->tokens[*n];
        tokens += distil_tokens_count(batches->tokens[*n]);
    }
    return outcome;
}

distil_status tool_batches_run(struct tool_batches *batches, const char *label, bool shown,
                               tool_batch_compute *compute, void *context, distil_error *error)
{
    const struct tool_input *input = &batches->texts.input;
    struct tool_progress progress;
    enum tool_line outcome = TOOL_LINE;
    distil_status status = DISTIL_OK;
    tool_progress_start(&progress, label, "texts", shown);
    while (outcome != TOOL_END && !status) {
        int n, encoded;
        outcome = gather(batches, &n, &encoded, error);
        status = outcome == TOOL_BROKEN ? error->code : DISTIL_OK;
        if (!status && n > 0)
            status = compute(context, n, encoded, error);
        batches->done += n;
        tool_progress_update(&progress, input->taken, input->size, batches->done);
    }
    tool_progress_end(&progress);
    return status;
}

void tool_batches_not_finite(struct tool_batches *batches, int slot)
{
    distil_fail(&batches->slots[slot].problem, DISTIL_NOT_FINITE, "%s: text %ld: %s",
                distil_model_info(batches->model)->path, batches->done + slot + 1,
                distil_strerror(DISTIL_NOT_FINITE));
}

void tool_batches_free(struct tool_batches *batches)
{
    for (long i = 0; i < batches->most; i++) {
        if (batches->slots)
            tool_text_free(&batches->slots[i]);
        if (batches->tokens)
            distil_tokens_free(batches->tokens[i]);
    }
    free(batches->slots);
    free(batches->tokens);
    free(batches->encoded);
    tool_texts_close(&batches->texts);
}

#include "tools/embed_texts.h"

#include <stdlib.h>

distil_status tool_embedder_open(struct tool_embedder *embedder,
                                 const struct tool_model_settings *settings, long batch,
                                 distil_error *error)
{
    const distil_options options = {.precision = settings->precision, .cpu = settings->cpu};
    distil_status status =
        tool_open_task(settings->path, DISTIL_TASK_NONE, &options, &embedder->model, error);
    if (status)
        return status;
    embedder->info = distil_model_info(embedder->model);
    if (embedder->info->task != DISTIL_TASK_NONE)
        return distil_fail(error, DISTIL_TASK, "%s: expected an encoder, found a model with a head",
                           embedder->info->path);
    status =
        distil_session_create(embedder->model, (int)settings->threads, &embedder->session, error);
    if (status)
        return status;
    embedder->tokens = calloc((size_t)batch, sizeof(distil_tokens *));
    if (!embedder->tokens)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a batch of %ld texts", batch);
    embedder->batch = batch;
    return DISTIL_OK;
}

distil_status tool_embedder_embed(struct tool_embedder *embedder, const char *const *texts,
                                  const size_t *lengths, int n, float *vectors, int *empty,
                                  distil_error *error)
{
    *empty = n;
    for (int i = n - 1; i >= 0; i--) {
        distil_status status = distil_encode(embedder->model, texts[i], lengths[i], NULL, 0,
                                             DISTIL_TRUNCATE_RIGHT, &embedder->tokens[i], error);
        if (status)
            return status;
        if (distil_tokens_full_count(embedder->tokens[i]) <= DISTIL_EMPTY_TOKENS)
            *empty = i;
    }
    return distil_embed(embedder->session, (const distil_tokens *const *)embedder->tokens, n,
                        vectors, error);
}

void tool_embedder_close(struct tool_embedder *embedder)
{
    for (long i = 0; i < embedder->batch; i++)
        distil_tokens_free(embedder->tokens[i]);
    free(embedder->tokens);
    distil_session_free(embedder->session);
    distil_model_free(embedder->model);
    *embedder = (struct tool_embedder){0};
}

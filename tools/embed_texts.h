/* embed_texts.h: many texts to vectors, in batches. */
#ifndef TOOLS_EMBED_TEXTS_H
#define TOOLS_EMBED_TEXTS_H

#include "tools/model.h"

/* Zero-initialise. */
struct tool_embedder {
    distil_model *model;
    distil_session *session;
    const distil_info *info;
    distil_tokens **tokens; /* (batch) */
    long batch;
};

/* Opens the encoder, the bundled one where none is named. DISTIL_TASK where it is a model with a head. */
distil_status tool_embedder_open(struct tool_embedder *embedder,
                                 const struct tool_model_settings *settings, long batch,
                                 distil_error *error);
/* Vectors (n, hidden) of n texts, at most a batch, cut at the model's window. *empty is the first of them in which nothing
 * becomes a token, n where there is none. */
distil_status tool_embedder_embed(struct tool_embedder *embedder, const char *const *texts,
                                  const size_t *lengths, int n, float *vectors, int *empty,
                                  distil_error *error);
void tool_embedder_close(struct tool_embedder *embedder);

#endif

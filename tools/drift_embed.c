#include "tools/drift_embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/drift_projection.h"
#include "tools/progress.h"

enum { BATCH = 32 };

struct embedder {
    struct server_drift_rows *rows;
    distil_model *model;
    distil_session *session;
    int hidden;
    distil_tokens *tokens[BATCH];
    size_t places[BATCH]; /* of the texts in the rows */
    int count;
    float *embeddings; /* (BATCH, hidden) */
};

static distil_status embed_batch(struct embedder *embedder, distil_error *error)
{
    distil_status status =
        distil_embed(embedder->session, (const distil_tokens *const *)embedder->tokens,
                     embedder->count, embedder->embeddings, error);
    for (int i = 0; i < embedder->count && !status; i++) {
        float *embedding = embedder->embeddings + (size_t)i * (size_t)embedder->hidden;
        distil_normalize(embedding, embedder->hidden);
        server_drift_project(embedding, embedder->hidden,
                             embedder->rows->projection +
                                 embedder->places[i] * SERVER_DRIFT_PROJECTION);
    }
    embedder->count = 0;
    return status;
}

static distil_status embed_rows(struct embedder *embedder, distil_error *error)
{
    const struct server_drift_rows *rows = embedder->rows;
    struct tool_progress progress;
    distil_status status = DISTIL_OK;
    tool_progress_start(&progress, "embedding", "texts", true);
    for (size_t i = 0; i < rows->count && !status; i++) {
        const char *text = rows->texts[i];
        if (text) {
            status =
                distil_encode(embedder->model, text, strlen(text), NULL, 0, DISTIL_TRUNCATE_RIGHT,
                              &embedder->tokens[embedder->count], error);
            embedder->places[embedder->count++] = i;
        }
        if (!status && (embedder->count == BATCH || (i + 1 == rows->count && embedder->count > 0)))
            status = embed_batch(embedder, error);
        tool_progress_update(&progress, i + 1, rows->count, (long)i + 1);
    }
    tool_progress_end(&progress);
    return status;
}

/* Makes room for the projections, of which there are none yet. */
static distil_status begin(const char *what, struct server_drift_rows *rows, distil_error *error)
{
    size_t texts = 0, numbers = rows->count * SERVER_DRIFT_PROJECTION;
    for (size_t i = 0; rows->texts && i < rows->count; i++)
        texts += rows->texts[i] != NULL;
    if (texts == 0)
        return distil_fail(error, DISTIL_INVALID,
                           "%s has no texts to embed: the log keeps them with --log-text full, and "
                           "a reference has none of its own: set it with --embeddings too",
                           what);
    float *projection = malloc(numbers * sizeof *projection);
    if (!projection)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for embeddings");
    for (size_t i = 0; i < numbers; i++)
        projection[i] = NAN;
    free(rows->projection);
    rows->projection = projection;
    rows->dimensions = SERVER_DRIFT_PROJECTION;
    return DISTIL_OK;
}

distil_status tool_drift_embed(const char *what, struct server_drift_rows *rows,
                               const struct tool_model_settings *settings, distil_error *error)
{
    struct embedder embedder = {.rows = rows};
    distil_status status = begin(what, rows, error);
    if (!status)
        status = tool_open_model(settings, &embedder.model, error);
    if (!status)
        status =
            distil_session_create(embedder.model, (int)settings->threads, &embedder.session, error);
    if (!status) {
        embedder.hidden = distil_model_info(embedder.model)->hidden;
        embedder.embeddings = calloc(BATCH, (size_t)embedder.hidden * sizeof *embedder.embeddings);
        status = embedder.embeddings
                     ? embed_rows(&embedder, error)
                     : distil_fail(error, DISTIL_NO_MEMORY, "out of memory for embeddings");
    }
    for (int i = 0; i < BATCH; i++)
        distil_tokens_free(embedder.tokens[i]);
    free(embedder.embeddings);
    distil_session_free(embedder.session);
    distil_model_free(embedder.model);
    return status;
}

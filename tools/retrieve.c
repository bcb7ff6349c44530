#include "tools/retrieve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Passages embedded together: as many tokens as keep all cores at work, and no more memory. */
enum { BATCH = 64 };

void tool_index_free(struct tool_index *index)
{
    free(index->vectors);
    free(index->wanted);
    distil_tokens_free(index->question);
    *index = (struct tool_index){0};
}

static void to_length_one(float *vector, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)vector[i] * (double)vector[i];
    double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (int i = 0; i < n; i++)
        vector[i] = (float)(vector[i] * scale);
}

/* Encodes a passage with the headings over it in front. */
static distil_status encode(const distil_model *model, const struct tool_passages *passages, int i,
                            char **buffer, distil_tokens **tokens, distil_error *error)
{
    const struct tool_passage *passage = &passages->items[i];
    const char *section = passages->sections[passage->section];
    size_t heading = strlen(section), length = heading + 1 + passage->length;
    char *text = realloc(*buffer, length);
    if (!text)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a passage of %zu bytes", length);
    *buffer = text;
    char *end = stpcpy(text, section);
    *end = '\n';
    memcpy(end + 1, passages->text.bytes + passage->text, passage->length);
    return distil_encode(model, text, length, NULL, 0, DISTIL_TRUNCATE_RIGHT, tokens, error);
}

distil_status tool_index_build(struct tool_index *index, const distil_model *model,
                               distil_session *session, const struct tool_passages *passages,
                               struct tool_progress *progress, distil_error *error)
{
    distil_tokens *tokens[BATCH] = {NULL};
    char *buffer = NULL;
    distil_status status = DISTIL_OK;
    size_t hidden = (size_t)distil_model_info(model)->hidden;
    index->session = session;
    index->hidden = (int)hidden;
    index->wanted = calloc(hidden, sizeof *index->wanted);
    index->vectors = calloc((size_t)passages->count, hidden * sizeof *index->vectors);
    if (!index->wanted || !index->vectors)
        status =
            distil_fail(error, DISTIL_NO_MEMORY, "no memory for %d embeddings", passages->count);
    for (int first = 0; first < passages->count && !status;) {
        int n = passages->count - first < BATCH ? passages->count - first : BATCH;
        float *vectors = index->vectors + (size_t)first * hidden;
        for (int i = 0; i < n && !status; i++)
            status = encode(model, passages, first + i, &buffer, &tokens[i], error);
        if (!status)
            status = distil_embed(session, (const distil_tokens *const *)tokens, n, vectors, error);
        for (int i = 0; i < n && !status; i++)
            to_length_one(vectors + (size_t)i * hidden, (int)hidden);
        first += n;
        tool_progress_update(progress, (size_t)first, (size_t)passages->count, first);
    }
    index->count = passages->count;
    for (int i = 0; i < BATCH; i++)
        distil_tokens_free(tokens[i]);
    free(buffer);
    return status;
}

distil_status tool_index_search(struct tool_index *index, const distil_model *model,
                                const char *question, size_t length, struct tool_hit *hits,
                                int most, int *count, distil_error *error)
{
    distil_status status = distil_encode(model, question, length, NULL, 0, DISTIL_TRUNCATE_RIGHT,
                                         &index->question, error);
    *count = 0;
    if (!status)
        status = distil_embed(index->session, (const distil_tokens *const *)&index->question, 1,
                              index->wanted, error);
    if (status)
        return status;
    to_length_one(index->wanted, index->hidden);
    for (int i = 0; i < index->count; i++) {
        const float *vector = index->vectors + (size_t)i * (size_t)index->hidden;
        struct tool_hit hit = {.passage = i};
        for (int j = 0; j < index->hidden; j++)
            hit.similarity += vector[j] * index->wanted[j];
        int at = *count < most ? (*count)++ : most;
        for (; at > 0 && hits[at - 1].similarity < hit.similarity; at--)
            if (at < most)
                hits[at] = hits[at - 1];
        if (at < most)
            hits[at] = hit;
    }
    return DISTIL_OK;
}

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
    free(index->text);
    free(index->vector);
    distil_tokens_free(index->question);
    distil_tokens_free(index->piece);
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

static float cosine(const float *a, const float *b, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Encodes a passage, or a piece of one, with the headings over it in front. */
static distil_status encode(struct tool_index *index, const distil_model *model,
                            const char *section, const char *text, size_t length,
                            distil_tokens **tokens, distil_error *error)
{
    size_t heading = strlen(section), all = heading + 1 + length;
    char *joined = realloc(index->text, all);
    if (!joined)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a passage of %zu bytes", all);
    index->text = joined;
    char *end = stpcpy(joined, section);
    *end = '\n';
    memcpy(end + 1, text, length);
    return distil_encode(model, joined, all, NULL, 0, DISTIL_TRUNCATE_RIGHT, tokens, error);
}

static distil_status encode_passage(struct tool_index *index, const distil_model *model,
                                    const struct tool_passages *passages, int i,
                                    distil_tokens **tokens, distil_error *error)
{
    const struct tool_passage *passage = &passages->items[i];
    return encode(index, model, passages->sections[passage->section],
                  passages->text.bytes + passage->text, passage->length, tokens, error);
}

distil_status tool_index_build(struct tool_index *index, const distil_model *model,
                               distil_session *session, const struct tool_passages *passages,
                               struct tool_progress *progress, distil_error *error)
{
    distil_tokens *tokens[BATCH] = {NULL};
    distil_status status = DISTIL_OK;
    size_t hidden = (size_t)distil_model_info(model)->hidden;
    index->session = session;
    index->hidden = (int)hidden;
    index->wanted = calloc(hidden, sizeof *index->wanted);
    index->vector = calloc(hidden, sizeof *index->vector);
    index->vectors = calloc((size_t)passages->count, hidden * sizeof *index->vectors);
    if (!index->wanted || !index->vector || !index->vectors)
        status =
            distil_fail(error, DISTIL_NO_MEMORY, "no memory for %d embeddings", passages->count);
    for (int first = 0; first < passages->count && !status;) {
        int n = passages->count - first < BATCH ? passages->count - first : BATCH;
        float *vectors = index->vectors + (size_t)first * hidden;
        for (int i = 0; i < n && !status; i++)
            status = encode_passage(index, model, passages, first + i, &tokens[i], error);
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
        struct tool_hit hit = {.passage = i,
                               .similarity = cosine(vector, index->wanted, index->hidden)};
        int at = *count < most ? (*count)++ : most;
        for (; at > 0 && hits[at - 1].similarity < hit.similarity; at--)
            if (at < most)
                hits[at] = hits[at - 1];
        if (at < most)
            hits[at] = hit;
    }
    return DISTIL_OK;
}

distil_status tool_index_compare(struct tool_index *index, const distil_model *model,
                                 const char *section, const char *piece, size_t length,
                                 float *similarity, distil_error *error)
{
    distil_status status = encode(index, model, section, piece, length, &index->piece, error);
    if (!status)
        status = distil_embed(index->session, (const distil_tokens *const *)&index->piece, 1,
                              index->vector, error);
    if (status)
        return status;
    to_length_one(index->vector, index->hidden);
    *similarity = cosine(index->vector, index->wanted, index->hidden);
    return DISTIL_OK;
}

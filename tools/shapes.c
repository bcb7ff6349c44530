#include "tools/shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TEXTS = 4096, MIX_TEXTS = 32 };

static const int mix_tokens[MIX_TEXTS] = {8,   10,  12,  14,  16,  18,  20,  24,  28,  32,  36,
                                          40,  44,  48,  56,  64,  72,  80,  88,  96,  104, 112,
                                          128, 144, 160, 176, 192, 224, 256, 320, 384, 512};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

/* Fisher and Yates, with a seed of its own. */
static void shuffle(int *values, int count)
{
    uint32_t state = 1;
    for (int i = count - 1; i > 0; i--) {
        int j = (int)(next_random(&state) % (uint32_t)(i + 1));
        int kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}

distil_status tool_shape_parse(struct tool_shape *shape, const char *text, size_t length,
                               int window, distil_error *error)
{
    long texts, tokens = 0;
    char *end;
    *shape = (struct tool_shape){0};
    snprintf(shape->name, sizeof shape->name, "%.*s", (int)(length < 31 ? length : 31), text);
    /* strtol takes spaces and signs too. */
    int digits = strspn(shape->name, "0123456789x") == strlen(shape->name);
    int mixed = strcmp(shape->name, "mix32") == 0;
    if (mixed) {
        texts = MIX_TEXTS;
        tokens = mix_tokens[MIX_TEXTS - 1];
    } else {
        texts = strtol(shape->name, &end, 10);
        if (*end == 'x')
            tokens = strtol(end + 1, &end, 10);
        if (*end || !digits || length > 31 || texts < 1 || tokens < 1)
            return distil_fail(error, DISTIL_INVALID,
                               "shape: expected BATCHxTOKENS (as 8x128) or mix32, found '%s'",
                               shape->name);
    }
    if (texts > MOST_TEXTS)
        return distil_fail(error, DISTIL_INVALID, "shape %s: more than %d texts", shape->name,
                           MOST_TEXTS);
    if (tokens > window)
        return distil_fail(error, DISTIL_INVALID,
                           "shape %s: %ld tokens are more than the model's window of %d",
                           shape->name, tokens, window);
    shape->texts = (int)texts;
    shape->tokens = calloc((size_t)texts, sizeof *shape->tokens);
    if (!shape->tokens)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for shape %s", shape->name);
    for (int i = 0; i < shape->texts; i++) {
        shape->tokens[i] = mixed ? mix_tokens[i] : (int)tokens;
        shape->total += shape->tokens[i];
        shape->square_total += (double)shape->tokens[i] * shape->tokens[i];
    }
    if (mixed)
        shuffle(shape->tokens, shape->texts);
    return DISTIL_OK;
}

void tool_shape_free(struct tool_shape *shape)
{
    free(shape->tokens);
    shape->tokens = NULL;
}

distil_status tool_shape_texts(const struct tool_shape *shape, const distil_model *model,
                               distil_tokens **texts, distil_error *error)
{
    const distil_info *info = distil_model_info(model);
    int32_t *ids = calloc((size_t)info->window, sizeof *ids);
    distil_status status = DISTIL_OK;
    uint32_t state = 2;
    if (!ids)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a shape's tokens");
    for (int i = 0; i < shape->texts && !status; i++) {
        for (int j = 0; j < shape->tokens[i]; j++)
            ids[j] = (int32_t)(next_random(&state) % (uint32_t)info->vocab);
        status = distil_tokens_from_ids(model, ids, shape->tokens[i], &texts[i], error);
    }
    free(ids);
    return status;
}

double tool_shape_operations(const struct tool_shape *shape, const distil_info *info)
{
    double d = info->hidden, f = info->ffn, texts = shape->texts, tokens = (double)shape->total;
    double keys_values = 2 * 2 * d * d, query_output = 2 * 2 * d * d, feed_forward = 2 * 2 * d * f;
    double layer =
        tokens * (keys_values + query_output + feed_forward) + 4 * d * shape->square_total;
    double last = tokens * keys_values + texts * (query_output + feed_forward) + 4 * d * tokens;
    double head = texts * 2 * d * (d + info->label_count);
    return (info->layers - 1) * layer + last + head;
}

#include "weights/names.h"

#include <stdio.h>
#include <string.h>

enum size { ONE, HIDDEN, FFN, VOCAB, WINDOW, LABELS };

struct entry {
    const char *name; /* '#' stands for the layer */
    enum weights_part part;
    size_t offset;
    enum size rows, cols;
    const char *distilbert,
        *bert; /* '@' stands for the prefix that the base model has inside a task's model */
};

#define MODEL(field) offsetof(struct weights_model, field)
#define LAYER(field) offsetof(struct weights_layer, field)

/* clang-format off */
static const struct entry entries[] = {
    {"embeddings.word", WEIGHTS_PART_ENCODER, MODEL(word), VOCAB, HIDDEN,
     "@embeddings.word_embeddings.weight", "@embeddings.word_embeddings.weight"},
    {"embeddings.position", WEIGHTS_PART_ENCODER, MODEL(position), WINDOW, HIDDEN,
     "@embeddings.position_embeddings.weight", "@embeddings.position_embeddings.weight"},
    {"embeddings.token_type", WEIGHTS_PART_TOKEN_TYPE, MODEL(token_type), ONE, HIDDEN,
     NULL, "@embeddings.token_type_embeddings.weight"},
    {"embeddings.norm.weight", WEIGHTS_PART_ENCODER, MODEL(embedding_norm.gamma), ONE, HIDDEN,
     "@embeddings.LayerNorm.weight", "@embeddings.LayerNorm.weight"},
    {"embeddings.norm.bias", WEIGHTS_PART_ENCODER, MODEL(embedding_norm.beta), ONE, HIDDEN,
     "@embeddings.LayerNorm.bias", "@embeddings.LayerNorm.bias"},

    {"layers.#.attention.query.weight", WEIGHTS_PART_LAYER, LAYER(query.weight), HIDDEN, HIDDEN,
     "@transformer.layer.#.attention.q_lin.weight", "@encoder.layer.#.attention.self.query.weight"},
    {"layers.#.attention.query.bias", WEIGHTS_PART_LAYER, LAYER(query.bias), ONE, HIDDEN,
     "@transformer.layer.#.attention.q_lin.bias", "@encoder.layer.#.attention.self.query.bias"},
    {"layers.#.attention.key.weight", WEIGHTS_PART_LAYER, LAYER(key.weight), HIDDEN, HIDDEN,
     "@transformer.layer.#.attention.k_lin.weight", "@encoder.layer.#.attention.self.key.weight"},
    {"layers.#.attention.key.bias", WEIGHTS_PART_LAYER, LAYER(key.bias), ONE, HIDDEN,
     "@transformer.layer.#.attention.k_lin.bias", "@encoder.layer.#.attention.self.key.bias"},
    {"layers.#.attention.value.weight", WEIGHTS_PART_LAYER, LAYER(value.weight), HIDDEN, HIDDEN,
     "@transformer.layer.#.attention.v_lin.weight", "@encoder.layer.#.attention.self.value.weight"},
    {"layers.#.attention.value.bias", WEIGHTS_PART_LAYER, LAYER(value.bias), ONE, HIDDEN,
     "@transformer.layer.#.attention.v_lin.bias", "@encoder.layer.#.attention.self.value.bias"},
    {"layers.#.attention.output.weight", WEIGHTS_PART_LAYER, LAYER(output.weight), HIDDEN, HIDDEN,
     "@transformer.layer.#.attention.out_lin.weight", "@encoder.layer.#.attention.output.dense.weight"},
    {"layers.#.attention.output.bias", WEIGHTS_PART_LAYER, LAYER(output.bias), ONE, HIDDEN,
     "@transformer.layer.#.attention.out_lin.bias", "@encoder.layer.#.attention.output.dense.bias"},
    {"layers.#.attention.norm.weight", WEIGHTS_PART_LAYER, LAYER(attention_norm.gamma), ONE, HIDDEN,
     "@transformer.layer.#.sa_layer_norm.weight", "@encoder.layer.#.attention.output.LayerNorm.weight"},
    {"layers.#.attention.norm.bias", WEIGHTS_PART_LAYER, LAYER(attention_norm.beta), ONE, HIDDEN,
     "@transformer.layer.#.sa_layer_norm.bias", "@encoder.layer.#.attention.output.LayerNorm.bias"},
    {"layers.#.ffn.up.weight", WEIGHTS_PART_LAYER, LAYER(up.weight), FFN, HIDDEN,
     "@transformer.layer.#.ffn.lin1.weight", "@encoder.layer.#.intermediate.dense.weight"},
    {"layers.#.ffn.up.bias", WEIGHTS_PART_LAYER, LAYER(up.bias), ONE, FFN,
     "@transformer.layer.#.ffn.lin1.bias", "@encoder.layer.#.intermediate.dense.bias"},
    {"layers.#.ffn.down.weight", WEIGHTS_PART_LAYER, LAYER(down.weight), HIDDEN, FFN,
     "@transformer.layer.#.ffn.lin2.weight", "@encoder.layer.#.output.dense.weight"},
    {"layers.#.ffn.down.bias", WEIGHTS_PART_LAYER, LAYER(down.bias), ONE, HIDDEN,
     "@transformer.layer.#.ffn.lin2.bias", "@encoder.layer.#.output.dense.bias"},
    {"layers.#.ffn.norm.weight", WEIGHTS_PART_LAYER, LAYER(output_norm.gamma), ONE, HIDDEN,
     "@transformer.layer.#.output_layer_norm.weight", "@encoder.layer.#.output.LayerNorm.weight"},
    {"layers.#.ffn.norm.bias", WEIGHTS_PART_LAYER, LAYER(output_norm.beta), ONE, HIDDEN,
     "@transformer.layer.#.output_layer_norm.bias", "@encoder.layer.#.output.LayerNorm.bias"},

    {"head.dense.weight", WEIGHTS_PART_HEAD_DENSE, MODEL(head_dense.weight), HIDDEN, HIDDEN,
     "pre_classifier.weight", "@pooler.dense.weight"},
    {"head.dense.bias", WEIGHTS_PART_HEAD_DENSE, MODEL(head_dense.bias), ONE, HIDDEN,
     "pre_classifier.bias", "@pooler.dense.bias"},
    {"head.weight", WEIGHTS_PART_HEAD, MODEL(head.weight), LABELS, HIDDEN,
     "classifier.weight", "classifier.weight"},
    {"head.bias", WEIGHTS_PART_HEAD, MODEL(head.bias), ONE, LABELS,
     "classifier.bias", "classifier.bias"},
};
/* clang-format on */

enum { ENTRIES = sizeof entries / sizeof *entries, FIRST_LAYER_ENTRY = 5, LAYER_ENTRIES = 16 };

static bool present(const struct weights_config *config, enum weights_part part)
{
    switch (part) {
    case WEIGHTS_PART_TOKEN_TYPE:
        return config->architecture == WEIGHTS_BERT;
    case WEIGHTS_PART_HEAD_DENSE:
        return config->task == WEIGHTS_TASK_SEQUENCE_CLASSIFICATION &&
               config->head_input == WEIGHTS_HEAD_FIRST_TOKEN;
    case WEIGHTS_PART_HEAD:
        return config->task != WEIGHTS_TASK_NONE;
    default:
        return true;
    }
}

/* The i-th of the entries as they repeat for the layers; *layer is -1 outside them. NULL past the
 * end. */
static const struct entry *entry_at(const struct weights_config *config, int i, int *layer)
{
    *layer = -1;
    if (i < FIRST_LAYER_ENTRY)
        return &entries[i];
    i -= FIRST_LAYER_ENTRY;
    if (i < config->layers * LAYER_ENTRIES) {
        *layer = i / LAYER_ENTRIES;
        return &entries[FIRST_LAYER_ENTRY + i % LAYER_ENTRIES];
    }
    i += FIRST_LAYER_ENTRY + LAYER_ENTRIES - config->layers * LAYER_ENTRIES;
    return i < ENTRIES ? &entries[i] : NULL;
}

int weights_slot_count(const struct weights_config *config)
{
    int count = 0, layer;
    const struct entry *entry;
    for (int i = 0; (entry = entry_at(config, i, &layer)); i++)
        count += present(config, entry->part);
    return count;
}

static long size_of(const struct weights_config *config, enum size size)
{
    switch (size) {
    case HIDDEN:
        return config->hidden;
    case FFN:
        return config->ffn;
    case VOCAB:
        return config->vocab;
    case WINDOW:
        return config->window;
    case LABELS:
        return config->label_count;
    default:
        return 1;
    }
}

/* Copies a pattern, replacing '#' by the layer and a leading '@' by the prefix. */
static void expand(char *out, size_t size, const char *pattern, const char *prefix, int layer)
{
    bool prefixed = *pattern == '@';
    pattern += prefixed;
    const char *hash = strchr(pattern, '#');
    if (hash)
        snprintf(out, size, "%s%.*s%d%s", prefixed ? prefix : "", (int)(hash - pattern), pattern,
                 layer, hash + 1);
    else
        snprintf(out, size, "%s%s", prefixed ? prefix : "", pattern);
}

void weights_slot_at(struct weights_slot *slot, const struct weights_config *config, int i)
{
    int layer = -1;
    const struct entry *entry = entry_at(config, 0, &layer), *next;
    for (int at = 1; i > 0 && (next = entry_at(config, at, &layer)); at++) {
        entry = next;
        i -= present(config, entry->part);
    }
    slot->part = entry->part;
    slot->layer = layer;
    slot->offset = entry->offset;
    slot->vector = entry->rows == ONE;
    slot->rows = size_of(config, entry->rows);
    slot->cols = size_of(config, entry->cols);
    slot->source = config->architecture == WEIGHTS_BERT ? entry->bert : entry->distilbert;
    if (entry->part == WEIGHTS_PART_HEAD && config->task == WEIGHTS_TASK_QUESTION_ANSWERING)
        slot->source = entry->rows == ONE ? "qa_outputs.bias" : "qa_outputs.weight";
    expand(slot->name, sizeof slot->name, entry->name, "", layer);
}

struct weights_tensor *weights_slot_tensor(struct weights_model *model,
                                           const struct weights_slot *slot)
{
    char *base = slot->layer < 0 ? (char *)model : (char *)&model->layers[slot->layer];
    return (struct weights_tensor *)(void *)(base + slot->offset);
}

const struct weights_tensor *weights_slot_tensor_const(const struct weights_model *model,
                                                       const struct weights_slot *slot)
{
    const char *base =
        slot->layer < 0 ? (const char *)model : (const char *)&model->layers[slot->layer];
    return (const struct weights_tensor *)(const void *)(base + slot->offset);
}

const char *weights_source_name(const struct weights_slot *slot, const char *prefix,
                                char buffer[WEIGHTS_SOURCE_NAME])
{
    expand(buffer, WEIGHTS_SOURCE_NAME, slot->source, prefix, slot->layer);
    return buffer;
}

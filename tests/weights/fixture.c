#include "fixture.h"

#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weights/names.h"

const char fixture_distilbert_config[] =
    "{\"model_type\": \"distilbert\", \"architectures\": "
    "[\"DistilBertForSequenceClassification\"],\n"
    " \"activation\": \"gelu\", \"dim\": 8, \"hidden_dim\": 16, \"n_heads\": 2, \"n_layers\": 2,\n"
    " \"vocab_size\": 12, \"max_position_embeddings\": 6, \"sinusoidal_pos_embds\": false,\n"
    " \"id2label\": {\"0\": \"bad\", \"1\": \"fair\", \"2\": \"good\"},\n"
    " \"label2id\": {\"bad\": 0, \"fair\": 1, \"good\": 2}}\n";

const char fixture_bert_config[] =
    "{\"model_type\": \"bert\", \"architectures\": [\"BertModel\"], \"hidden_act\": \"gelu\",\n"
    " \"hidden_size\": 8, \"intermediate_size\": 16, \"num_attention_heads\": 2,\n"
    " \"num_hidden_layers\": 2, \"vocab_size\": 12, \"max_position_embeddings\": 6,\n"
    " \"type_vocab_size\": 2, \"layer_norm_eps\": 1e-06, \"position_embedding_type\": "
    "\"absolute\"}\n";

const char fixture_vocab[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##c\nword\n\xc3\xa9t\xc3\xa9\n";

#define SPECIAL(id, name)                                                                          \
    "{\"id\": " #id ", \"content\": \"" name "\", \"special\": true, \"single_word\": false, "     \
    "\"lstrip\": false, \"rstrip\": false, \"normalized\": false}"

const char fixture_tokenizer[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": "
    "[" SPECIAL(0, "[PAD]") ", " SPECIAL(1, "[UNK]") ", " SPECIAL(2, "[CLS]") ", " SPECIAL(
        3, "[SEP]") ", " SPECIAL(4, "[MASK"
                                    "]") "],\n"
                                         " \"normalizer\": {\"type\": \"BertNormalizer\", "
                                         "\"clean_text\": true, \"handle_chinese_chars\": "
                                         "true, \"strip_accents\": null, \"lowercase\": true},\n"
                                         " \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},\n"
                                         " \"post_processor\": {\"type\": \"TemplateProcessing\", "
                                         "\"single\": [{\"SpecialToken\": {\"id\": "
                                         "\"[CLS]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": "
                                         "\"A\", \"type_id\": 0}}, {\"SpecialToken\": "
                                         "{\"id\": \"[SEP]\", \"type_id\": 0}}], \"pair\": "
                                         "[{\"SpecialToken\": {\"id\": \"[CLS]\", "
                                         "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
                                         "\"type_id\": 0}}, {\"SpecialToken\": {\"id\": "
                                         "\"[SEP]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": "
                                         "\"B\", \"type_id\": 1}}, {\"SpecialToken\": "
                                         "{\"id\": \"[SEP]\", \"type_id\": 1}}], "
                                         "\"special_tokens\": {\"[CLS]\": {\"id\": \"[CLS]\", "
                                         "\"ids\": [2], \"tokens\": [\"[CLS]\"]}, \"[SEP]\": "
                                         "{\"id\": \"[SEP]\", \"ids\": [3], \"tokens\": "
                                         "[\"[SEP]\"]}}},\n"
                                         " \"decoder\": {\"type\": \"WordPiece\", \"prefix\": "
                                         "\"##\", \"cleanup\": true},\n"
                                         " \"model\": {\"type\": \"WordPiece\", \"unk_token\": "
                                         "\"[UNK]\", \"continuing_subword_prefix\": "
                                         "\"##\", \"max_input_chars_per_word\": 100, \"vocab\": "
                                         "{\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, "
                                         "\"[SEP]\": 3, \"[MASK]\": 4, \"a\": 5, \"b\": 6, "
                                         "\"##c\": 7, \"word\": 8, \"\xc3\xa9t\xc3\xa9\": "
                                         "9}}}\n";

char *fixture_directory(void)
{
    const char *base = getenv("TMPDIR");
    char *path = malloc(4096);
    ck_assert_ptr_nonnull(path);
    snprintf(path, 4096, "%s/distild-test-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

void fixture_remove(char *directory)
{
    DIR *listing = opendir(directory);
    ck_assert_ptr_nonnull(listing);
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        const char *path = fixture_path(directory, entry->d_name);
        if (unlink(path))
            ck_assert_int_eq(rmdir(path), 0);
    }
    closedir(listing);
    ck_assert_int_eq(rmdir(directory), 0);
    free(directory);
}

int fixture_count(const char *directory)
{
    int count = 0;
    DIR *listing = opendir(directory);
    ck_assert_ptr_nonnull(listing);
    while (readdir(listing))
        count++;
    closedir(listing);
    return count - 2;
}

const char *fixture_path(const char *directory, const char *name)
{
    static char buffers[4][4096];
    static int next;
    char *path = buffers[next++ % 4];
    snprintf(path, sizeof buffers[0], "%s/%s", directory, name);
    return path;
}

void fixture_write(const char *directory, const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(fixture_path(directory, name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

void fixture_text(const char *directory, const char *name, const char *text)
{
    fixture_write(directory, name, text, strlen(text));
}

unsigned char *fixture_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

void fixture_edit(const char *directory, const char *name, const char *text, const char *from,
                  const char *to)
{
    ck_assert_msg(strstr(text, from) != NULL, "nothing to edit: %s", from);
    FILE *file = fopen(fixture_path(directory, name), "wb");
    ck_assert_ptr_nonnull(file);
    for (const char *found; (found = strstr(text, from)); text = found + strlen(from)) {
        fwrite(text, 1, (size_t)(found - text), file);
        fputs(to, file);
    }
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

void fixture_patch(const char *directory, const char *from, const char *to, const char *old,
                   const char *new)
{
    size_t size;
    unsigned char *bytes = fixture_read(fixture_path(directory, from), &size);
    unsigned char *at = memmem(bytes, size, old, strlen(old));
    ck_assert_ptr_nonnull(at);
    memcpy(at, new, strlen(new));
    fixture_write(directory, to, bytes, size);
    free(bytes);
}

struct fixture_tensor *fixture_add(struct fixture_checkpoint *checkpoint, const char *name,
                                   const char *dtype, long rows, long cols)
{
    ck_assert_int_lt(checkpoint->count, 128);
    struct fixture_tensor *tensor = &checkpoint->tensors[checkpoint->count++];
    *tensor = (struct fixture_tensor){.dtype = dtype, .rank = rows ? 2 : 1};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    tensor->shape[0] = rows ? rows : cols;
    tensor->shape[1] = cols;
    tensor->count = (size_t)(rows ? rows : 1) * (size_t)cols;
    tensor->values = malloc(tensor->count * sizeof *tensor->values);
    ck_assert_ptr_nonnull(tensor->values);
    uint32_t state = 2166136261u; /* values by the name, so that every tensor has its own */
    for (const char *c = name; *c; c++)
        state = (state ^ (unsigned char)*c) * 16777619u;
    for (size_t i = 0; i < tensor->count; i++) {
        state = state * 1664525u + 1013904223u;
        tensor->values[i] = (float)((int)(state >> 16) % 129 - 64) / 64.0f;
    }
    return tensor;
}

struct fixture_tensor *fixture_find(struct fixture_checkpoint *checkpoint, const char *name)
{
    for (int i = 0; i < checkpoint->count; i++)
        if (!strcmp(checkpoint->tensors[i].name, name))
            return &checkpoint->tensors[i];
    ck_abort_msg("the fixture has no tensor %s", name);
    return NULL;
}

void fixture_drop(struct fixture_checkpoint *checkpoint, const char *name)
{
    struct fixture_tensor *tensor = fixture_find(checkpoint, name);
    free(tensor->values);
    *tensor = checkpoint->tensors[--checkpoint->count];
}

void fixture_clear(struct fixture_checkpoint *checkpoint)
{
    for (int i = 0; i < checkpoint->count; i++)
        free(checkpoint->tensors[i].values);
    checkpoint->count = 0;
}

static void add_named(struct fixture_checkpoint *checkpoint, const char *dtype, long rows,
                      long cols, const char *prefix, const char *middle, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s%s.weight", prefix, middle, name);
    fixture_add(checkpoint, full, dtype, rows, cols);
}

/* A weight of (rows, cols), rows 0 for a normalisation's, and its bias. */
static void add_linear(struct fixture_checkpoint *checkpoint, const char *dtype, long rows,
                       long cols, const char *prefix, const char *middle, const char *name)
{
    char full[128];
    add_named(checkpoint, dtype, rows, cols, prefix, middle, name);
    snprintf(full, sizeof full, "%s%s%s.bias", prefix, middle, name);
    fixture_add(checkpoint, full, dtype, 0, rows ? rows : cols);
}

void fixture_distilbert(struct fixture_checkpoint *checkpoint, const char *prefix,
                        const char *dtype)
{
    add_named(checkpoint, dtype, VOCAB, HIDDEN, prefix, "embeddings.", "word_embeddings");
    add_named(checkpoint, dtype, WINDOW, HIDDEN, prefix, "embeddings.", "position_embeddings");
    add_linear(checkpoint, dtype, 0, HIDDEN, prefix, "embeddings.", "LayerNorm");
    for (int i = 0; i < LAYERS; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "transformer.layer.%d.", i);
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.q_lin");
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.k_lin");
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.v_lin");
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.out_lin");
        add_linear(checkpoint, dtype, 0, HIDDEN, prefix, layer, "sa_layer_norm");
        add_linear(checkpoint, dtype, FFN, HIDDEN, prefix, layer, "ffn.lin1");
        add_linear(checkpoint, dtype, HIDDEN, FFN, prefix, layer, "ffn.lin2");
        add_linear(checkpoint, dtype, 0, HIDDEN, prefix, layer, "output_layer_norm");
    }
}

void fixture_bert(struct fixture_checkpoint *checkpoint, const char *prefix, const char *dtype)
{
    add_named(checkpoint, dtype, VOCAB, HIDDEN, prefix, "embeddings.", "word_embeddings");
    add_named(checkpoint, dtype, WINDOW, HIDDEN, prefix, "embeddings.", "position_embeddings");
    add_named(checkpoint, dtype, 2, HIDDEN, prefix, "embeddings.", "token_type_embeddings");
    add_linear(checkpoint, dtype, 0, HIDDEN, prefix, "embeddings.", "LayerNorm");
    for (int i = 0; i < LAYERS; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "encoder.layer.%d.", i);
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.self.query");
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.self.key");
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.self.value");
        add_linear(checkpoint, dtype, HIDDEN, HIDDEN, prefix, layer, "attention.output.dense");
        add_linear(checkpoint, dtype, 0, HIDDEN, prefix, layer, "attention.output.LayerNorm");
        add_linear(checkpoint, dtype, FFN, HIDDEN, prefix, layer, "intermediate.dense");
        add_linear(checkpoint, dtype, HIDDEN, FFN, prefix, layer, "output.dense");
        add_linear(checkpoint, dtype, 0, HIDDEN, prefix, layer, "output.LayerNorm");
    }
}

/* The bits of a value that the type holds exactly. */
static uint16_t half_bits(float value)
{
    int exponent;
    float fraction = frexpf(fabsf(value), &exponent); /* [0.5, 1) */
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    if (isnan(value) || isinf(value))
        return sign | (isnan(value) ? 0x7e00 : 0x7c00);
    if (value == 0)
        return sign;
    return sign | (uint16_t)((exponent + 14) << 10) | (uint16_t)((fraction * 2 - 1) * 1024);
}

static size_t encode(unsigned char *out, const struct fixture_tensor *tensor)
{
    bool f32 = !strcmp(tensor->dtype, "F32"), bf16 = !strcmp(tensor->dtype, "BF16");
    for (size_t i = 0; i < tensor->count; i++) {
        uint32_t bits;
        memcpy(&bits, &tensor->values[i], sizeof bits);
        uint16_t half = bf16 ? (uint16_t)(bits >> 16) : half_bits(tensor->values[i]);
        if (f32)
            memcpy(out + 4 * i, &bits, sizeof bits);
        else
            memcpy(out + 2 * i, &half, sizeof half);
    }
    return tensor->count * (f32 ? 4 : 2);
}

void fixture_safetensors(const char *directory, const char *name,
                         const struct fixture_checkpoint *checkpoint, int first, int end)
{
    static char header[1 << 16];
    static unsigned char data[1 << 18];
    size_t used = (size_t)snprintf(header, sizeof header, "{\"__metadata__\":{\"format\":\"pt\"}");
    size_t begin = 0;
    for (int i = first; i < end; i++) {
        const struct fixture_tensor *tensor = &checkpoint->tensors[i];
        char shape[64];
        if (tensor->rank == 1)
            snprintf(shape, sizeof shape, "[%ld]", tensor->shape[0]);
        else
            snprintf(shape, sizeof shape, "[%ld,%ld]", tensor->shape[0], tensor->shape[1]);
        size_t bytes = encode(data + begin, tensor);
        used +=
            (size_t)snprintf(header + used, sizeof header - used,
                             ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                             tensor->name, tensor->dtype, shape, begin, begin + bytes);
        begin += bytes;
        ck_assert_uint_lt(used, sizeof header - 400);
        ck_assert_uint_lt(begin, sizeof data / 2);
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    uint64_t length = used; /* left unpadded, so that the data is as badly aligned as it may be */
    FILE *file = fopen(fixture_path(directory, name), "wb");
    ck_assert_ptr_nonnull(file);
    fwrite(&length, 1, sizeof length, file);
    fwrite(header, 1, used, file);
    fwrite(data, 1, begin, file);
    ck_assert_int_eq(fclose(file), 0);
}

void fixture_header(const char *directory, const char *name, const char *header, size_t size)
{
    uint64_t length = strlen(header);
    FILE *file = fopen(fixture_path(directory, name), "wb");
    ck_assert_ptr_nonnull(file);
    fwrite(&length, 1, sizeof length, file);
    fputs(header, file);
    for (size_t i = 0; i < size; i++)
        fputc(0, file);
    ck_assert_int_eq(fclose(file), 0);
}

void fixture_distilbert_directory(const char *directory, const char *dtype)
{
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_distilbert(&checkpoint, "distilbert.", dtype);
    add_linear(&checkpoint, dtype, HIDDEN, HIDDEN, "", "", "pre_classifier");
    add_linear(&checkpoint, dtype, LABELS, HIDDEN, "", "", "classifier");
    fixture_safetensors(directory, "model.safetensors", &checkpoint, 0, checkpoint.count);
    fixture_text(directory, "config.json", fixture_distilbert_config);
    fixture_text(directory, "tokenizer.json", fixture_tokenizer);
    fixture_clear(&checkpoint);
}

void fixture_bert_directory(const char *directory, const char *dtype)
{
    struct fixture_checkpoint checkpoint = {.count = 0};
    fixture_bert(&checkpoint, "", dtype);
    add_linear(&checkpoint, dtype, HIDDEN, HIDDEN, "", "pooler.", "dense");
    fixture_safetensors(directory, "model.safetensors", &checkpoint, 0, checkpoint.count);
    fixture_text(directory, "config.json", fixture_bert_config);
    fixture_text(directory, "tokenizer.json", fixture_tokenizer);
    fixture_clear(&checkpoint);
}

void fixture_refused(const char *path, distil_status status, int count, ...)
{
    struct weights_model *model = NULL;
    distil_error error = {.code = DISTIL_OK};
    distil_status found = weights_open(&model, path, &error);
    ck_assert_ptr_null(model);
    ck_assert_msg(found == status, "expected status %d (%s), found %d: %s", status,
                  distil_strerror(status), found, error.message);
    ck_assert_int_eq(error.code, status);
    va_list parts;
    va_start(parts, count);
    for (int i = 0; i < count; i++) {
        const char *part = va_arg(parts, const char *);
        ck_assert_msg(strstr(error.message, part) != NULL, "expected \"%s\" in: %s", part,
                      error.message);
    }
    va_end(parts);
    ck_assert_ptr_null(strchr(error.message, '\n'));
}

struct weights_model *fixture_open(const char *path)
{
    struct weights_model *model = NULL;
    distil_error error = {.message = ""};
    distil_status status = weights_open(&model, path, &error);
    ck_assert_msg(status == DISTIL_OK, "%s", error.message);
    ck_assert_ptr_nonnull(model);
    return model;
}

void fixture_convert(const char *directory, const char *name, const struct weights_model *model,
                     enum weights_dtype dtype)
{
    distil_error error = {.message = ""};
    ck_assert_msg(weights_write(model, fixture_path(directory, name), dtype, NULL, NULL, NULL,
                                &error) == DISTIL_OK,
                  "%s", error.message);
}

float fixture_value(const struct weights_tensor *tensor, long row, long col)
{
    size_t at = (size_t)(row * tensor->cols + col);
    if (tensor->dtype == WEIGHTS_F32)
        return ((const float *)tensor->data)[at];
    if (tensor->dtype == WEIGHTS_I8)
        return tensor->scale[row] * (float)((const int8_t *)tensor->data)[at];
    uint16_t half = ((const uint16_t *)tensor->data)[at];
    if (tensor->dtype == WEIGHTS_BF16) {
        uint32_t bits = (uint32_t)half << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value =
        exponent ? ldexpf((float)(1024 + fraction), exponent - 25) : ldexpf((float)fraction, -24);
    return half & 0x8000 ? -value : value;
}

const struct weights_tensor *fixture_tensor_of(const struct weights_model *model, const char *name)
{
    int count = weights_slot_count(&model->config);
    for (int i = 0; i < count; i++) {
        struct weights_slot slot;
        weights_slot_at(&slot, &model->config, i);
        if (!strcmp(slot.name, name))
            return weights_slot_tensor_const(model, &slot);
    }
    return NULL;
}

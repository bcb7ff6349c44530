/* huggingface.c: a directory with config.json, model.safetensors (or its index and shards) and a
 * tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/config.h"
#include "weights/convert_values.h"
#include "weights/file.h"
#include "weights/json.h"
#include "weights/names.h"
#include "weights/pack.h"
#include "weights/private.h"
#include "weights/sentence.h"
#include "weights/tokenizer_files.h"

/* A shard's name comes from a file: it must stay in the directory. */
static bool safe_shard_name(const char *name)
{
    size_t length = strlen(name);
    return length > 12 && length < 256 && name[0] != '.' && !strchr(name, '/') &&
           !strcmp(name + length - 12, ".safetensors");
}

static struct weights_safetensors *find_file(const struct weights_private *private_,
                                             const char *path)
{
    for (size_t i = 0; i < private_->file_count; i++)
        if (!strcmp(private_->files[i].path, path))
            return &private_->files[i];
    return NULL;
}

/* Opens the shard that the index names for one tensor, unless that is done, and looks for the
 * tensor in it. */
static distil_status open_shard(struct weights_model *model, const cJSON *item, const char *index,
                                distil_error *error)
{
    char found[WEIGHTS_DESCRIBE];
    if (!cJSON_IsString(item) || !safe_shard_name(item->valuestring))
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: weight_map: tensor %.200s: expected the name of a .safetensors file in "
            "the same directory, found %s",
            index, item->string, weights_describe(item, found));
    char *path = weights_join(model->path, item->valuestring);
    if (!path)
        return weights_no_memory(model->path, error);
    distil_status status = DISTIL_OK;
    struct weights_safetensors *file = find_file(model->private_, path);
    if (!file) {
        status = weights_add_file(model, path, error);
        file = status ? NULL : find_file(model->private_, path);
    }
    if (file && !weights_safetensors_find(file, item->string))
        status =
            distil_fail(error, DISTIL_FORMAT, "%s: expected tensor %.200s, which %s says is in it",
                        path, item->string, index);
    free(path);
    return status;
}

static distil_status open_shards(struct weights_model *model, const char *index,
                                 distil_error *error)
{
    char found[WEIGHTS_DESCRIBE];
    cJSON *json = NULL;
    distil_status status = weights_json_read(&json, index, error);
    if (status)
        return status;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(json, "weight_map");
    size_t listed = 0, stored = 0;
    if (!cJSON_IsObject(map) || !map->child)
        status = distil_fail(error, DISTIL_FORMAT,
                             "%s: weight_map: expected an object with tensors, found %s", index,
                             weights_describe(map, found));
    else
        for (const cJSON *item = map->child; item && !status; item = item->next, listed++)
            status = open_shard(model, item, index, error);
    for (size_t i = 0; i < model->private_->file_count && !status; i++)
        stored += model->private_->files[i].count;
    /* Every listed tensor is in its shard and listed once, so a difference means one that is not
     * listed. */
    if (!status && stored != listed)
        status = distil_fail(error, DISTIL_FORMAT,
                             "%s: weight_map: expected the %zu tensors of its files, found %zu",
                             index, stored, listed);
    cJSON_Delete(json);
    return status;
}

static bool exists(const char *path)
{
    struct stat info;
    return !stat(path, &info);
}

static distil_status open_files(struct weights_model *model, distil_error *error)
{
    char *single = weights_join(model->path, "model.safetensors");
    char *index = weights_join(model->path, "model.safetensors.index.json");
    char *pickle = weights_join(model->path, "pytorch_model.bin");
    distil_status status;
    if (!single || !index || !pickle)
        status = weights_no_memory(model->path, error);
    else if (exists(single))
        status = weights_add_file(model, single, error);
    else if (exists(index))
        status = open_shards(model, index, error);
    else
        status = distil_fail(
            error, DISTIL_NOT_FOUND,
            "%s: expected model.safetensors or model.safetensors.index.json, found %s", model->path,
            exists(pickle) ? "pytorch_model.bin: save it with save_pretrained(..., "
                             "safe_serialization=True)"
                           : "neither");
    free(single);
    free(index);
    free(pickle);
    return status;
}

static struct weights_stored *find_stored(const struct weights_model *model, const char *name,
                                          const char **path)
{
    for (size_t i = 0; i < model->private_->file_count; i++) {
        struct weights_stored *stored = weights_safetensors_find(&model->private_->files[i], name);
        *path = model->private_->files[i].path;
        if (stored)
            return stored;
    }
    *path = model->private_->file_count == 1 ? model->private_->files[0].path : model->path;
    return NULL;
}

/* BERT checkpoints converted from TensorFlow call a normalisation's weight gamma and its bias beta.
 */
static struct weights_stored *find_old_name(const struct weights_model *model, const char *name,
                                            const char **path)
{
    char old[WEIGHTS_SOURCE_NAME + 8];
    size_t length = strlen(name);
    const char *const endings[][2] = {{"LayerNorm.weight", "gamma"}, {"LayerNorm.bias", "beta"}};
    for (int i = 0; i < 2; i++) {
        size_t tail = strlen(endings[i][0]);
        if (length < tail || strcmp(name + length - tail, endings[i][0]) != 0)
            continue;
        size_t kept = length - tail + strlen("LayerNorm.");
        snprintf(old, sizeof old, "%.*s%s", (int)kept, name, endings[i][1]);
        return find_stored(model, old, path);
    }
    return NULL;
}

/* Finds the slot's tensor and checks all that can be checked of it. */
static distil_status take(const struct weights_model *model, const struct weights_slot *slot,
                          const char *prefix, struct weights_stored **out,
                          enum weights_dtype *dtype, distil_error *error)
{
    char name[WEIGHTS_SOURCE_NAME];
    const char *path;
    weights_source_name(slot, prefix, name);
    struct weights_stored *stored = find_stored(model, name, &path);
    if (!stored)
        stored = find_old_name(model, name, &path);
    if (!stored) {
        struct weights_stored wanted = {
            .rank = slot->vector ? 1 : 2,
            .shape = {slot->vector ? slot->cols : slot->rows, slot->cols}};
        char shape[WEIGHTS_SHAPE];
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: tensor %s is missing: expected shape %s, found nothing", path, name,
                           weights_shape_text(wanted.rank, wanted.shape, shape));
    }
    distil_status status = weights_check_shape(stored, path, slot, error);
    if (status)
        return status;
    if (!weights_dtype_from_name(stored->dtype, dtype) || *dtype == WEIGHTS_I8)
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "%s: tensor %s: dtype: expected F32, F16 or BF16, found %s", path, name,
                           stored->dtype);
    stored->used = true;
    *out = stored;
    return weights_check_finite(stored, path, error);
}

/* position += token type 0, and token_type = type 1 less type 0: what BERT adds to every token of a
 * lone text becomes part of the position rows. */
static distil_status fold_token_type(struct weights_model *model,
                                     const struct weights_tensor *types,
                                     const struct kern_table *table, distil_error *error)
{
    struct weights_arena *arena = &model->private_->arena;
    size_t hidden = (size_t)model->config.hidden, window = (size_t)model->config.window;
    float *position = weights_arena_alloc(arena, window * hidden, sizeof *position);
    float *type = weights_arena_alloc(arena, 2 * hidden, sizeof *type);
    if (!position || !type)
        return weights_no_memory(model->path, error);
    const float *first = weights_row(types, 0, table, type);
    for (size_t row = 0; row < window; row++) {
        float *out = position + row * hidden;
        const float *in = weights_row(&model->position, (long)row, table, out);
        for (size_t i = 0; i < hidden; i++)
            out[i] = in[i] + first[i];
    }
    model->position = (struct weights_tensor){
        .dtype = WEIGHTS_F32, .rows = (long)window, .cols = (long)hidden, .data = position};
    if (types->rows < 2)
        return DISTIL_OK;
    float *difference = type + hidden;
    const float *second = weights_row(types, 1, table, difference);
    for (size_t i = 0; i < hidden; i++)
        difference[i] = second[i] - first[i];
    model->token_type = (struct weights_tensor){
        .dtype = WEIGHTS_F32, .rows = 1, .cols = (long)hidden, .data = difference};
    return DISTIL_OK;
}

/* Parts of a checkpoint that have no say in what is computed: buffers, and heads of tasks that are
 * not served. */
static bool ignorable(const struct weights_config *config, const char *name, const char *prefix)
{
    static const char *const heads[] = {"vocab_transform.", "vocab_layer_norm.", "vocab_projector.",
                                        "cls."};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (config->task == WEIGHTS_TASK_NONE && !strncmp(name, heads[i], strlen(heads[i])))
            return true;
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0)
        return false;
    name += length;
    return !strcmp(name, "embeddings.position_ids") ||
           (config->architecture == WEIGHTS_BERT && !strncmp(name, "pooler.", 7));
}

static distil_status refuse_extra(const struct weights_model *model, const char *prefix,
                                  distil_error *error)
{
    for (size_t i = 0; i < model->private_->file_count; i++) {
        const struct weights_safetensors *file = &model->private_->files[i];
        for (size_t j = 0; j < file->count; j++) {
            const struct weights_stored *stored = &file->tensors[j];
            char shape[WEIGHTS_SHAPE];
            if (!stored->used && !ignorable(&model->config, stored->name, prefix))
                return distil_fail(
                    error, DISTIL_FORMAT,
                    "%s: tensor %.200s: not expected in a %s of %d layers, found shape "
                    "%s",
                    file->path, stored->name, model->private_->source_architecture,
                    model->config.layers, weights_shape_text(stored->rank, stored->shape, shape));
        }
    }
    return DISTIL_OK;
}

/* Vectors are held in float whatever the checkpoint has. */
static distil_status widen(struct weights_model *model, struct weights_tensor *vector,
                           const struct kern_table *table, distil_error *error)
{
    if (vector->dtype == WEIGHTS_F32)
        return DISTIL_OK;
    float *values =
        weights_arena_alloc(&model->private_->arena, (size_t)vector->cols, sizeof *values);
    if (!values)
        return weights_no_memory(model->path, error);
    vector->data = weights_row(vector, 0, table, values);
    vector->dtype = WEIGHTS_F32;
    return DISTIL_OK;
}

static distil_status load_tensors(struct weights_model *model,
                                  const struct weights_source_config *source, distil_error *error)
{
    bool bert = model->config.architecture == WEIGHTS_BERT;
    const char *path, *prefix = bert ? "bert." : "distilbert.";
    const char *probe = bert ? "bert.embeddings.word_embeddings.weight"
                             : "distilbert.embeddings.word_embeddings.weight";
    if (!find_stored(model, probe, &path))
        prefix = "";
    struct kern_table table;
    kern_table_init(&table, KERN_SCALAR); /* the same bytes on every machine */
    struct weights_tensor types = {.data = NULL};
    distil_status status = DISTIL_OK;
    int count = weights_slot_count(&model->config);
    for (int i = 0; i < count && !status; i++) {
        struct weights_slot slot;
        struct weights_stored *stored = NULL;
        enum weights_dtype dtype = WEIGHTS_F32;
        weights_slot_at(&slot, &model->config, i);
        struct weights_tensor *tensor = weights_slot_tensor(model, &slot);
        if (slot.part == WEIGHTS_PART_TOKEN_TYPE) {
            slot.vector = false;
            slot.rows = source->token_types;
            tensor = &types;
        }
        status = take(model, &slot, prefix, &stored, &dtype, error);
        if (!status)
            status = weights_view(model, tensor, stored, dtype, slot.rows, slot.cols, error);
        if (!status && slot.vector)
            status = widen(model, tensor, &table, error);
    }
    model->private_->source_dtype = weights_dtype_name(model->word.dtype);
    if (!status && bert)
        status = fold_token_type(model, &types, &table, error);
    return status ? status : refuse_extra(model, prefix, error);
}

distil_status weights_load_huggingface(struct weights_model *model, distil_error *error)
{
    struct weights_private *private_ = model->private_;
    struct weights_source_config source = {0};
    char *path = weights_join(model->path, "config.json");
    if (!path)
        return weights_no_memory(model->path, error);
    distil_status status =
        weights_read_config(&model->config, &source, &private_->arena, path, error);
    free(path);
    if (status)
        return status;
    private_->source_architecture = source.architecture;
    model->layers =
        weights_arena_alloc(&private_->arena, (size_t)model->config.layers, sizeof *model->layers);
    if (!model->layers)
        return weights_no_memory(model->path, error);
    status = open_files(model, error);
    if (!status)
        status = load_tensors(model, &source, error);
    if (!status)
        status = weights_read_tokenizer(&model->tokenizer, &private_->arena, model->path,
                                        model->config.vocab, error);
    if (!status && model->config.task == WEIGHTS_TASK_NONE)
        status = weights_read_sentence(&model->config, &model->tokenizer, model->path, error);
    model->position.rows = model->config.window; /* which the configuration may have narrowed */
    return status;
}

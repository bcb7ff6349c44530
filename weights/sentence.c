#include "weights/sentence.h"

#include <stdlib.h>
#include <string.h>

#include "weights/file.h"
#include "weights/json.h"

/* What is read into, and where from. */
struct sentence {
    struct weights_config *config;
    const struct weights_tokenizer *tokenizer;
    const char *directory;
    distil_error *error;
    bool pooled;
};

enum { OTHER_POOLING = -1 };
static const struct {
    const char *key, *name;
    int pooling;
} poolings[] = {
    {"pooling_mode_mean_tokens", "mean", WEIGHTS_POOLING_MEAN},
    {"pooling_mode_cls_token", "cls", WEIGHTS_POOLING_CLS},
    {"pooling_mode_max_tokens", "max", WEIGHTS_POOLING_MAX},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", OTHER_POOLING},
    {"pooling_mode_weightedmean_tokens", "weightedmean", OTHER_POOLING},
    {"pooling_mode_lasttoken", "lasttoken", OTHER_POOLING},
};
enum { POOLINGS = sizeof poolings / sizeof *poolings };

static distil_status unsupported_pooling(const struct weights_fields *fields, const char *found)
{
    return distil_fail(fields->error, DISTIL_UNSUPPORTED,
                       "%s: expected one pooling: mean, cls or max, found %.60s", fields->where,
                       found);
}

/* A flag for each pooling, or its name; without either it is the mean. */
static distil_status choose_pooling(const struct weights_fields *fields,
                                    struct weights_config *config)
{
    const char *name = NULL;
    int chosen = -1;
    bool several = false;
    distil_status status = weights_get_string(fields, "pooling_mode", false, &name);
    for (int i = 0; i < POOLINGS && !status; i++) {
        bool flag = name && strcmp(name, poolings[i].name) == 0;
        if (!name)
            status = weights_get_bool(fields, poolings[i].key, false, &flag);
        several |= flag && chosen >= 0;
        chosen = flag ? i : chosen;
    }
    if (status)
        return status;
    if (several)
        return unsupported_pooling(fields, "several, which would be joined");
    if (name && chosen < 0)
        return unsupported_pooling(fields, name);
    chosen = chosen < 0 ? 0 : chosen;
    if (poolings[chosen].pooling == OTHER_POOLING)
        return unsupported_pooling(fields, poolings[chosen].name);
    config->pooling = (enum weights_pooling)poolings[chosen].pooling;
    return DISTIL_OK;
}

/* directory/path/name, to be freed; NULL without memory. */
static char *file_of(const char *directory, const char *path, const char *name)
{
    char *folder = weights_join(directory, path);
    char *file = folder ? weights_join(folder, name) : NULL;
    free(folder);
    return file;
}

static distil_status read_pooling(struct sentence *sentence, const char *path)
{
    cJSON *json = NULL;
    char *file = file_of(sentence->directory, path, "config.json");
    if (!file)
        return weights_no_memory(sentence->directory, sentence->error);
    distil_status status = weights_json_read(&json, file, sentence->error);
    const struct weights_fields fields = {.object = json, .where = file, .error = sentence->error};
    int hidden = sentence->config->hidden, width = hidden;
    if (!status)
        status =
            weights_get_int(&fields, "word_embedding_dimension", false, hidden, hidden, &width);
    if (!status)
        status = choose_pooling(&fields, sentence->config);
    sentence->pooled = true;
    cJSON_Delete(json);
    free(file);
    return status;
}

/* sentence_bert_config.json, which may be missing. */
static distil_status read_transformer(const struct sentence *sentence)
{
    cJSON *json = NULL;
    bool lowercase = false;
    char *file = weights_join(sentence->directory, "sentence_bert_config.json");
    if (!file)
        return weights_no_memory(sentence->directory, sentence->error);
    distil_status status = weights_json_read(&json, file, sentence->error);
    const struct weights_fields fields = {.object = json, .where = file, .error = sentence->error};
    if (status == DISTIL_NOT_FOUND) {
        status = DISTIL_OK;
    } else if (!status) {
        status = weights_get_int(&fields, "max_seq_length", false, 1, sentence->config->window,
                                 &sentence->config->window);
        if (!status)
            status = weights_get_bool(&fields, "do_lower_case", false, &lowercase);
        if (!status && lowercase && !sentence->tokenizer->lowercase)
            status = distil_fail(sentence->error, DISTIL_UNSUPPORTED,
                                 "%s: do_lower_case: expected false, found true with a tokenizer "
                                 "that keeps capitals",
                                 file);
    }
    cJSON_Delete(json);
    free(file);
    return status;
}

/* A module's folder comes from a file: it must be one in the directory. */
static bool safe_folder(const char *path)
{
    return *path && *path != '.' && strlen(path) < 256 && !strchr(path, '/');
}

static distil_status read_module(struct sentence *sentence, const cJSON *item, const char *where,
                                 int number)
{
    const struct weights_fields fields = {.object = item, .where = where, .error = sentence->error};
    const char *type = NULL, *path = "";
    distil_status status = weights_get_string(&fields, "type", true, &type);
    if (!status)
        status = weights_get_string(&fields, "path", false, &path);
    if (status)
        return status;
    const char *dot = strrchr(type, '.');
    const char *name = dot ? dot + 1 : type;
    if (number == 0 && strcmp(name, "Transformer") == 0) {
        if (!*path)
            return read_transformer(sentence);
        return distil_fail(
            sentence->error, DISTIL_UNSUPPORTED,
            "%s: module 0: path: expected \"\", found \"%.60s\": open that directory", where, path);
    }
    if (number == 1 && strcmp(name, "Pooling") == 0 && safe_folder(path))
        return read_pooling(sentence, path);
    if (number == 2 && strcmp(name, "Normalize") == 0) {
        sentence->config->normalize = true;
        return DISTIL_OK;
    }
    return distil_fail(sentence->error, DISTIL_UNSUPPORTED,
                       "%s: module %d: expected Transformer, Pooling and then at most Normalize, "
                       "found type \"%.80s\" with path \"%.60s\"",
                       where, number, type, path);
}

distil_status weights_read_sentence(struct weights_config *config,
                                    const struct weights_tokenizer *tokenizer,
                                    const char *directory, distil_error *error)
{
    struct sentence sentence = {
        .config = config, .tokenizer = tokenizer, .directory = directory, .error = error};
    cJSON *json = NULL;
    int number = 0;
    char *file = weights_join(directory, "modules.json");
    if (!file)
        return weights_no_memory(directory, error);
    distil_status status = weights_json_read_array(&json, file, error);
    for (const cJSON *item = json ? json->child : NULL; item && !status; item = item->next)
        status = read_module(&sentence, item, file, number++);
    if (!status && !sentence.pooled)
        status = distil_fail(error, DISTIL_UNSUPPORTED,
                             "%s: expected the modules Transformer and Pooling, found %d modules",
                             file, number);
    cJSON_Delete(json);
    free(file);
    return status == DISTIL_NOT_FOUND && number == 0 ? DISTIL_OK : status;
}

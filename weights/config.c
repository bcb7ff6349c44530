#include "weights/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/file.h"

static const struct {
    const char *name;
    enum weights_architecture architecture;
    enum weights_task task;
} classes[] = {
    {"DistilBertModel", WEIGHTS_DISTILBERT, WEIGHTS_TASK_NONE},
    {"DistilBertForMaskedLM", WEIGHTS_DISTILBERT, WEIGHTS_TASK_NONE},
    {"DistilBertForSequenceClassification", WEIGHTS_DISTILBERT,
     WEIGHTS_TASK_SEQUENCE_CLASSIFICATION},
    {"DistilBertForTokenClassification", WEIGHTS_DISTILBERT, WEIGHTS_TASK_TOKEN_CLASSIFICATION},
    {"DistilBertForQuestionAnswering", WEIGHTS_DISTILBERT, WEIGHTS_TASK_QUESTION_ANSWERING},
    {"BertModel", WEIGHTS_BERT, WEIGHTS_TASK_NONE},
    {"BertForMaskedLM", WEIGHTS_BERT, WEIGHTS_TASK_NONE},
    {"BertForPreTraining", WEIGHTS_BERT, WEIGHTS_TASK_NONE},
    {"BertForSequenceClassification", WEIGHTS_BERT, WEIGHTS_TASK_SEQUENCE_CLASSIFICATION},
    {"BertForTokenClassification", WEIGHTS_BERT, WEIGHTS_TASK_TOKEN_CLASSIFICATION},
    {"BertForQuestionAnswering", WEIGHTS_BERT, WEIGHTS_TASK_QUESTION_ANSWERING},
};

/* model_type, and the class in `architectures`, which decides the task. */
static distil_status read_class(const struct weights_fields *fields, struct weights_config *config,
                                struct weights_source_config *source, struct weights_arena *arena)
{
    char found[WEIGHTS_DESCRIBE];
    const char *type = NULL;
    distil_status status = weights_get_string(fields, "model_type", true, &type);
    if (status)
        return status;
    if (strcmp(type, "distilbert") != 0 && strcmp(type, "bert") != 0)
        return distil_fail(fields->error, DISTIL_UNSUPPORTED,
                           "%s: model_type: expected \"distilbert\" or \"bert\", found \"%.60s\"",
                           fields->where, type);
    config->architecture = strcmp(type, "bert") ? WEIGHTS_DISTILBERT : WEIGHTS_BERT;
    config->task = WEIGHTS_TASK_NONE;
    const char *name = config->architecture == WEIGHTS_BERT ? "BertModel" : "DistilBertModel";
    const cJSON *list = weights_field(fields, "architectures");
    if (list) {
        if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 1 || !cJSON_IsString(list->child))
            return distil_fail(fields->error, DISTIL_FORMAT,
                               "%s: architectures: expected an array of one string, found %s of %d",
                               fields->where, weights_describe(list, found),
                               cJSON_GetArraySize(list));
        name = list->child->valuestring;
        size_t i = 0, count = sizeof classes / sizeof *classes;
        while (i < count && (strcmp(classes[i].name, name) != 0 ||
                             classes[i].architecture != config->architecture))
            i++;
        if (i == count)
            return distil_fail(fields->error, DISTIL_UNSUPPORTED,
                               "%s: architectures: \"%.80s\" of model_type \"%s\" is not supported",
                               fields->where, name, type);
        config->task = classes[i].task;
    }
    config->head_activation = config->architecture == WEIGHTS_BERT ? WEIGHTS_TANH : WEIGHTS_RELU;
    source->architecture = weights_arena_copy(arena, name);
    return source->architecture ? DISTIL_OK : weights_no_memory(fields->where, fields->error);
}

static distil_status read_activation(const struct weights_fields *fields, const char *key)
{
    const char *name = "gelu";
    distil_status status = weights_get_string(fields, key, false, &name);
    if (!status && strcmp(name, "gelu") != 0)
        status = distil_fail(fields->error, DISTIL_UNSUPPORTED,
                             "%s: %s: expected \"gelu\" (by erf), found \"%.60s\"", fields->where,
                             key, name);
    return status;
}

static distil_status read_sizes(const struct weights_fields *fields, struct weights_config *config)
{
    bool bert = config->architecture == WEIGHTS_BERT;
    const struct {
        const char *key;
        int high;
        int *out;
    } sizes[] = {
        {bert ? "hidden_size" : "dim", WEIGHTS_MAX_HIDDEN, &config->hidden},
        {bert ? "num_hidden_layers" : "n_layers", WEIGHTS_MAX_LAYERS, &config->layers},
        {bert ? "num_attention_heads" : "n_heads", WEIGHTS_MAX_HIDDEN, &config->heads},
        {bert ? "intermediate_size" : "hidden_dim", WEIGHTS_MAX_FFN, &config->ffn},
        {"vocab_size", WEIGHTS_MAX_VOCAB, &config->vocab},
        {"max_position_embeddings", WEIGHTS_MAX_WINDOW, &config->window},
    };
    distil_status status = DISTIL_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !status; i++)
        status = weights_get_int(fields, sizes[i].key, true, 1, sizes[i].high, sizes[i].out);
    if (!status)
        status = read_activation(fields, bert ? "hidden_act" : "activation");
    return status;
}

/* The variants of BERT that compute something else. */
static distil_status read_bert(const struct weights_fields *fields, struct weights_config *config,
                               struct weights_source_config *source)
{
    static const char *const flags[] = {"is_decoder", "add_cross_attention", "is_encoder_decoder"};
    double eps = 1e-12;
    const char *position = "absolute";
    source->token_types = 2;
    distil_status status = weights_get_double(fields, "layer_norm_eps", false, 1e-30, 0.1, &eps);
    config->norm_eps = (float)eps;
    if (!status)
        status =
            weights_get_int(fields, "type_vocab_size", false, 1, 1 << 16, &source->token_types);
    if (!status)
        status = weights_get_string(fields, "position_embedding_type", false, &position);
    if (!status && strcmp(position, "absolute") != 0)
        status = distil_fail(fields->error, DISTIL_UNSUPPORTED,
                             "%s: position_embedding_type: expected \"absolute\", found \"%.60s\"",
                             fields->where, position);
    for (size_t i = 0; i < sizeof flags / sizeof *flags && !status; i++) {
        bool flag = false;
        status = weights_get_bool(fields, flags[i], false, &flag);
        if (!status && flag)
            status = distil_fail(fields->error, DISTIL_UNSUPPORTED,
                                 "%s: %s: expected false, found true: only encoders are supported",
                                 fields->where, flags[i]);
    }
    return status;
}

/* A label's id is written "0", "1", ...; -1 for anything else. */
static int label_id(const char *key)
{
    char *end;
    if (*key < '0' || *key > '9')
        return -1;
    long id = strtol(key, &end, 10);
    return *end || id >= WEIGHTS_MAX_LABELS ? -1 : (int)id;
}

static distil_status read_id2label(const struct weights_fields *fields, const cJSON *map,
                                   struct weights_config *config, struct weights_arena *arena)
{
    char found[WEIGHTS_DESCRIBE];
    for (const cJSON *item = map->child; item; item = item->next) {
        int id = label_id(item->string);
        if (id < 0 || id >= config->label_count || config->labels[id])
            return distil_fail(
                fields->error, DISTIL_FORMAT,
                "%s: id2label: expected each of 0 to %d once as keys, found \"%.60s\"",
                fields->where, config->label_count - 1, item->string);
        if (!cJSON_IsString(item))
            return distil_fail(fields->error, DISTIL_FORMAT,
                               "%s: id2label: %d: expected a string, found %s", fields->where, id,
                               weights_describe(item, found));
        config->labels[id] = weights_arena_copy(arena, item->valuestring);
        if (!config->labels[id])
            return weights_no_memory(fields->where, fields->error);
    }
    return DISTIL_OK;
}

/* id2label decides, as in transformers; label2id, its mirror, is not read. */
static distil_status read_labels(const struct weights_fields *fields, struct weights_config *config,
                                 struct weights_arena *arena)
{
    char found[WEIGHTS_DESCRIBE];
    const cJSON *map = weights_field(fields, "id2label");
    if (map && (!cJSON_IsObject(map) || !map->child))
        return distil_fail(fields->error, DISTIL_FORMAT,
                           "%s: id2label: expected an object with labels, found %s", fields->where,
                           weights_describe(map, found));
    int count = map ? cJSON_GetArraySize(map) : 2, stated = count;
    distil_status status =
        weights_get_int(fields, "num_labels", false, 1, WEIGHTS_MAX_LABELS, &stated);
    if (status)
        return status;
    if (map && (stated != count || count > WEIGHTS_MAX_LABELS))
        return distil_fail(fields->error, DISTIL_FORMAT,
                           "%s: id2label: expected %d labels, found %d", fields->where,
                           stated != count ? stated : WEIGHTS_MAX_LABELS, count);
    config->label_count = stated;
    config->labels = weights_arena_alloc(arena, (size_t)stated, sizeof *config->labels);
    if (!config->labels)
        return weights_no_memory(fields->where, fields->error);
    if (map)
        return read_id2label(fields, map, config, arena);
    for (int i = 0; i < stated; i++) {
        char name[32];
        snprintf(name, sizeof name, "LABEL_%d", i);
        config->labels[i] = weights_arena_copy(arena, name);
        if (!config->labels[i])
            return weights_no_memory(fields->where, fields->error);
    }
    return DISTIL_OK;
}

static distil_status read_problem(const struct weights_fields *fields,
                                  struct weights_config *config)
{
    const char *name = config->label_count == 1 ? "regression" : "single_label_classification";
    distil_status status = weights_get_string(fields, "problem_type", false, &name);
    if (status)
        return status;
    if (!strcmp(name, "regression"))
        config->problem = WEIGHTS_REGRESSION;
    else if (!strcmp(name, "single_label_classification"))
        config->problem = WEIGHTS_SINGLE_LABEL;
    else if (!strcmp(name, "multi_label_classification"))
        config->problem = WEIGHTS_MULTI_LABEL;
    else
        status = distil_fail(
            fields->error, DISTIL_FORMAT,
            "%s: problem_type: expected \"regression\", \"single_label_classification\" "
            "or \"multi_label_classification\", found \"%.60s\"",
            fields->where, name);
    return status;
}

distil_status weights_check_config(const struct weights_config *config, const char *where,
                                   distil_error *error)
{
    if (config->hidden % config->heads)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: %d heads do not divide a hidden size of %d evenly", where,
                           config->heads, config->hidden);
    if (config->task == WEIGHTS_TASK_QUESTION_ANSWERING && config->label_count != 2)
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "%s: question answering: expected 2 labels (start and end), found %d",
                           where, config->label_count);
    const char *duplicate = NULL;
    distil_status status = weights_find_duplicate(&duplicate, (const char *const *)config->labels,
                                                  (size_t)config->label_count, where, error);
    if (!status && duplicate)
        status = distil_fail(error, DISTIL_FORMAT, "%s: the label \"%.60s\" appears twice", where,
                             duplicate);
    return status;
}

distil_status weights_read_config(struct weights_config *config,
                                  struct weights_source_config *source, struct weights_arena *arena,
                                  const char *path, distil_error *error)
{
    cJSON *json = NULL;
    distil_status status = weights_json_read(&json, path, error);
    if (status)
        return status;
    struct weights_fields fields = {.object = json, .where = path, .error = error};
    source->token_types = 0;
    config->norm_eps = 1e-12f; /* DistilBERT's, which its config.json does not state */
    status = read_class(&fields, config, source, arena);
    if (!status)
        status = read_sizes(&fields, config);
    if (!status && config->architecture == WEIGHTS_BERT)
        status = read_bert(&fields, config, source);
    if (!status && config->task != WEIGHTS_TASK_NONE)
        status = read_labels(&fields, config, arena);
    if (!status)
        status = read_problem(&fields, config);
    if (!status)
        status = weights_check_config(config, path, error);
    cJSON_Delete(json);
    return status;
}

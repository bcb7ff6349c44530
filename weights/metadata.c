#include "weights/metadata.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/config.h"
#include "weights/decimal.h"
#include "weights/file.h"
#include "weights/golden.h"
#include "weights/json.h"
#include "weights/private.h"
#include "weights/tokenizer_files.h"

static const char *const architectures[] = {"distilbert", "bert"};
static const char *const tasks[] = {"none", "sequence-classification", "token-classification",
                                    "question-answering"};
static const char *const problems[] = {"single-label", "multi-label", "regression"};
static const char *const activations[] = {"relu", "tanh"};
static const char *const head_inputs[] = {"first-token", "embedding"};
static const char *const poolings[] = {"mean", "cls", "max"};

static void add_float(struct weights_text *text, float value)
{
    char digits[WEIGHTS_DECIMAL];
    weights_decimal_float(value, digits);
    weights_text_format(text, "%s", digits);
}

static const char *boolean(bool value)
{
    return value ? "true" : "false";
}

static void add_config(struct weights_text *text, const struct weights_config *config)
{
    weights_text_format(text,
                        "{\"hidden\":%d,\"layers\":%d,\"heads\":%d,\"ffn\":%d,\"vocab\":%d,"
                        "\"window\":%d,\"activation\":\"gelu\",\"norm_eps\":",
                        config->hidden, config->layers, config->heads, config->ffn, config->vocab,
                        config->window);
    add_float(text, config->norm_eps);
    weights_text_format(
        text, ",\"task\":\"%s\",\"problem\":\"%s\",\"head_activation\":\"%s\",\"labels\":[",
        tasks[config->task], problems[config->problem], activations[config->head_activation]);
    for (int i = 0; i < config->label_count; i++) {
        weights_text_add(text, ",", i > 0);
        weights_text_json(text, config->labels[i]);
    }
    weights_text_add(text, "]", 1);
    if (config->head_input == WEIGHTS_HEAD_EMBEDDING)
        weights_text_format(text, ",\"head_input\":\"%s\"", head_inputs[config->head_input]);
    if (config->task == WEIGHTS_TASK_NONE || config->head_input == WEIGHTS_HEAD_EMBEDDING)
        weights_text_format(text, ",\"pooling\":\"%s\",\"normalize\":%s", poolings[config->pooling],
                            boolean(config->normalize));
    weights_text_add(text, "}", 1);
}

static void add_tokenizer(struct weights_text *text, const struct weights_tokenizer *tokenizer)
{
    weights_text_format(
        text,
        "{\"model\":\"WordPiece\",\"count\":%d,\"clean_text\":%s,\"chinese_chars\":%s,"
        "\"lowercase\":%s,\"strip_accents\":%s,\"prefix\":",
        tokenizer->count, boolean(tokenizer->clean_text), boolean(tokenizer->chinese_chars),
        boolean(tokenizer->lowercase), boolean(tokenizer->strip_accents));
    weights_text_json(text, tokenizer->prefix);
    weights_text_format(text,
                        ",\"max_word_characters\":%d,\"unk\":%d,\"cls\":%d,\"sep\":%d,\"pad\":%d,"
                        "\"mask\":%d,\"added\":[",
                        tokenizer->max_word_characters, tokenizer->unk, tokenizer->cls,
                        tokenizer->sep, tokenizer->pad, tokenizer->mask);
    for (int i = 0; i < tokenizer->added_count; i++) {
        const struct weights_added_token *token = &tokenizer->added[i];
        weights_text_format(text, "%s{\"id\":%d,\"content\":", i ? "," : "", token->id);
        weights_text_json(text, token->content);
        weights_text_format(text,
                            ",\"special\":%s,\"single_word\":%s,\"lstrip\":%s,\"rstrip\":%s,"
                            "\"normalized\":%s}",
                            boolean(token->special), boolean(token->single_word),
                            boolean(token->lstrip), boolean(token->rstrip),
                            boolean(token->normalized));
    }
    weights_text_add(text, "]}", 2);
}

static bool outside(const struct weights_tokenizer *tokenizer, int id)
{
    for (int i = 0; i < tokenizer->added_count; i++)
        if (tokenizer->added[i].id == id)
            return tokenizer->added[i].outside;
    return false;
}

/* One line a token of the vocabulary proper; an id without one has an empty line. */
static void add_vocabulary(struct weights_text *text, const struct weights_tokenizer *tokenizer)
{
    for (int id = 0; id < tokenizer->count; id++) {
        weights_text_add(text, "\n", id > 0);
        if (tokenizer->tokens[id] && !outside(tokenizer, id))
            weights_text_add(text, tokenizer->tokens[id], strlen(tokenizer->tokens[id]));
    }
}

/* Adds `"key":"value"` and empties the value. */
static void add_pair(struct weights_text *text, const char *key, struct weights_text *value)
{
    weights_text_add(text, ",", 1);
    weights_text_json(text, key);
    weights_text_add(text, ":", 1);
    weights_text_json(text, value->data ? value->data : "");
    text->failed |= value->failed;
    value->length = 0;
    if (value->data)
        *value->data = '\0';
}

/* The oldest format that has what the file holds. */
static const char *version_of(const struct weights_config *config,
                              const struct weights_golden *golden)
{
    const enum weights_task task = config->task;
    if (config->head_input == WEIGHTS_HEAD_EMBEDDING)
        return "2";
    if (task == WEIGHTS_TASK_NONE || (golden && task != WEIGHTS_TASK_SEQUENCE_CLASSIFICATION))
        return "1.2";
    return golden ? "1.1" : "1";
}

void weights_write_metadata(struct weights_text *text, const struct weights_model *model,
                            enum weights_dtype dtype, const struct weights_golden *golden)
{
    struct weights_text value = {0};
    weights_text_format(text,
                        "{\"format\":\"distild\",\"" WEIGHTS_KEY_VERSION
                        "\":\"%s\",\"" WEIGHTS_KEY_DIGEST "\":\"%0*d\",\"" WEIGHTS_KEY_ARCHITECTURE
                        "\":\"%s\",\"" WEIGHTS_KEY_DTYPE "\":\"%s\"",
                        version_of(&model->config, golden), WEIGHTS_DIGEST_LENGTH, 0,
                        architectures[model->config.architecture], weights_dtype_name(dtype));
    weights_text_add(&value, "{\"architecture\":", 16);
    weights_text_json(&value, model->private_->source_architecture);
    weights_text_add(&value, ",\"dtype\":", 9);
    weights_text_json(&value, model->private_->source_dtype);
    weights_text_add(&value, "}", 1);
    add_pair(text, WEIGHTS_KEY_SOURCE, &value);
    add_config(&value, &model->config);
    add_pair(text, WEIGHTS_KEY_CONFIG, &value);
    add_tokenizer(&value, &model->tokenizer);
    add_pair(text, WEIGHTS_KEY_TOKENIZER, &value);
    if (golden) {
        weights_write_golden(&value, golden, model->config.task);
        add_pair(text, weights_golden_key(model->config.task), &value);
    }
    add_vocabulary(&value, &model->tokenizer);
    add_pair(text, WEIGHTS_KEY_VOCABULARY, &value);
    weights_text_add(text, "}", 1);
    weights_text_free(&value);
}

distil_status weights_read_version(const struct weights_fields *fields, const char *key, int newest)
{
    const char *version = NULL;
    distil_status status = weights_get_string(fields, key, true, &version);
    if (status)
        return status;
    char *end;
    long major = strtol(version, &end, 10);
    if (*version < '0' || *version > '9' || (*end && *end != '.') || major < 1)
        return distil_fail(fields->error, DISTIL_FORMAT,
                           "%s: %s: expected a number such as \"%d\", found \"%.40s\"",
                           fields->where, key, newest, version);
    if (major > newest)
        return distil_fail(fields->error, DISTIL_UNSUPPORTED,
                           "%s: %s: this distild reads up to %d, found %.40s: the file needs a "
                           "newer distild",
                           fields->where, key, newest, version);
    return DISTIL_OK;
}

distil_status weights_read_digest(const struct weights_fields *fields, const char *key,
                                  char digest[65])
{
    const char *text = NULL;
    distil_status status = weights_get_string(fields, key, true, &text);
    if (status)
        return status;
    if (strlen(text) != WEIGHTS_DIGEST_LENGTH ||
        strspn(text, "0123456789abcdef") != WEIGHTS_DIGEST_LENGTH)
        return distil_fail(fields->error, DISTIL_FORMAT,
                           "%s: %s: expected 64 digits in lower-case hex, found \"%.80s\"",
                           fields->where, key, text);
    memcpy(digest, text, WEIGHTS_DIGEST_LENGTH + 1);
    return DISTIL_OK;
}

/* A field that is one of a list of words; *out is its index. */
static distil_status read_word(const struct weights_fields *fields, const char *key,
                               const char *const *words, int count, int *out)
{
    const char *word = NULL;
    distil_status status = weights_get_string(fields, key, true, &word);
    if (status)
        return status;
    for (*out = 0; *out < count; ++*out)
        if (!strcmp(words[*out], word))
            return DISTIL_OK;
    return distil_fail(fields->error, DISTIL_UNSUPPORTED,
                       "%s: %s: expected \"%s\" or the like, found "
                       "\"%.60s\"",
                       fields->where, key, words[0], word);
}

static distil_status read_labels(const struct weights_fields *fields, struct weights_config *config,
                                 struct weights_arena *arena)
{
    const cJSON *list = weights_field(fields, "labels");
    int count = cJSON_GetArraySize(list);
    if (!cJSON_IsArray(list) || count > WEIGHTS_MAX_LABELS ||
        (count == 0) != (config->task == WEIGHTS_TASK_NONE))
        return distil_fail(fields->error, DISTIL_FORMAT,
                           "%s: labels: expected an array that fits the task, found %d labels",
                           fields->where, count);
    config->label_count = count;
    config->labels = weights_arena_alloc(arena, (size_t)count, sizeof *config->labels);
    if (!config->labels)
        return weights_no_memory(fields->where, fields->error);
    int i = 0;
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsString(item))
            return distil_fail(fields->error, DISTIL_FORMAT, "%s: labels: expected strings",
                               fields->where);
        config->labels[i] = weights_arena_copy(arena, item->valuestring);
        if (!config->labels[i++])
            return weights_no_memory(fields->where, fields->error);
    }
    return DISTIL_OK;
}

/* Files from before 1.2 do not state it. */
static distil_status read_pooling(const struct weights_fields *fields,
                                  struct weights_config *config)
{
    int pooling = WEIGHTS_POOLING_MEAN;
    distil_status status = DISTIL_OK;
    if (weights_field(fields, "pooling"))
        status = read_word(fields, "pooling", poolings, 3, &pooling);
    config->pooling = (enum weights_pooling)pooling;
    return status ? status : weights_get_bool(fields, "normalize", false, &config->normalize);
}

static distil_status read_config(const struct weights_fields *fields, struct weights_config *config,
                                 struct weights_arena *arena)
{
    static const char *const gelu[] = {"gelu"};
    double eps = 0;
    int task = 0, problem = 0, activation = 0, input = 0, unused;
    distil_status status =
        weights_get_int(fields, "hidden", true, 1, WEIGHTS_MAX_HIDDEN, &config->hidden);
    if (!status)
        status = weights_get_int(fields, "layers", true, 1, WEIGHTS_MAX_LAYERS, &config->layers);
    if (!status)
        status = weights_get_int(fields, "heads", true, 1, WEIGHTS_MAX_HIDDEN, &config->heads);
    if (!status)
        status = weights_get_int(fields, "ffn", true, 1, WEIGHTS_MAX_FFN, &config->ffn);
    if (!status)
        status = weights_get_int(fields, "vocab", true, 1, WEIGHTS_MAX_VOCAB, &config->vocab);
    if (!status)
        status = weights_get_int(fields, "window", true, 1, WEIGHTS_MAX_WINDOW, &config->window);
    if (!status)
        status = weights_get_double(fields, "norm_eps", true, 1e-30, 0.1, &eps);
    if (!status)
        status = read_word(fields, "activation", gelu, 1, &unused);
    if (!status)
        status = read_word(fields, "task", tasks, 4, &task);
    if (!status)
        status = read_word(fields, "problem", problems, 3, &problem);
    if (!status)
        status = read_word(fields, "head_activation", activations, 2, &activation);
    if (!status && weights_field(fields, "head_input"))
        status = read_word(fields, "head_input", head_inputs, 2, &input);
    config->norm_eps = (float)eps;
    config->task = (enum weights_task)task;
    config->problem = (enum weights_problem)problem;
    config->head_activation = (enum weights_activation)activation;
    config->head_input = (enum weights_head_input)input;
    if (!status && input == WEIGHTS_HEAD_EMBEDDING && task != WEIGHTS_TASK_SEQUENCE_CLASSIFICATION)
        status =
            distil_fail(fields->error, DISTIL_FORMAT,
                        "%s: head_input: embedding goes with sequence-classification, found %s",
                        fields->where, tasks[task]);
    if (!status)
        status = read_pooling(fields, config);
    if (!status)
        status = read_labels(fields, config, arena);
    if (!status)
        status = weights_check_config(config, fields->where, fields->error);
    return status;
}

static distil_status read_added(const struct weights_fields *fields,
                                struct weights_vocabulary *vocabulary)
{
    const cJSON *list = weights_field(fields, "added");
    distil_status status = DISTIL_OK;
    for (const cJSON *item = list ? list->child : NULL; item && !status; item = item->next) {
        struct weights_fields token_fields = {
            .object = item, .where = fields->where, .error = fields->error};
        struct weights_added_token token = {0};
        const char *content;
        status = weights_get_int(&token_fields, "id", true, 0, vocabulary->rows - 1, &token.id);
        if (!status)
            status = weights_read_added_token(&token, &content, item, fields->where, fields->error);
        if (!status)
            status = weights_vocabulary_add(vocabulary, content, &token);
    }
    return status;
}

static distil_status read_tokenizer(const struct weights_fields *fields,
                                    struct weights_tokenizer *tokenizer,
                                    struct weights_vocabulary *vocabulary)
{
    const struct {
        const char *key;
        bool *out;
    } flags[] = {{"clean_text", &tokenizer->clean_text},
                 {"chinese_chars", &tokenizer->chinese_chars},
                 {"lowercase", &tokenizer->lowercase},
                 {"strip_accents", &tokenizer->strip_accents}};
    const struct {
        const char *key;
        int low, *out;
    } ids[] = {{"unk", 0, &tokenizer->unk},
               {"cls", 0, &tokenizer->cls},
               {"sep", 0, &tokenizer->sep},
               {"pad", 0, &tokenizer->pad},
               {"mask", -1, &tokenizer->mask}};
    const char *prefix = NULL;
    distil_status status = weights_get_string(fields, "prefix", true, &prefix);
    for (size_t i = 0; i < sizeof flags / sizeof *flags && !status; i++)
        status = weights_get_bool(fields, flags[i].key, true, flags[i].out);
    for (size_t i = 0; i < sizeof ids / sizeof *ids && !status; i++)
        status =
            weights_get_int(fields, ids[i].key, true, ids[i].low, vocabulary->rows - 1, ids[i].out);
    if (!status)
        status = weights_get_int(fields, "max_word_characters", true, 1,
                                 WEIGHTS_WORD_CHARACTERS_MAX, &tokenizer->max_word_characters);
    if (status)
        return status;
    tokenizer->prefix = weights_arena_copy(vocabulary->arena, prefix);
    return tokenizer->prefix ? read_added(fields, vocabulary)
                             : weights_no_memory(fields->where, fields->error);
}

/* Parses the JSON that one key holds. *where, for messages, and *json are freed by the caller. */
static distil_status parse_value(cJSON **json, char **where, const struct weights_fields *fields,
                                 const char *key)
{
    const char *text = NULL;
    size_t size = strlen(fields->where) + strlen(key) + 3;
    distil_status status = weights_get_string(fields, key, true, &text);
    if (status)
        return status;
    *where = malloc(size);
    if (!*where)
        return weights_no_memory(fields->where, fields->error);
    snprintf(*where, size, "%s: %s", fields->where, key);
    status = weights_json_parse(json, *where, text, strlen(text), fields->error);
    if (!status && !cJSON_IsObject(*json))
        status = distil_fail(fields->error, DISTIL_FORMAT, "%s: expected an object", *where);
    return status;
}

static distil_status read_vocabulary(const struct weights_fields *fields,
                                     struct weights_vocabulary *vocabulary)
{
    const char *text = NULL;
    distil_status status = weights_get_string(fields, WEIGHTS_KEY_VOCABULARY, true, &text);
    if (!status)
        status = weights_vocabulary_begin(vocabulary);
    if (status)
        return status;
    char *line = weights_arena_copy(vocabulary->arena, text);
    if (!line)
        return weights_no_memory(fields->where, fields->error);
    for (int id = 0; line && !status; id++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        status = weights_vocabulary_set(vocabulary, id, line);
        line = end ? end + 1 : NULL;
    }
    return status;
}

distil_status weights_read_metadata(struct weights_model *model, const cJSON *metadata,
                                    distil_error *error)
{
    struct weights_arena *arena = &model->private_->arena;
    struct weights_fields fields = {.object = metadata, .where = model->path, .error = error};
    struct weights_fields inner = {.error = error};
    struct weights_vocabulary vocabulary = {
        .tokenizer = &model->tokenizer, .arena = arena, .where = model->path, .error = error};
    cJSON *config = NULL, *tokenizer = NULL, *source = NULL, *golden = NULL;
    char *where[4] = {NULL};
    const char *golden_key = NULL;
    const char *source_class = "", *source_dtype = "";
    int architecture = 0;
    distil_status status = weights_read_version(&fields, WEIGHTS_KEY_VERSION, WEIGHTS_FORMAT_MAJOR);
    if (!status)
        status = weights_read_digest(&fields, WEIGHTS_KEY_DIGEST, model->digest);
    if (!status)
        status = read_word(&fields, WEIGHTS_KEY_ARCHITECTURE, architectures, 2, &architecture);
    model->config.architecture = (enum weights_architecture)architecture;
    if (!status)
        status = parse_value(&config, &where[0], &fields, WEIGHTS_KEY_CONFIG);
    inner.object = config;
    inner.where = where[0];
    if (!status)
        status = read_config(&inner, &model->config, arena);
    vocabulary.rows = model->config.vocab;
    if (!status)
        status = read_vocabulary(&fields, &vocabulary);
    if (!status)
        status = parse_value(&tokenizer, &where[1], &fields, WEIGHTS_KEY_TOKENIZER);
    inner.object = tokenizer;
    inner.where = where[1];
    if (!status)
        status = read_tokenizer(&inner, &model->tokenizer, &vocabulary);
    if (!status)
        status = weights_check_tokenizer(&model->tokenizer, where[1], model->config.vocab, error);
    if (!status)
        status = parse_value(&source, &where[2], &fields, WEIGHTS_KEY_SOURCE);
    inner.object = source;
    inner.where = where[2];
    if (!status)
        status = weights_get_string(&inner, "architecture", true, &source_class);
    if (!status)
        status = weights_get_string(&inner, "dtype", true, &source_dtype);
    model->private_->source_architecture = weights_arena_copy(arena, source_class);
    model->private_->source_dtype = weights_arena_copy(arena, source_dtype);
    if (!status && (!model->private_->source_architecture || !model->private_->source_dtype))
        status = weights_no_memory(model->path, error);
    golden_key = weights_golden_key(model->config.task);
    if (!status && weights_field(&fields, golden_key)) {
        status = parse_value(&golden, &where[3], &fields, golden_key);
        if (!status)
            status = weights_read_golden(model, golden, where[3], error);
    }
    for (int i = 0; i < 4; i++)
        free(where[i]);
    cJSON_Delete(config);
    cJSON_Delete(tokenizer);
    cJSON_Delete(source);
    cJSON_Delete(golden);
    return status;
}

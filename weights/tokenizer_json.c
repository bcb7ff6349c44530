#include <stdint.h>
#include <string.h>

#include "weights/file.h"
#include "weights/json.h"
#include "weights/tokenizer_files.h"

static const char *type_of(const cJSON *component)
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(component, "type");
    return cJSON_IsString(type) ? type->valuestring : NULL;
}

static distil_status unsupported(const struct weights_vocabulary *vocabulary, const char *part,
                                 const char *expected, const cJSON *component)
{
    char found[WEIGHTS_DESCRIBE];
    const char *type = type_of(component);
    return distil_fail(vocabulary->error, DISTIL_UNSUPPORTED, "%s: %s: expected %s, found %s",
                       vocabulary->where, part, expected,
                       type ? type : weights_describe(component, found));
}

/* The one member of a Sequence of one; any other component as it is. */
static const cJSON *unwrap(const cJSON *component, const char *members)
{
    const char *type = type_of(component);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(component, members);
    return type && !strcmp(type, "Sequence") && cJSON_GetArraySize(list) == 1 ? list->child
                                                                              : component;
}

static distil_status read_normalizer(struct weights_vocabulary *vocabulary, const cJSON *json)
{
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    const cJSON *normalizer =
        unwrap(cJSON_GetObjectItemCaseSensitive(json, "normalizer"), "normalizers");
    const char *type = type_of(normalizer);
    if (!normalizer || cJSON_IsNull(normalizer))
        return DISTIL_OK; /* text as it is */
    if (type && !strcmp(type, "Lowercase")) {
        tokenizer->lowercase = true;
        return DISTIL_OK;
    }
    if (!type || strcmp(type, "BertNormalizer") != 0)
        return unsupported(vocabulary, "normalizer", "BertNormalizer", normalizer);
    struct weights_fields fields = {
        .object = normalizer, .where = vocabulary->where, .error = vocabulary->error};
    distil_status status = weights_get_bool(&fields, "clean_text", true, &tokenizer->clean_text);
    if (!status)
        status = weights_get_bool(&fields, "handle_chinese_chars", true, &tokenizer->chinese_chars);
    if (!status)
        status = weights_get_bool(&fields, "lowercase", true, &tokenizer->lowercase);
    tokenizer->strip_accents = tokenizer->lowercase;
    if (!status)
        status = weights_get_bool(&fields, "strip_accents", false, &tokenizer->strip_accents);
    return status;
}

static distil_status read_vocab(struct weights_vocabulary *vocabulary, const cJSON *vocab)
{
    char found[WEIGHTS_DESCRIBE];
    if (!cJSON_IsObject(vocab))
        return distil_fail(vocabulary->error, DISTIL_FORMAT,
                           "%s: model: vocab: expected an object, found %s", vocabulary->where,
                           weights_describe(vocab, found));
    size_t bytes = 0;
    for (const cJSON *item = vocab->child; item; item = item->next)
        bytes += strlen(item->string) + 1;
    char *text = weights_arena_alloc(vocabulary->arena, bytes + 1, 1);
    if (!text)
        return weights_no_memory(vocabulary->where, vocabulary->error);
    distil_status status = weights_vocabulary_begin(vocabulary);
    for (const cJSON *item = vocab->child; item && !status; item = item->next) {
        size_t length = strlen(item->string) + 1;
        double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(id >= 0 && id < vocabulary->rows) || id != (int)id)
            return distil_fail(
                vocabulary->error, DISTIL_FORMAT,
                "%s: model: vocab: token \"%.100s\": expected an id below %d, the rows "
                "of the word embeddings, found %s",
                vocabulary->where, item->string, vocabulary->rows, weights_describe(item, found));
        memcpy(text, item->string, length);
        status = weights_vocabulary_set(vocabulary, (int)id, text);
        text += length;
    }
    return status;
}

static distil_status read_model(struct weights_vocabulary *vocabulary, const cJSON *json)
{
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(json, "model");
    const char *type = type_of(model), *prefix = "##", *unk = NULL;
    /* Old files leave the type out, but no other kind has this field. */
    if (type ? strcmp(type, "WordPiece") != 0
             : !cJSON_GetObjectItemCaseSensitive(model, "max_input_chars_per_word"))
        return unsupported(vocabulary, "model", "WordPiece", model);
    struct weights_fields fields = {
        .object = model, .where = vocabulary->where, .error = vocabulary->error};
    tokenizer->max_word_characters = 100;
    distil_status status = weights_get_string(&fields, "continuing_subword_prefix", false, &prefix);
    if (!status)
        status = weights_get_int(&fields, "max_input_chars_per_word", false, 1,
                                 WEIGHTS_WORD_CHARACTERS_MAX, &tokenizer->max_word_characters);
    if (!status)
        status = weights_get_string(&fields, "unk_token", true, &unk);
    if (!status)
        status = read_vocab(vocabulary, cJSON_GetObjectItemCaseSensitive(model, "vocab"));
    if (status)
        return status;
    tokenizer->prefix = weights_arena_copy(vocabulary->arena, prefix);
    if (!tokenizer->prefix)
        return weights_no_memory(vocabulary->where, vocabulary->error);
    tokenizer->unk = weights_token_id(tokenizer, unk);
    return DISTIL_OK;
}

static distil_status read_added(struct weights_vocabulary *vocabulary, const cJSON *json)
{
    char found[WEIGHTS_DESCRIBE];
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "added_tokens");
    distil_status status = DISTIL_OK;
    if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list))
        return distil_fail(vocabulary->error, DISTIL_FORMAT,
                           "%s: added_tokens: expected an array, found %s", vocabulary->where,
                           weights_describe(list, found));
    for (const cJSON *item = list ? list->child : NULL; item && !status; item = item->next) {
        struct weights_fields fields = {
            .object = item, .where = vocabulary->where, .error = vocabulary->error};
        struct weights_added_token token = {0};
        const char *content;
        status = weights_get_int(&fields, "id", true, 0, vocabulary->rows - 1, &token.id);
        if (!status)
            status = weights_read_added_token(&token, &content, item, vocabulary->where,
                                              vocabulary->error);
        if (!status)
            status = weights_vocabulary_add(vocabulary, content, &token);
    }
    return status;
}

/* The token of a piece {"SpecialToken": {"id": ..., "type_id": type}}; NULL for any other piece. */
static const char *special_piece(const cJSON *piece, int type)
{
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(piece, "SpecialToken");
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(token, "id");
    const cJSON *type_id = cJSON_GetObjectItemCaseSensitive(token, "type_id");
    return cJSON_IsString(id) && cJSON_IsNumber(type_id) && type_id->valuedouble == type
               ? id->valuestring
               : NULL;
}

static bool is_sequence(const cJSON *piece, const char *name, int type)
{
    const cJSON *sequence = cJSON_GetObjectItemCaseSensitive(piece, "Sequence");
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(sequence, "id");
    const cJSON *type_id = cJSON_GetObjectItemCaseSensitive(sequence, "type_id");
    return cJSON_IsString(id) && !strcmp(id->valuestring, name) && cJSON_IsNumber(type_id) &&
           type_id->valuedouble == type;
}

/* [CLS] A [SEP], and [CLS] A [SEP] B [SEP] with type 1 from B on. */
static bool is_bert_template(const cJSON *processor, const char **cls, const char **sep)
{
    const cJSON *single = cJSON_GetObjectItemCaseSensitive(processor, "single");
    const cJSON *pair = cJSON_GetObjectItemCaseSensitive(processor, "pair");
    const cJSON *at[8] = {0};
    if (cJSON_GetArraySize(single) != 3 || cJSON_GetArraySize(pair) != 5)
        return false;
    int n = 0;
    for (const cJSON *item = single->child; item; item = item->next)
        at[n++] = item;
    for (const cJSON *item = pair->child; item; item = item->next)
        at[n++] = item;
    const char *start = special_piece(at[0], 0), *end = special_piece(at[2], 0);
    const char *pair_cls = special_piece(at[3], 0), *first = special_piece(at[5], 0),
               *second = special_piece(at[7], 1);
    if (!start || !end || !pair_cls || !first || !second || !is_sequence(at[1], "A", 0) ||
        !is_sequence(at[4], "A", 0) || !is_sequence(at[6], "B", 1) ||
        strcmp(start, pair_cls) != 0 || strcmp(end, first) != 0 || strcmp(end, second) != 0)
        return false;
    *cls = start;
    *sep = end;
    return true;
}

/* The id that a processor gives a token must be the vocabulary's. */
static distil_status check_special(const struct weights_vocabulary *vocabulary, const char *token,
                                   const cJSON *id, int *out)
{
    char found[WEIGHTS_DESCRIBE];
    *out = weights_token_id(vocabulary->tokenizer, token);
    if (*out >= 0 && (!id || !cJSON_IsNumber(id) || id->valuedouble != *out))
        return distil_fail(vocabulary->error, DISTIL_FORMAT,
                           "%s: post_processor: \"%.100s\": expected its id in the vocabulary, %d, "
                           "found %s",
                           vocabulary->where, token, *out, weights_describe(id, found));
    return DISTIL_OK;
}

static const cJSON *template_id(const cJSON *processor, const char *token)
{
    const cJSON *specials = cJSON_GetObjectItemCaseSensitive(processor, "special_tokens");
    const cJSON *special = cJSON_GetObjectItemCaseSensitive(specials, token);
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(special, "ids");
    return cJSON_GetArraySize(ids) == 1 ? ids->child : NULL;
}

static distil_status read_processor(struct weights_vocabulary *vocabulary, const cJSON *json)
{
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    const cJSON *processor =
        unwrap(cJSON_GetObjectItemCaseSensitive(json, "post_processor"), "processors");
    const char *type = type_of(processor), *cls = NULL, *sep = NULL;
    const cJSON *cls_id = NULL, *sep_id = NULL;
    if (type && !strcmp(type, "TemplateProcessing") && is_bert_template(processor, &cls, &sep)) {
        cls_id = template_id(processor, cls);
        sep_id = template_id(processor, sep);
    } else if (type && !strcmp(type, "BertProcessing")) {
        const cJSON *first = cJSON_GetObjectItemCaseSensitive(processor, "cls");
        const cJSON *last = cJSON_GetObjectItemCaseSensitive(processor, "sep");
        if (cJSON_GetArraySize(first) == 2 && cJSON_IsString(first->child) &&
            cJSON_GetArraySize(last) == 2 && cJSON_IsString(last->child)) {
            cls = first->child->valuestring;
            sep = last->child->valuestring;
            cls_id = first->child->next;
            sep_id = last->child->next;
        }
    }
    if (!cls || !sep)
        return unsupported(vocabulary, "post_processor",
                           "BertProcessing or the template [CLS] A [SEP] B [SEP]", processor);
    distil_status status = check_special(vocabulary, cls, cls_id, &tokenizer->cls);
    if (!status)
        status = check_special(vocabulary, sep, sep_id, &tokenizer->sep);
    return status;
}

distil_status weights_read_tokenizer_json(struct weights_vocabulary *vocabulary, const cJSON *json)
{
    const cJSON *splitter =
        unwrap(cJSON_GetObjectItemCaseSensitive(json, "pre_tokenizer"), "pretokenizers");
    const char *type = type_of(splitter);
    if (!type || strcmp(type, "BertPreTokenizer") != 0)
        return unsupported(vocabulary, "pre_tokenizer", "BertPreTokenizer", splitter);
    distil_status status = read_normalizer(vocabulary, json);
    if (!status)
        status = read_model(vocabulary, json);
    if (!status)
        status = read_added(vocabulary, json);
    if (!status)
        status = read_processor(vocabulary, json);
    return status;
}

#include "weights/tokenizer_files.h"

#include <stdlib.h>
#include <string.h>

#include "weights/file.h"
#include "weights/json.h"

static const size_t VOCAB_FILE = 64u << 20; /* bytes */

int weights_token_id(const struct weights_tokenizer *tokenizer, const char *token)
{
    for (int i = 0; i < tokenizer->added_count; i++)
        if (!strcmp(tokenizer->added[i].content, token))
            return tokenizer->added[i].id;
    for (int i = 0; i < tokenizer->count; i++)
        if (tokenizer->tokens[i] && !strcmp(tokenizer->tokens[i], token))
            return i;
    return -1;
}

distil_status weights_check_tokenizer(const struct weights_tokenizer *tokenizer, const char *where,
                                      int rows, distil_error *error)
{
    const struct {
        const char *name;
        int id;
    } specials[] = {{"unknown-word token", tokenizer->unk},
                    {"classification token", tokenizer->cls},
                    {"separator token", tokenizer->sep},
                    {"padding token", tokenizer->pad}};
    /* Checkpoints pad their rows to a round number, but not by this much. */
    int padding = rows / 64 > 64 ? rows / 64 : 64;
    if (rows - tokenizer->count > padding)
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: expected %d tokens, the rows of the word embeddings, or up to %d fewer, found %d",
            where, rows, padding, tokenizer->count);
    if (tokenizer->count > rows)
        return distil_fail(
            error, DISTIL_FORMAT,
            "%s: expected at most %d tokens, the rows of the word embeddings, found %d", where,
            rows, tokenizer->count);
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
        if (specials[i].id < 0 || specials[i].id >= tokenizer->count)
            return distil_fail(error, DISTIL_FORMAT, "%s: the vocabulary of %d tokens has no %s",
                               where, tokenizer->count, specials[i].name);
    if (tokenizer->mask < -1 || tokenizer->mask >= tokenizer->count)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: mask token: expected an id below %d, found %d", where,
                           tokenizer->count, tokenizer->mask);
    for (int i = 0; i < tokenizer->count; i++)
        if (tokenizer->tokens[i] && strchr(tokenizer->tokens[i], '\n'))
            return distil_fail(error, DISTIL_UNSUPPORTED, "%s: token %d holds a line break", where,
                               i);
    const char *duplicate = NULL;
    distil_status status = weights_find_duplicate(&duplicate, tokenizer->tokens,
                                                  (size_t)tokenizer->count, where, error);
    if (!status && duplicate)
        status = distil_fail(error, DISTIL_FORMAT, "%s: the token \"%.100s\" appears twice", where,
                             duplicate);
    return status;
}

distil_status weights_vocabulary_begin(struct weights_vocabulary *vocabulary)
{
    vocabulary->tokenizer->tokens = weights_arena_alloc(vocabulary->arena, (size_t)vocabulary->rows,
                                                        sizeof *vocabulary->tokenizer->tokens);
    return vocabulary->tokenizer->tokens ? DISTIL_OK
                                         : weights_no_memory(vocabulary->where, vocabulary->error);
}

static distil_status check_id(const struct weights_vocabulary *vocabulary, int id,
                              const char *token)
{
    if (id >= 0 && id < vocabulary->rows)
        return DISTIL_OK;
    return distil_fail(vocabulary->error, DISTIL_FORMAT,
                       "%s: token \"%.100s\": expected an id below %d, the rows of the word "
                       "embeddings, found %d",
                       vocabulary->where, token, vocabulary->rows, id);
}

distil_status weights_vocabulary_set(struct weights_vocabulary *vocabulary, int id,
                                     const char *token)
{
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    distil_status status = check_id(vocabulary, id, token);
    if (status)
        return status;
    if (tokenizer->tokens[id])
        return distil_fail(vocabulary->error, DISTIL_FORMAT,
                           "%s: id %d belongs to two tokens, \"%.100s\" and \"%.100s\"",
                           vocabulary->where, id, tokenizer->tokens[id], token);
    tokenizer->tokens[id] = *token ? token : NULL; /* nothing can be matched by an empty token */
    if (id >= tokenizer->count)
        tokenizer->count = id + 1;
    return DISTIL_OK;
}

/* Room for one more added token. */
static distil_status grow_added(struct weights_vocabulary *vocabulary)
{
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    if (tokenizer->added_count < vocabulary->added_capacity)
        return DISTIL_OK;
    int capacity = vocabulary->added_capacity ? 2 * vocabulary->added_capacity : 8;
    struct weights_added_token *added =
        weights_arena_alloc(vocabulary->arena, (size_t)capacity, sizeof *added);
    if (!added)
        return weights_no_memory(vocabulary->where, vocabulary->error);
    if (tokenizer->added_count)
        memcpy(added, tokenizer->added, (size_t)tokenizer->added_count * sizeof *added);
    tokenizer->added = added;
    vocabulary->added_capacity = capacity;
    return DISTIL_OK;
}

distil_status weights_vocabulary_add(struct weights_vocabulary *vocabulary, const char *content,
                                     const struct weights_added_token *token)
{
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    distil_status status = check_id(vocabulary, token->id, content);
    if (status)
        return status;
    int known = weights_token_id(tokenizer, content);
    if (known >= 0 && known != token->id)
        return distil_fail(
            vocabulary->error, DISTIL_FORMAT,
            "%s: added token \"%.100s\": expected its id in the vocabulary, %d, found %d",
            vocabulary->where, content, known, token->id);
    const char *holder = tokenizer->tokens[token->id];
    if (holder && strcmp(holder, content) != 0)
        return distil_fail(vocabulary->error, DISTIL_FORMAT,
                           "%s: id %d belongs to two tokens, \"%.100s\" and \"%.100s\"",
                           vocabulary->where, token->id, holder, content);
    status = grow_added(vocabulary);
    if (status)
        return status;
    int at = 0;
    while (at < tokenizer->added_count && tokenizer->added[at].id != token->id)
        at++;
    bool again = at < tokenizer->added_count;
    bool outside = again ? tokenizer->added[at].outside : !holder;
    char *copy = weights_arena_copy(vocabulary->arena, content);
    if (!copy)
        return weights_no_memory(vocabulary->where, vocabulary->error);
    tokenizer->added[at] = *token;
    tokenizer->added[at].content = copy;
    tokenizer->added[at].outside = outside;
    tokenizer->added_count += !again;
    tokenizer->tokens[token->id] = copy;
    if (token->id >= tokenizer->count)
        tokenizer->count = token->id + 1;
    return DISTIL_OK;
}

distil_status weights_read_added_token(struct weights_added_token *token, const char **content,
                                       const cJSON *json, const char *where, distil_error *error)
{
    struct weights_fields fields = {.object = json, .where = where, .error = error};
    *content = NULL;
    token->normalized = true;
    distil_status status = weights_get_string(&fields, "content", true, content);
    if (!status && !**content)
        status =
            distil_fail(error, DISTIL_FORMAT, "%s: content: expected a token, found \"\"", where);
    if (!status)
        status = weights_get_bool(&fields, "special", false, &token->special);
    if (!status) {
        token->normalized = !token->special;
        status = weights_get_bool(&fields, "normalized", false, &token->normalized);
    }
    if (!status)
        status = weights_get_bool(&fields, "single_word", false, &token->single_word);
    if (!status)
        status = weights_get_bool(&fields, "lstrip", false, &token->lstrip);
    if (!status)
        status = weights_get_bool(&fields, "rstrip", false, &token->rstrip);
    return status;
}

/* A text file into the arena, without the line breaks at its end. */
static distil_status read_lines(const struct weights_vocabulary *vocabulary, const char *path,
                                char **lines)
{
    char *text = NULL;
    size_t length = 0;
    distil_status status = weights_read_file(&text, &length, path, VOCAB_FILE, vocabulary->error);
    if (status)
        return status;
    bool valid = !memchr(text, '\0', length) && weights_utf8_valid(text, length);
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        text[--length] = '\0';
    *lines = weights_arena_copy(vocabulary->arena, text);
    free(text);
    if (!*lines)
        return weights_no_memory(path, vocabulary->error);
    return valid ? DISTIL_OK
                 : distil_fail(vocabulary->error, DISTIL_FORMAT, "%s: not valid UTF-8 text", path);
}

/* One token a line, its line its id. CRLF line ends are read as LF; empty lines at the end are dropped. */
static distil_status read_vocab(struct weights_vocabulary *vocabulary, const char *path)
{
    char *line = NULL;
    vocabulary->where = path;
    distil_status status = read_lines(vocabulary, path, &line);
    if (!status && !*line)
        status = distil_fail(vocabulary->error, DISTIL_FORMAT,
                             "%s: expected one token a line, found none", path);
    if (!status)
        status = weights_vocabulary_begin(vocabulary);
    for (int id = 0; line && !status; id++) {
        char *end = strchr(line, '\n');
        if (end) {
            *end = '\0';
            if (end > line && end[-1] == '\r')
                end[-1] = '\0';
        }
        status = weights_vocabulary_set(vocabulary, id, line);
        line = end ? end + 1 : NULL;
    }
    return status;
}

/* A file that may be missing: *json is then NULL. */
static distil_status read_optional(cJSON **json, const char *path, distil_error *error)
{
    distil_error local = {0};
    distil_status status = weights_json_read(json, path, &local);
    if (status == DISTIL_NOT_FOUND)
        return DISTIL_OK;
    return status ? distil_fail(error, status, "%s", local.message) : DISTIL_OK;
}

/* The spelling of a special token: a string, or an object with its content. */
static const char *special_name(const cJSON *config, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config, key);
    if (cJSON_IsObject(value))
        value = cJSON_GetObjectItemCaseSensitive(value, "content");
    return cJSON_IsString(value) ? value->valuestring : NULL;
}

static int special_id(const struct weights_tokenizer *tokenizer, const cJSON *config,
                      const cJSON *map, const char *key, const char *usual)
{
    const char *name = special_name(config, key);
    name = name ? name : special_name(map, key);
    return weights_token_id(tokenizer, name ? name : usual);
}

/* Options of tokenizer_config.json for a bare vocabulary. */
static distil_status read_options(struct weights_vocabulary *vocabulary, const cJSON *config,
                                  const char *path)
{
    static const char *const known[] = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                                        "DistilBertTokenizerFast", "PreTrainedTokenizerFast"};
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    struct weights_fields fields = {.object = config, .where = path, .error = vocabulary->error};
    const char *name = known[0];
    tokenizer->clean_text = true;
    tokenizer->chinese_chars = true;
    tokenizer->lowercase = true;
    tokenizer->max_word_characters = 100;
    tokenizer->prefix = weights_arena_copy(vocabulary->arena, "##");
    if (!tokenizer->prefix)
        return weights_no_memory(path, vocabulary->error);
    distil_status status = weights_get_string(&fields, "tokenizer_class", false, &name);
    size_t i = 0;
    while (!status && i < sizeof known / sizeof *known && strcmp(known[i], name) != 0)
        i++;
    if (i == sizeof known / sizeof *known)
        status = distil_fail(vocabulary->error, DISTIL_UNSUPPORTED,
                             "%s: tokenizer_class: expected a BERT tokenizer, found \"%.80s\"",
                             path, name);
    if (!status)
        status = weights_get_bool(&fields, "do_lower_case", false, &tokenizer->lowercase);
    if (!status)
        status =
            weights_get_bool(&fields, "tokenize_chinese_chars", false, &tokenizer->chinese_chars);
    tokenizer->strip_accents = tokenizer->lowercase;
    if (!status)
        status = weights_get_bool(&fields, "strip_accents", false, &tokenizer->strip_accents);
    return status;
}

/* Tokens added to a bare vocabulary: {"30522": {"content": ...}} in tokenizer_config.json. */
static distil_status read_added_decoder(struct weights_vocabulary *vocabulary, const cJSON *config,
                                        const char *path)
{
    distil_status status = DISTIL_OK;
    const cJSON *decoder = cJSON_GetObjectItemCaseSensitive(config, "added_tokens_decoder");
    for (const cJSON *item = decoder ? decoder->child : NULL; item && !status; item = item->next) {
        struct weights_added_token token = {0};
        const char *content;
        char *end = NULL;
        long id = item->string ? strtol(item->string, &end, 10) : -1;
        token.id = !end || *end || id < 0 || id >= vocabulary->rows ? -1 : (int)id;
        status = weights_read_added_token(&token, &content, item, path, vocabulary->error);
        if (!status)
            status = weights_vocabulary_add(vocabulary, content, &token);
    }
    return status;
}

/* The older form, added_tokens.json: {"token": id}. */
static distil_status read_added_file(struct weights_vocabulary *vocabulary, const char *path)
{
    cJSON *json = NULL;
    distil_status status = read_optional(&json, path, vocabulary->error);
    for (const cJSON *item = json ? json->child : NULL; item && !status; item = item->next) {
        struct weights_fields fields = {.object = json, .where = path, .error = vocabulary->error};
        struct weights_added_token token = {.normalized = true};
        status = weights_get_int(&fields, item->string, true, 0, vocabulary->rows - 1, &token.id);
        if (!status)
            status = weights_vocabulary_add(vocabulary, item->string, &token);
    }
    cJSON_Delete(json);
    return status;
}

struct file_names {
    char *tokenizer, *vocab, *config, *map, *added;
};

static distil_status read_bare_vocabulary(struct weights_vocabulary *vocabulary,
                                          const struct file_names *names, const cJSON *config,
                                          const cJSON *map)
{
    static const struct {
        const char *key, *usual;
    } specials[] = {{"unk_token", "[UNK]"},
                    {"cls_token", "[CLS]"},
                    {"sep_token", "[SEP]"},
                    {"pad_token", "[PAD]"},
                    {"mask_token", "[MASK]"}};
    struct weights_tokenizer *tokenizer = vocabulary->tokenizer;
    distil_status status = read_vocab(vocabulary, names->vocab);
    if (status == DISTIL_NOT_FOUND)
        return distil_fail(vocabulary->error, status,
                           "%s: cannot open: no such file, and no tokenizer.json beside it",
                           names->vocab);
    if (!status)
        status = read_options(vocabulary, config, names->config);
    if (!status)
        status = read_added_file(vocabulary, names->added);
    if (!status)
        status = read_added_decoder(vocabulary, config, names->config);
    for (size_t i = 0; i < sizeof specials / sizeof *specials && !status; i++) {
        int id = special_id(tokenizer, config, map, specials[i].key, specials[i].usual);
        bool known = id < 0;
        for (int j = 0; j < tokenizer->added_count; j++)
            known |= tokenizer->added[j].id == id;
        if (known)
            continue;
        struct weights_added_token token = {.id = id, .special = true};
        status = weights_vocabulary_add(vocabulary, tokenizer->tokens[id], &token);
    }
    if (status)
        return status;
    tokenizer->unk = special_id(tokenizer, config, map, "unk_token", "[UNK]");
    tokenizer->cls = special_id(tokenizer, config, map, "cls_token", "[CLS]");
    tokenizer->sep = special_id(tokenizer, config, map, "sep_token", "[SEP]");
    return DISTIL_OK;
}

distil_status weights_read_tokenizer(struct weights_tokenizer *tokenizer,
                                     struct weights_arena *arena, const char *directory, int rows,
                                     distil_error *error)
{
    struct weights_vocabulary vocabulary = {
        .tokenizer = tokenizer, .arena = arena, .where = directory, .rows = rows, .error = error};
    cJSON *json = NULL, *config = NULL, *map = NULL;
    struct file_names names = {.tokenizer = weights_join(directory, "tokenizer.json"),
                               .vocab = weights_join(directory, "vocab.txt"),
                               .config = weights_join(directory, "tokenizer_config.json"),
                               .map = weights_join(directory, "special_tokens_map.json"),
                               .added = weights_join(directory, "added_tokens.json")};
    distil_status status = DISTIL_OK;
    if (!names.tokenizer || !names.vocab || !names.config || !names.map || !names.added)
        status = weights_no_memory(directory, error);
    if (!status)
        status = read_optional(&json, names.tokenizer, error);
    if (!status)
        status = read_optional(&config, names.config, error);
    if (!status)
        status = read_optional(&map, names.map, error);
    if (!status && json) {
        vocabulary.where = names.tokenizer;
        status = weights_read_tokenizer_json(&vocabulary, json);
    } else if (!status) {
        status = read_bare_vocabulary(&vocabulary, &names, config, map);
    }
    if (!status) {
        tokenizer->pad = special_id(tokenizer, config, map, "pad_token", "[PAD]");
        tokenizer->mask = special_id(tokenizer, config, map, "mask_token", "[MASK]");
        status = weights_check_tokenizer(tokenizer, vocabulary.where, rows, error);
    }
    cJSON_Delete(json);
    cJSON_Delete(config);
    cJSON_Delete(map);
    free(names.tokenizer);
    free(names.vocab);
    free(names.config);
    free(names.map);
    free(names.added);
    return status;
}

/* embed.c: POST /embed, in the form of text-embeddings-inference. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "server/inputs.h"
#include "server/model.h"
#include "server/routes.h"

/* What is kept between a request and its answer. */
struct embedding {
    distil_truncation truncation;
    bool normalize;
    int dimensions; /* the first ones that are wanted */
};

static void finish(struct server_exchange *exchange)
{
    const struct embedding *embedding = exchange->request;
    const struct server_job *job = &exchange->job;
    struct server_json json = {0};
    int i, k;
    if (!server_job_succeeded(exchange, 424))
        return;
    server_json_begin_array(&json);
    for (i = 0; i < job->count; i++) {
        float *values = job->outputs[i];
        if (embedding->normalize)
            distil_normalize(values, embedding->dimensions);
        server_json_begin_array(&json);
        for (k = 0; k < embedding->dimensions; k++)
            server_json_float(&json, values[k]);
        server_json_end_array(&json);
    }
    server_json_end_array(&json);
    server_answer(exchange, 200, &json);
}

static bool fail_input(struct server_exchange *exchange, int i, distil_status status, int given,
                       const distil_error *error)
{
    int window = exchange->model->info->window;
    if (status == DISTIL_TOO_LONG)
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                    "`inputs[%d]` must have at most %d tokens. Given: %d", i, window, given);
    else if (status == DISTIL_NO_MEMORY)
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
    else if (status)
        server_fail(exchange, 422, SERVER_ERROR_TOKENIZER, "inputs",
                    "`inputs[%d]` cannot be encoded: %s", i, error->message);
    return status == DISTIL_OK;
}

static bool encode_text(struct server_exchange *exchange, int i, const char *text)
{
    const struct embedding *embedding = exchange->request;
    distil_status status;
    distil_error error;
    if (!*text) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "inputs", "`inputs[%d]` cannot be empty", i);
        return false;
    }
    status = server_work_encode(exchange, i, text, NULL, embedding->truncation, &error);
    return fail_input(
        exchange, i, status,
        status == DISTIL_TOO_LONG ? distil_tokens_full_count(exchange->job.texts[i]) : 0, &error);
}

/* Ids of the vocabulary are taken as they are, special tokens and all. */
static bool read_ids(struct server_exchange *exchange, int i, const cJSON *list, int32_t *ids)
{
    int vocab = exchange->model->info->vocab, at = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < vocab) ||
            item->valuedouble != (double)(int32_t)item->valuedouble) {
            server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                        "`inputs[%d]`: token %d must be an id of the vocabulary, a whole number "
                        "from 0 to %d",
                        i, at, vocab - 1);
            return false;
        }
        ids[at++] = (int32_t)item->valuedouble;
    }
    return true;
}

static bool take_ids(struct server_exchange *exchange, int i, const cJSON *list)
{
    const struct embedding *embedding = exchange->request;
    int window = exchange->model->info->window, count = cJSON_GetArraySize(list), kept = count;
    int32_t *ids = malloc(((size_t)count + 1) * sizeof(*ids));
    distil_status status = DISTIL_NO_MEMORY;
    distil_error error;
    bool read = true;
    if (count == 0) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "inputs", "`inputs[%d]` cannot be empty", i);
        read = false;
    } else if (ids) {
        read = read_ids(exchange, i, list, ids);
        kept = count < window ? count : window;
        status = DISTIL_TOO_LONG;
    }
    if (read && ids && (kept == count || embedding->truncation != DISTIL_TRUNCATE_NONE)) {
        int first = embedding->truncation == DISTIL_TRUNCATE_LEFT ? count - kept : 0;
        status = server_work_take_ids(exchange, i, ids + first, kept, &error);
    }
    free(ids);
    return read && fail_input(exchange, i, status, count, &error);
}

static bool encode(struct server_exchange *exchange, int i, const cJSON *input)
{
    if (cJSON_IsString(input))
        return encode_text(exchange, i, input->valuestring);
    if (cJSON_IsArray(input))
        return take_ids(exchange, i, input);
    server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                "`inputs[%d]` must be a string or an array of token ids, not %s", i,
                server_json_type(input));
    return false;
}

/* Refuses what would make other vectors than those that are answered. */
static bool check_meaning(struct server_exchange *exchange, const cJSON *object)
{
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(object, "prompt_name");
    const char *own = server_model_pooling(exchange->model->info->pooling), *pooling = own;
    struct server_problem problem;
    if (!server_json_get_string(object, "pooling", &pooling, &problem))
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, problem.field, "%s", problem.message);
    else if (strcasecmp(pooling, own) != 0)
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "pooling",
                    "`pooling` must be \"%s\", as the model %s was made for, not \"%.40s\"", own,
                    exchange->model->name, pooling);
    else if (prompt && !cJSON_IsNull(prompt))
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "prompt_name",
                    "`prompt_name` must not be given: the model has no prompts");
    return exchange->status == 0;
}

static bool read_options(struct server_exchange *exchange, const cJSON *object,
                         struct embedding *embedding)
{
    const cJSON *dimensions = cJSON_GetObjectItemCaseSensitive(object, "dimensions");
    int hidden = exchange->model->info->hidden;
    struct server_problem problem;
    embedding->normalize = true;
    embedding->dimensions = hidden;
    if (!server_input_truncation(exchange, object, &embedding->truncation))
        return false;
    if (!server_json_get_bool(object, "normalize", &embedding->normalize, &problem)) {
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, problem.field, "%s", problem.message);
        return false;
    }
    if (!check_meaning(exchange, object))
        return false;
    if (!dimensions || cJSON_IsNull(dimensions))
        return true;
    if (!cJSON_IsNumber(dimensions) ||
        !(dimensions->valuedouble >= 1 && dimensions->valuedouble <= hidden) ||
        dimensions->valuedouble != (double)dimensions->valueint) {
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "dimensions",
                    "`dimensions` must be a whole number from 1 to %d", hidden);
        return false;
    }
    embedding->dimensions = dimensions->valueint;
    return true;
}

/* One input: a text, or the ids of one. Several are an array of these. */
static bool is_single(const cJSON *inputs)
{
    return cJSON_IsString(inputs) || (cJSON_IsArray(inputs) && cJSON_IsNumber(inputs->child));
}

static void embed(struct server_exchange *exchange, const cJSON *object)
{
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(object, "inputs"), *input;
    bool single = is_single(inputs);
    int i = 0, count = single ? 1 : cJSON_GetArraySize(inputs);
    if (!read_options(exchange, object, exchange->request))
        return;
    if (!single && !cJSON_IsArray(inputs)) {
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                    "`inputs` must be a string, an array of token ids, or an array of these, not "
                    "%s",
                    server_json_type(inputs));
        return;
    }
    if (!server_input_count(exchange, count) || !server_work_create(exchange, count))
        return;
    if (single && !encode(exchange, 0, inputs))
        return;
    for (input = single ? NULL : inputs->child; input; input = input->next)
        if (!encode(exchange, i++, input))
            return;
    exchange->job.raw = true;
    exchange->finish = finish;
}

void server_handle_embed(struct server_exchange *exchange)
{
    cJSON *object = server_input_object(exchange);
    if (!object)
        return;
    if (server_input_model(exchange, object, 422, DISTIL_TASK_NONE)) {
        exchange->request = calloc(1, sizeof(struct embedding));
        exchange->request_free = free;
        if (exchange->request)
            embed(exchange, object);
        else
            server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
    }
    cJSON_Delete(object); /* the texts are encoded */
}

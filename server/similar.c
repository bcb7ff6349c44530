/* similar.c: POST /api/similar: the items of the catalogue that are nearest to a text, a vector, or one of them.
 *
 * A text goes through the queue and the workers to become a vector. A search of a large catalogue then goes to its thread, for
 * which the connection sleeps once more. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/inputs.h"
#include "server/internal.h"
#include "server/offers.h"
#include "server/routes.h"

enum { DEFAULT_TOP_K = 10, MAX_TOP_K = 1000 };

/* What is kept between a question and its answer. */
struct similar {
    struct server_search search;
    long itself; /* the item that was asked by; -1: none */
    int top_k;
    bool truncated;
};

static void similar_free(void *request)
{
    struct similar *similar = request;
    free(similar->search.vector);
    free(similar->search.matches);
    free(similar);
}

static const distil_catalogue *items_of(const struct server_exchange *exchange)
{
    return exchange->offer->stock.items;
}

/* ---- the answer ---- */

/* The columns beyond the id and the text, where there are any. */
static void write_fields(struct server_json *json, const distil_catalogue *items, long item)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(items);
    int i;
    if (facts->columns <= 1 + (facts->text_column >= 0))
        return;
    server_json_key(json, "fields");
    server_json_begin_object(json);
    for (i = 1; i < facts->columns; i++)
        if (i != facts->text_column)
            server_json_put_string(json, distil_catalogue_column(items, i),
                                   distil_catalogue_cell(items, item, i));
    server_json_end_object(json);
}

static void answer_matches(struct server_exchange *exchange, const struct similar *similar)
{
    const distil_catalogue *items = items_of(exchange);
    const int text = distil_catalogue_info(items)->text_column;
    struct server_json json = {0};
    int i, written = 0;
    server_json_begin_object(&json);
    server_json_key(&json, "items");
    server_json_begin_array(&json);
    for (i = 0; i < similar->search.count && written < similar->top_k; i++) {
        const distil_match *match = &similar->search.matches[i];
        if (match->item == similar->itself) /* it is not like itself, it is itself */
            continue;
        server_json_begin_object(&json);
        server_json_put_string(&json, "id", distil_catalogue_cell(items, match->item, 0));
        if (text >= 0)
            server_json_put_string(&json, "text", distil_catalogue_cell(items, match->item, text));
        write_fields(&json, items, match->item);
        server_json_put_float(&json, "score", match->score);
        server_json_end_object(&json);
        written++;
    }
    server_json_end_array(&json);
    if (similar->truncated)
        server_json_put_bool(&json, "truncated", true);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

static void finish_search(struct server_exchange *exchange)
{
    const struct similar *similar = exchange->request;
    const struct server_search *search = &similar->search;
    if (search->handed.outcome != SERVER_OUTCOME_DONE)
        server_fail_handed(exchange, search->handed.outcome, "searches of the catalogue");
    else if (search->status == DISTIL_INVALID)
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "vector", "`vector`: %s",
                    search->error.message);
    else if (search->status)
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "the search failed: %s",
                    search->error.message);
    else
        answer_matches(exchange, similar);
}

/* ---- the search ---- */

static void submit_search(struct server_exchange *exchange)
{
    struct similar *similar = exchange->request;
    server_catalogue_push(exchange->offer->catalogue, &similar->search);
}

/* Searches in place and answers, or has the connection sleep until the thread has searched. */
static void begin_search(struct server_exchange *exchange)
{
    struct similar *similar = exchange->request;
    struct server_search *search = &similar->search;
    const long items = distil_catalogue_info(items_of(exchange))->items;
    search->limit = similar->top_k + (similar->itself >= 0);
    search->limit = search->limit < items ? search->limit : (int)items;
    search->matches = malloc((size_t)search->limit * sizeof(*search->matches));
    if (!search->matches) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    search->deadline = exchange->job.deadline;
    search->handed.done = server_wake_handed;
    search->handed.context = exchange;
    if (server_catalogue_is_large(exchange->offer->catalogue)) {
        exchange->submit = submit_search;
        exchange->finish = finish_search;
        return;
    }
    server_catalogue_search(exchange->offer->catalogue, search);
    finish_search(exchange);
}

/* The text has become a vector. */
static void finish_text(struct server_exchange *exchange)
{
    struct similar *similar = exchange->request;
    const struct server_job *job = &exchange->job;
    const int width = job->model->info->hidden;
    if (!server_job_succeeded(exchange, 500))
        return;
    memcpy(similar->search.vector, job->outputs[0], (size_t)width * sizeof(float));
    similar->truncated = distil_tokens_truncated(job->texts[0]);
    begin_search(exchange);
}

/* ---- the question ---- */

static void ask_by_text(struct server_exchange *exchange, const char *model, const cJSON *text)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(items_of(exchange));
    distil_error error;
    if (!cJSON_IsString(text)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "text",
                    "`text` must be a string, not %s", server_json_type(text));
        return;
    }
    if (!server_work_use_task(exchange, model, DISTIL_TASK_NONE))
        return;
    if (exchange->model->info->hidden != facts->width) {
        server_fail(exchange, 424, SERVER_ERROR_BACKEND, "text",
                    "the model %s makes vectors of %d values and the catalogue has %d: ask by "
                    "`vector` or `id`",
                    exchange->model->name, exchange->model->info->hidden, facts->width);
        return;
    }
    if (!server_work_create(exchange, 1))
        return;
    if (server_work_encode(exchange, 0, text->valuestring, NULL, DISTIL_TRUNCATE_RIGHT, &error)) {
        server_fail(exchange, 400, SERVER_ERROR_TOKENIZER, "text", "`text` cannot be encoded: %s",
                    error.message);
        return;
    }
    if (distil_tokens_full_count(exchange->job.texts[0]) <= DISTIL_EMPTY_TOKENS) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "text",
                    "`text` is empty: it has nothing that becomes a token");
        return;
    }
    exchange->finish = finish_text;
}

static bool read_vector(struct server_exchange *exchange, const cJSON *vector, float *values)
{
    const int width = distil_catalogue_info(items_of(exchange))->width;
    const cJSON *item;
    int i = 0;
    if (!cJSON_IsArray(vector)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "vector",
                    "`vector` must be an array of %d numbers, not %s", width,
                    server_json_type(vector));
        return false;
    }
    if (cJSON_GetArraySize(vector) != width) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "vector",
                    "`vector` must have %d numbers, as the items of the catalogue do. Given: %d",
                    width, cJSON_GetArraySize(vector));
        return false;
    }
    cJSON_ArrayForEach(item, vector)
    {
        if (!cJSON_IsNumber(item)) {
            server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "vector",
                        "`vector[%d]` must be a number, not %s", i, server_json_type(item));
            return false;
        }
        values[i] = (float)item->valuedouble;
        if (!isfinite(values[i])) {
            server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "vector",
                        "`vector[%d]` is beyond what a float holds", i);
            return false;
        }
        i++;
    }
    return true;
}

static void ask_by_id(struct server_exchange *exchange, const cJSON *id)
{
    struct similar *similar = exchange->request;
    if (!cJSON_IsString(id)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "id", "`id` must be a string, not %s",
                    server_json_type(id));
        return;
    }
    similar->itself = distil_catalogue_find(items_of(exchange), id->valuestring);
    if (similar->itself < 0) {
        server_fail(exchange, 404, SERVER_ERROR_NOT_FOUND, "id",
                    "there is no item with the id \"%.100s\"", id->valuestring);
        return;
    }
    distil_catalogue_vector(items_of(exchange), similar->itself, similar->search.vector);
    begin_search(exchange);
}

static bool read_top_k(struct server_exchange *exchange, const cJSON *top_k, int *value)
{
    *value = DEFAULT_TOP_K;
    if (!top_k || cJSON_IsNull(top_k))
        return true;
    if (!cJSON_IsNumber(top_k) || !(top_k->valuedouble >= 1 && top_k->valuedouble <= MAX_TOP_K) ||
        top_k->valuedouble != floor(top_k->valuedouble)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "top_k",
                    "`top_k` must be a whole number from 1 to %d", MAX_TOP_K);
        return false;
    }
    *value = (int)top_k->valuedouble;
    return true;
}

/* A field that is there and not null. */
static const cJSON *given(const cJSON *root, const char *field)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(root, field);
    return cJSON_IsNull(value) ? NULL : value;
}

static void ask(struct server_exchange *exchange, const cJSON *root)
{
    struct similar *similar = exchange->request;
    const cJSON *text = given(root, "text"), *vector = given(root, "vector"),
                *id = given(root, "id");
    struct server_problem problem;
    const char *model = NULL;
    if ((text != NULL) + (vector != NULL) + (id != NULL) != 1) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION,
                    !text && !vector && !id ? "text"
                    : text && vector        ? "vector"
                                            : "id",
                    "%s one of `text`, `vector` and `id`",
                    text || vector || id ? "give no more than" : "expected");
        return;
    }
    if (!server_json_get_string(root, "model", &model, &problem)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, problem.field, "%s", problem.message);
        return;
    }
    if (!read_top_k(exchange, cJSON_GetObjectItemCaseSensitive(root, "top_k"), &similar->top_k))
        return;
    if (text)
        ask_by_text(exchange, model, text);
    else if (id)
        ask_by_id(exchange, id);
    else if (read_vector(exchange, vector, similar->search.vector))
        begin_search(exchange);
}

void server_handle_similar(struct server_exchange *exchange)
{
    struct similar *similar;
    cJSON *root;
    if (!exchange->server->offers) {
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL,
                    "the server has no catalogue: --catalogue names one");
        return;
    }
    root = server_input_object(exchange);
    if (!root)
        return;
    exchange->offer = server_offers_use(exchange->server->offers);
    similar = calloc(1, sizeof(*similar));
    if (similar) {
        exchange->request = similar;
        exchange->request_free = similar_free;
        similar->itself = -1;
        similar->search.vector =
            calloc((size_t)distil_catalogue_info(items_of(exchange))->width, sizeof(float));
    }
    if (!similar || !similar->search.vector)
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
    else
        ask(exchange, root);
    cJSON_Delete(root);
}

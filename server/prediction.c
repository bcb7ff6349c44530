/* prediction.c: POST /prediction, {"texts": [...]}: the label and score of each text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/inputs.h"
#include "server/internal.h"
#include "server/predict_log.h"
#include "server/routes.h"

/* What is kept between a request and its answer. */
static void root_free(void *root)
{
    cJSON_Delete(root);
}

static void finish(struct server_exchange *exchange)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(exchange->request, "texts")->child;
    const struct server_job *job = &exchange->job;
    const struct server_model *model = job->model;
    int i;
    struct server_json json = {0};
    if (!server_job_succeeded(exchange, 500))
        return;
    server_json_begin_object(&json);
    server_json_key(&json, "predictions");
    server_json_begin_array(&json);
    for (i = 0; i < job->count; i++, text = text->next) {
        float *scores = job->outputs[i];
        int best;
        server_model_count(model, scores);
        distil_scores(model->model, scores, scores);
        server_predict_log(exchange, i, text->valuestring, NULL, scores, NULL);
        best = server_model_best(model, scores);
        server_json_begin_object(&json);
        server_json_put_string(&json, "label", distil_label(model->model, best));
        server_json_put_float(&json, "score", scores[best]);
        if (distil_tokens_truncated(job->texts[i]))
            server_json_put_bool(&json, "truncated", true);
        server_json_end_object(&json);
    }
    server_json_end_array(&json);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

static bool encode_text(struct server_exchange *exchange, int i, const cJSON *text)
{
    distil_error error;
    if (!cJSON_IsString(text)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "texts",
                    "`texts[%d]` must be a string, not %s", i, server_json_type(text));
        return false;
    }
    if (server_work_encode(exchange, i, text->valuestring, NULL, DISTIL_TRUNCATE_RIGHT, &error)) {
        server_fail(exchange, 400, SERVER_ERROR_TOKENIZER, "texts",
                    "`texts[%d]` cannot be encoded: %s", i, error.message);
        return false;
    }
    if (distil_tokens_full_count(exchange->job.texts[i]) <= DISTIL_EMPTY_TOKENS) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "texts",
                    *text->valuestring ? "`texts[%d]` holds nothing that becomes a token"
                                       : "`texts[%d]` is empty",
                    i);
        return false;
    }
    return true;
}

static void predict(struct server_exchange *exchange, const cJSON *root)
{
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(root, "texts"), *text;
    int limit = exchange->server->options.max_client_batch, count, i = 0;
    if (!texts || !cJSON_IsArray(texts)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "texts",
                    texts ? "`texts` must be an array of strings, not %s"
                          : "`texts` is missing: an array of strings is expected%s",
                    texts ? server_json_type(texts) : "");
        return;
    }
    count = cJSON_GetArraySize(texts);
    if (count == 0) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "texts", "`texts` cannot be empty");
        return;
    }
    if (count > limit) {
        server_fail(exchange, 413, SERVER_ERROR_VALIDATION, "texts",
                    "`texts` holds %d texts, at most %d may be asked at once", count, limit);
        return;
    }
    if (!server_work_create(exchange, count))
        return;
    cJSON_ArrayForEach(text, texts)
    {
        if (!encode_text(exchange, i++, text))
            return;
    }
    exchange->finish = finish;
}

void server_handle_prediction(struct server_exchange *exchange)
{
    cJSON *root = server_input_object(exchange);
    exchange->request = root;
    exchange->request_free = root_free;
    if (root && server_input_model(exchange, root, 400, DISTIL_TASK_CLASSIFY))
        predict(exchange, root);
}

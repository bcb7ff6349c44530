/* predict.c: POST /predict, in two forms told apart by their fields: {"text"} with one answer, and
 * the form of text-embeddings-inference, {"inputs"}, with all labels sorted by score. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/inputs.h"
#include "server/internal.h"
#include "server/predict_log.h"
#include "server/routes.h"

/* What is kept between a request and its answer. */
struct prediction {
    cJSON *root;      /* holds the texts */
    const char *text; /* of the form {"text"} */
    struct server_review review;
    bool raw_scores;
    bool nested; /* a batch: one list of labels for each text */
};

static void prediction_free(void *request)
{
    struct prediction *prediction = request;
    cJSON_Delete(prediction->root);
    free(prediction);
}

/* ---- {"text": string} ---- */

static void write_scores(struct server_json *json, const struct server_model *model,
                         const float *scores)
{
    int labels = model->info->label_count, best = server_model_best(model, scores), i;
    if (model->positive >= 0) {
        server_json_put_string(json, "sentiment", distil_label(model->model, best));
        server_json_put_float(json, "score", scores[best]);
        server_json_put_float(json, "positive_score", scores[model->positive]);
        server_json_put_float(json, "negative_score", scores[model->negative]);
        return;
    }
    server_json_put_string(json, "label", distil_label(model->model, best));
    server_json_put_float(json, "score", scores[best]);
    server_json_key(json, "scores");
    server_json_begin_object(json);
    for (i = 0; i < labels; i++)
        server_json_put_float(json, distil_label(model->model, i), scores[i]);
    server_json_end_object(json);
    if (model->info->problem != DISTIL_SIGMOID)
        return;
    /* labels that do not exclude each other: all that are more likely than not */
    server_json_key(json, "labels");
    server_json_begin_array(json);
    for (i = 0; i < labels; i++)
        if (scores[i] >= 0.5F)
            server_json_string(json, distil_label(model->model, i));
    server_json_end_array(json);
}

static void finish_text(struct server_exchange *exchange)
{
    const struct prediction *prediction = exchange->request;
    const struct server_job *job = &exchange->job;
    struct server_json json = {0};
    if (!server_job_succeeded(exchange, 500))
        return;
    server_model_count(job->model, job->outputs[0]);
    distil_scores(job->model->model, job->outputs[0], job->outputs[0]);
    server_predict_log(exchange, 0, prediction->text, NULL, job->outputs[0], &prediction->review);
    server_json_begin_object(&json);
    write_scores(&json, job->model, job->outputs[0]);
    server_json_put_string(&json, "text", prediction->text);
    if (prediction->review.product_id) {
        server_json_put_string(&json, "product_id", prediction->review.product_id);
        server_json_put_string(&json, "timestamp", prediction->review.timestamp);
        server_json_put_string(&json, "id", server_prediction_id(exchange));
    }
    if (distil_tokens_truncated(job->texts[0]))
        server_json_put_bool(&json, "truncated", true);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

static void predict_text(struct server_exchange *exchange, struct prediction *prediction)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(prediction->root, "text");
    distil_error error;
    if (!text) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "text",
                    "`text` is missing: a string is expected");
        return;
    }
    if (!cJSON_IsString(text)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "text",
                    "`text` must be a string, not %s", server_json_type(text));
        return;
    }
    prediction->text = text->valuestring;
    if (!server_review_read(exchange, prediction->root, &prediction->review) ||
        !server_work_create(exchange, 1))
        return;
    if (server_work_encode(exchange, 0, prediction->text, NULL, DISTIL_TRUNCATE_RIGHT, &error)) {
        server_fail(exchange, 400, SERVER_ERROR_TOKENIZER, "text", "`text` cannot be encoded: %s",
                    error.message);
        return;
    }
    if (distil_tokens_full_count(exchange->job.texts[0]) <= DISTIL_EMPTY_TOKENS) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "text",
                    *prediction->text ? "`text` holds nothing that becomes a token"
                                      : "`text` is empty");
        return;
    }
    exchange->finish = finish_text;
}

/* ---- {"inputs": ...} ---- */

struct scored {
    float score;
    int label;
};

static int compare_scored(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->label - y->label;
}

static void write_sorted(struct server_json *json, const struct server_model *model,
                         const float *scores, struct scored *sorted)
{
    int labels = model->info->label_count, i;
    for (i = 0; i < labels; i++) {
        sorted[i].score = scores[i];
        sorted[i].label = i;
    }
    qsort(sorted, (size_t)labels, sizeof(*sorted), compare_scored);
    server_json_begin_array(json);
    for (i = 0; i < labels; i++) {
        server_json_begin_object(json);
        server_json_put_float(json, "score", sorted[i].score);
        server_json_put_string(json, "label", distil_label(model->model, sorted[i].label));
        server_json_end_object(json);
    }
    server_json_end_array(json);
}

/* Puts text i into the log of predictions. sequence: as encode_sequence takes it. */
static void log_sequence(struct server_exchange *exchange, int i, const cJSON *sequence,
                         const float *scores)
{
    const cJSON *first = cJSON_IsArray(sequence) ? sequence->child : sequence;
    const cJSON *second = cJSON_IsArray(sequence) ? first->next : NULL;
    server_predict_log(exchange, i, first->valuestring, second ? second->valuestring : NULL, scores,
                       NULL);
}

static void finish_inputs(struct server_exchange *exchange)
{
    const struct prediction *prediction = exchange->request;
    const struct server_job *job = &exchange->job;
    const struct server_model *model = job->model;
    size_t labels = (size_t)model->info->label_count;
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(prediction->root, "inputs");
    const cJSON *sequence = prediction->nested ? inputs->child : inputs;
    struct server_json json = {0};
    struct scored *sorted;
    float *scores;
    int i;
    if (!server_job_succeeded(exchange, 424))
        return;
    sorted = malloc(labels * (sizeof(*sorted) + sizeof(*scores)));
    if (!sorted) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    scores = (float *)(void *)(sorted + labels);
    if (prediction->nested)
        server_json_begin_array(&json);
    for (i = 0; i < job->count; i++, sequence = sequence->next) {
        const float *logits = job->outputs[i];
        server_model_count(model, logits);
        distil_scores(model->model, logits, scores);
        log_sequence(exchange, i, sequence, scores);
        write_sorted(&json, model, prediction->raw_scores ? logits : scores, sorted);
    }
    if (prediction->nested)
        server_json_end_array(&json);
    free(sorted);
    server_answer(exchange, 200, &json);
}

/* Encodes one sequence: a string, ["s"], or the pair ["a", "b"]. where names it in messages. */
static bool encode_sequence(struct server_exchange *exchange, int i, const cJSON *sequence,
                            distil_truncation truncation, const char *where)
{
    const cJSON *first = cJSON_IsArray(sequence) ? sequence->child : sequence;
    const cJSON *second = cJSON_IsArray(sequence) && first ? first->next : NULL;
    distil_status status;
    distil_error error;
    if (!first || !cJSON_IsString(first) || (second && (!cJSON_IsString(second) || second->next))) {
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                    "`%s` must be a string or an array of one or two strings", where);
        return false;
    }
    if (!*first->valuestring && !second) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "inputs", "`%s` cannot be empty", where);
        return false;
    }
    status = server_work_encode(exchange, i, first->valuestring,
                                second ? second->valuestring : NULL, truncation, &error);
    if (status == DISTIL_TOO_LONG)
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                    "`%s` must have at most %d tokens. Given: %d", where,
                    exchange->job.model->info->window,
                    distil_tokens_full_count(exchange->job.texts[i]));
    else if (status)
        server_fail(exchange, 422, SERVER_ERROR_TOKENIZER, "inputs", "`%s` cannot be encoded: %s",
                    where, error.message);
    return status == DISTIL_OK;
}

static bool encode_batch(struct server_exchange *exchange, const cJSON *inputs,
                         distil_truncation truncation)
{
    const cJSON *sequence;
    char where[32];
    int i = 0;
    cJSON_ArrayForEach(sequence, inputs)
    {
        snprintf(where, sizeof(where), "inputs[%d]", i);
        if (!cJSON_IsArray(sequence)) {
            server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                        "`%s` must be an array of one or two strings, not %s", where,
                        server_json_type(sequence));
            return false;
        }
        if (!encode_sequence(exchange, i++, sequence, truncation, where))
            return false;
    }
    return true;
}

static bool read_raw_scores(struct server_exchange *exchange, struct prediction *prediction)
{
    struct server_problem problem;
    bool read =
        server_json_get_bool(prediction->root, "raw_scores", &prediction->raw_scores, &problem);
    if (!read)
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, problem.field, "%s", problem.message);
    return read;
}

/* Refuses parameters of HuggingFace's clients that ask for other scores than those that are answered. */
static bool check_parameters(struct server_exchange *exchange, const cJSON *root)
{
    static const char *const refused[] = {"top_k", "function_to_apply"};
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(root, "parameters");
    size_t i;
    for (i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(parameters, refused[i]);
        if (value && !cJSON_IsNull(value)) {
            server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "parameters",
                        "`parameters.%s` must not be given: all labels are answered, with "
                        "probabilities or, by `raw_scores`, without",
                        refused[i]);
            return false;
        }
    }
    return true;
}

static void predict_inputs(struct server_exchange *exchange, struct prediction *prediction)
{
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(prediction->root, "inputs");
    int count = 1;
    distil_truncation truncation;
    if (!server_input_truncation(exchange, prediction->root, &truncation) ||
        !read_raw_scores(exchange, prediction) || !check_parameters(exchange, prediction->root))
        return;
    if (!cJSON_IsString(inputs) && !cJSON_IsArray(inputs)) {
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                    "`inputs` must be a string or an array, not %s", server_json_type(inputs));
        return;
    }
    prediction->nested = cJSON_IsArray(inputs) && cJSON_IsArray(inputs->child);
    if (prediction->nested || (cJSON_IsArray(inputs) && !inputs->child))
        count = cJSON_GetArraySize(inputs);
    if (!server_input_count(exchange, count))
        return;
    if (!server_work_create(exchange, count))
        return;
    if (prediction->nested ? encode_batch(exchange, inputs, truncation)
                           : encode_sequence(exchange, 0, inputs, truncation, "inputs"))
        exchange->finish = finish_inputs;
}

void server_handle_predict(struct server_exchange *exchange)
{
    struct prediction *prediction;
    cJSON *root = server_input_object(exchange);
    unsigned failure;
    if (!root)
        return;
    prediction = calloc(1, sizeof(*prediction));
    if (!prediction) {
        cJSON_Delete(root);
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    prediction->root = root;
    exchange->request = prediction;
    exchange->request_free = prediction_free;
    failure = cJSON_GetObjectItemCaseSensitive(root, "inputs") ? 422 : 400;
    if (!server_input_model(exchange, root, failure, DISTIL_TASK_CLASSIFY))
        return;
    if (failure == 422)
        predict_inputs(exchange, prediction);
    else
        predict_text(exchange, prediction);
}

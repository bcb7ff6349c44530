/* answer.c: POST /answer, in two forms told apart by their fields: {"question", "context"} with the
 * parameters beside them, and the envelope of HuggingFace's inference clients,
 * {"inputs": {"question", "context"}, "parameters": {}}. */
#include <stdlib.h>
#include <string.h>

#include "engine/distil_answer.h"
#include "server/exchange.h"
#include "server/inputs.h"
#include "server/internal.h"
#include "server/routes.h"

/* The most that a request may ask for: each answer wanted is looked for in every window. */
enum { TOP_MOST = 100, ANSWER_LEN_MOST = 1000000, LEAST_SEQ_LEN = 4 };

/* What is kept between a request and its answer. */
struct inquiry {
    cJSON *root; /* holds the texts */
    const char *question, *context;
    unsigned refusal; /* the status of what is wrong with a field */
    distil_answer_options options;
    long top_k;
    distil_windows *windows;
};

static void inquiry_free(void *request)
{
    struct inquiry *inquiry = request;
    distil_windows_free(inquiry->windows);
    cJSON_Delete(inquiry->root);
    free(inquiry);
}

/* ---- the answer ---- */

static void write_answer(struct server_json *json, const distil_answer *answer)
{
    server_json_begin_object(json);
    server_json_key(json, "answer");
    server_json_string_n(json, answer->text, answer->length);
    server_json_put_float(json, "score", answer->score);
    server_json_put_integer(json, "start", answer->start);
    server_json_put_integer(json, "end", answer->end);
    server_json_end_object(json);
}

static void finish(struct server_exchange *exchange)
{
    const struct inquiry *inquiry = exchange->request;
    struct server_json json = {0};
    distil_answer answers[TOP_MOST];
    distil_error error;
    int count = (int)inquiry->top_k, i;
    if (!server_job_succeeded(exchange, inquiry->refusal == 422 ? 424 : 500))
        return;
    /* the outputs of all windows lie one after another */
    if (distil_windows_answers(inquiry->windows, exchange->job.outputs[0], answers, &count,
                               &error)) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "%s", error.message);
        return;
    }
    if (inquiry->top_k > 1)
        server_json_begin_array(&json);
    for (i = 0; i < count; i++)
        write_answer(&json, &answers[i]);
    if (inquiry->top_k > 1)
        server_json_end_array(&json);
    server_answer(exchange, 200, &json);
}

/* ---- the request ---- */

/* One of the two texts; false, with the request refused, where it is missing or empty. */
static bool read_text(struct server_exchange *exchange, const struct inquiry *inquiry,
                      const cJSON *object, const char *field, const char **text)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, field);
    const char *within = object == inquiry->root ? "" : "inputs.";
    if (!value) {
        server_fail(exchange, inquiry->refusal, SERVER_ERROR_VALIDATION, field,
                    "`%s%s` is missing: a string is expected", within, field);
        return false;
    }
    if (!cJSON_IsString(value)) {
        server_fail(exchange, inquiry->refusal, SERVER_ERROR_VALIDATION, field,
                    "`%s%s` must be a string, not %s", within, field, server_json_type(value));
        return false;
    }
    if (!*value->valuestring) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, field, "`%s%s` is empty", within, field);
        return false;
    }
    *text = value->valuestring;
    return true;
}

static bool read_parameters(const cJSON *object, int window, struct inquiry *inquiry,
                            struct server_problem *problem)
{
    distil_answer_options *options = &inquiry->options;
    long sequence = 0, stride = -1, length = 0;
    double threshold = 0;
    bool impossible = false;
    inquiry->top_k = 1;
    if (!server_json_get_integer(object, "top_k", 1, TOP_MOST, &inquiry->top_k, problem) ||
        !server_json_get_integer(object, "max_answer_len", 1, ANSWER_LEN_MOST, &length, problem) ||
        !server_json_get_integer(object, "max_seq_len", LEAST_SEQ_LEN, window, &sequence,
                                 problem) ||
        !server_json_get_integer(object, "doc_stride", 0, (sequence ? sequence : window) - 1,
                                 &stride, problem) ||
        !server_json_get_bool(object, "handle_impossible_answer", &impossible, problem) ||
        !server_json_get_number(object, "threshold", 0, 1, &threshold, problem))
        return false;
    options->max_seq_len = (int)sequence;
    options->doc_stride = (int)stride;
    options->max_answer_len = (int)length;
    options->handle_impossible_answer = impossible;
    options->threshold = (float)threshold;
    return true;
}

/* Reads whichever form the body has; false with the request refused. */
static bool read_request(struct server_exchange *exchange, struct inquiry *inquiry)
{
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(inquiry->root, "inputs");
    const cJSON *texts = inputs ? inputs : inquiry->root, *parameters = inquiry->root;
    struct server_problem problem;
    if (inputs) {
        parameters = cJSON_GetObjectItemCaseSensitive(inquiry->root, "parameters");
        if (!cJSON_IsObject(inputs)) {
            server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "inputs",
                        "`inputs` must be an object with `question` and `context`, not %s",
                        server_json_type(inputs));
            return false;
        }
        if (parameters && !cJSON_IsNull(parameters) && !cJSON_IsObject(parameters)) {
            server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "parameters",
                        "`parameters` must be an object, not %s", server_json_type(parameters));
            return false;
        }
    }
    if (!read_text(exchange, inquiry, texts, "question", &inquiry->question) ||
        !read_text(exchange, inquiry, texts, "context", &inquiry->context))
        return false;
    if (!read_parameters(parameters, exchange->model->info->window, inquiry, &problem)) {
        server_fail(exchange, inquiry->refusal, SERVER_ERROR_VALIDATION, problem.field, "%s",
                    problem.message);
        return false;
    }
    return true;
}

/* Cuts the context into windows; false with the request refused. */
static bool cut_windows(struct server_exchange *exchange, struct inquiry *inquiry)
{
    int limit = exchange->server->options.max_windows, count;
    distil_error error;
    distil_status status = distil_windows_create(
        exchange->model->model, inquiry->question, strlen(inquiry->question), inquiry->context,
        strlen(inquiry->context), &inquiry->options, &inquiry->windows, &error);
    if (status == DISTIL_TOO_LONG || status == DISTIL_INVALID) {
        server_fail(exchange, inquiry->refusal, SERVER_ERROR_VALIDATION,
                    status == DISTIL_TOO_LONG ? "question" : "doc_stride", "%s", error.message);
    } else if (status) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "%s", error.message);
    } else if (distil_windows_question_tokens(inquiry->windows) == 0) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "question",
                    "`question` holds nothing that becomes a token");
    } else if (distil_windows_context_tokens(inquiry->windows) == 0) {
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "context",
                    "`context` holds nothing that becomes a token");
    } else if ((count = distil_windows_count(inquiry->windows)) > limit) {
        server_fail(exchange, 413, SERVER_ERROR_VALIDATION, "context",
                    "`context` has %d tokens, which makes %d windows: at most %d are allowed",
                    distil_windows_context_tokens(inquiry->windows), count, limit);
    } else {
        return true;
    }
    return false;
}

static void answer(struct server_exchange *exchange, struct inquiry *inquiry)
{
    int64_t began = server_now();
    distil_error error;
    int count, i;
    if (!cut_windows(exchange, inquiry))
        return;
    exchange->tokenization_ns += server_now() - began;
    exchange->characters +=
        server_characters(inquiry->question) + server_characters(inquiry->context);
    count = distil_windows_count(inquiry->windows);
    if (!server_work_create(exchange, count))
        return;
    for (i = 0; i < count; i++)
        if (server_work_window(exchange, i, inquiry->windows, &error)) {
            server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "%s", error.message);
            return;
        }
    exchange->finish = finish;
}

void server_handle_answer(struct server_exchange *exchange)
{
    struct inquiry *inquiry;
    cJSON *root = server_input_object(exchange);
    if (!root)
        return;
    inquiry = calloc(1, sizeof(*inquiry));
    if (!inquiry) {
        cJSON_Delete(root);
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    inquiry->root = root;
    inquiry->refusal = cJSON_GetObjectItemCaseSensitive(root, "inputs") ? 422 : 400;
    exchange->request = inquiry;
    exchange->request_free = inquiry_free;
    if (server_input_model(exchange, root, inquiry->refusal, DISTIL_TASK_ANSWER) &&
        read_request(exchange, inquiry))
        answer(exchange, inquiry);
}

/* feedback.c: POST /feedback, which says what a prediction should have been. */
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/inputs.h"
#include "server/internal.h"
#include "server/prediction_log.h"
#include "server/routes.h"

static void on_done(struct server_feedback *feedback)
{
    struct server_exchange *exchange = feedback->context;
    exchange->wake(exchange);
}

static void submit(struct server_exchange *exchange)
{
    server_prediction_log_give(exchange->server->predictions, exchange->request);
}

static void answer_kept(struct server_exchange *exchange, const struct server_feedback *feedback)
{
    struct server_json json = {0};
    server_json_begin_object(&json);
    server_json_put_string(&json, "id", feedback->id);
    server_json_put_string(&json, "label", feedback->label);
    server_json_put_string(&json, "predicted", feedback->predicted);
    if (*feedback->previous)
        server_json_put_string(&json, "previous", feedback->previous);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

static void finish(struct server_exchange *exchange)
{
    const struct server_feedback *feedback = exchange->request;
    switch (feedback->outcome) {
    case SERVER_FEEDBACK_KEPT:
        answer_kept(exchange, feedback);
        break;
    case SERVER_FEEDBACK_UNKNOWN:
        server_fail(exchange, 404, SERVER_ERROR_NOT_FOUND, "id",
                    "the log holds no prediction of this id");
        break;
    case SERVER_FEEDBACK_WRONG_LABEL:
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "label",
                    "`label` must be one of the model's: %s", feedback->labels);
        break;
    case SERVER_FEEDBACK_LATE:
        exchange->retry_after = 5;
        server_fail(exchange, 503, SERVER_ERROR_OVERLOADED, NULL,
                    "the log of predictions cannot be written now");
        break;
    case SERVER_FEEDBACK_STOPPED:
        exchange->retry_after = 1;
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL,
                    "the server stopped before the feedback was written");
        break;
    }
}

/* Copies a field's string, of at least a byte, into to; false, with 400 answered, where there is none. */
static bool read_field(struct server_exchange *exchange, const cJSON *root, const char *field,
                       char *to, size_t size)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(root, field);
    size_t length = cJSON_IsString(value) ? strlen(value->valuestring) : 0;
    if (!value)
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field,
                    "`%s` is missing: a string is expected", field);
    else if (!cJSON_IsString(value))
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field, "`%s` must be a string, not %s",
                    field, server_json_type(value));
    else if (length < 1 || length >= size)
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field,
                    "`%s` must have 1 to %zu bytes, not %zu", field, size - 1, length);
    else
        memcpy(to, value->valuestring, length + 1);
    return !exchange->status;
}

static void read_feedback(struct server_exchange *exchange, const cJSON *root)
{
    struct server_feedback *feedback;
    feedback = calloc(1, sizeof(*feedback));
    if (!feedback) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    exchange->request = feedback;
    exchange->request_free = free;
    if (!read_field(exchange, root, "id", feedback->id, sizeof(feedback->id)) ||
        !read_field(exchange, root, "label", feedback->label, sizeof(feedback->label)))
        return;
    feedback->done = on_done;
    feedback->context = exchange;
    exchange->submit = submit;
    exchange->finish = finish;
}

void server_handle_feedback(struct server_exchange *exchange)
{
    const struct server *server = exchange->server;
    cJSON *root;
    if (!server->predictions && !server->options.predictions.enabled) {
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL,
                    "the server keeps no log of predictions, by its option --prediction-log");
        return;
    }
    if (!server->predictions) {
        server_fail_stateless(exchange, "there is no log of predictions");
        return;
    }
    root = server_input_object(exchange);
    if (root)
        read_feedback(exchange, root);
    cJSON_Delete(root);
}

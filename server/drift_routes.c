/* drift_routes.c: GET /drift, answered by the thread that compares predictions. */
#include <stdlib.h>
#include <string.h>

#include "server/drift_monitor.h"
#include "server/exchange.h"
#include "server/internal.h"
#include "server/routes.h"

/* What is asked, and what the monitor said, for finish. */
struct answer {
    struct server_drift_request asked;
    bool html;
    distil_status status;
    distil_error error;
    char *text;
    size_t length;
};

static void answer_free(void *request)
{
    struct answer *answer = request;
    free(answer->text);
    free(answer);
}

static void on_compared(struct server_handed *handed)
{
    struct answer *answer = (struct answer *)(void *)handed;
    const struct server_drift_outcome *outcome = answer->asked.outcome;
    if (handed->outcome == SERVER_OUTCOME_DONE) {
        const char *text = answer->html ? outcome->html : outcome->json;
        answer->status = outcome->status;
        answer->error = outcome->error;
        answer->length = answer->html ? outcome->html_length : outcome->json_length;
        if (!answer->status && (answer->text = malloc(answer->length)))
            memcpy(answer->text, text, answer->length);
    }
    server_wake_handed(handed);
}

static void submit(struct server_exchange *exchange)
{
    struct answer *answer = exchange->request;
    server_drift_monitor_ask(exchange->server->drift, &answer->asked);
}

static void finish(struct server_exchange *exchange)
{
    struct answer *answer = exchange->request;
    const char *message = answer->error.message;
    char *text = answer->text;
    if (answer->asked.handed.outcome != SERVER_OUTCOME_DONE) {
        server_fail_handed(exchange, answer->asked.handed.outcome, "requests for a comparison");
        return;
    }
    switch (answer->status) {
    case DISTIL_OK:
        answer->text = NULL; /* the exchange takes it over */
        server_answer_text(exchange, answer->html ? "text/html; charset=utf-8" : NULL, text,
                           answer->length);
        break;
    case DISTIL_NOT_FOUND:
    case DISTIL_INVALID:
        server_fail(exchange, 409, SERVER_ERROR_CONFLICT, NULL, "%s", message);
        break;
    default:
        server_log_printf(&exchange->server->options.log, SERVER_LOG_ERROR,
                          "predictions could not be compared: %s", message);
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL,
                    "predictions could not be compared: %s", distil_strerror(answer->status));
        break;
    }
}

/* The model that the request is about, ?model=NAME, else the first one that predicts labels. False where there is none, with
 * what is wrong answered. */
static bool find_model(struct server_exchange *exchange, int *model)
{
    if (!server_work_use_task(exchange, exchange->model_asked, DISTIL_TASK_CLASSIFY))
        return false;
    *model = server_drift_monitor_find(exchange->server->drift, exchange->model->name);
    if (*model < 0) /* it was another kind of model when the server started */
        server_fail(exchange, 409, SERVER_ERROR_CONFLICT, "model",
                    "the predictions of model %s are compared from the next start on",
                    exchange->model->name);
    server_work_leave(exchange);
    return *model >= 0;
}

void server_handle_drift(struct server_exchange *exchange)
{
    struct answer *answer;
    int model;
    if (!exchange->server->state_dir) {
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL,
                    "this server keeps no predictions, as it has no directory of state "
                    "(--state-dir)");
        return;
    }
    if (!find_model(exchange, &model))
        return;
    answer = calloc(1, sizeof(*answer));
    if (!answer) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    answer->asked.model = model;
    answer->html = exchange->accepts_html;
    exchange->varies_by_accept = true;
    answer->asked.handed.done = on_compared;
    answer->asked.handed.context = exchange;
    exchange->request = answer;
    exchange->request_free = answer_free;
    exchange->submit = submit;
    exchange->finish = finish;
}

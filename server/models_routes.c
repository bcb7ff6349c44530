/* models_routes.c: which models there are, what they are, and replacing them. */
#include <stdio.h>
#include <stdlib.h>

#include "server/exchange.h"
#include "server/internal.h"
#include "server/reload.h"
#include "server/routes.h"

static const char *const problem_names[] = {"single-label", "multi-label", "regression"};

static void write_labels(struct server_json *json, const struct server_model *model)
{
    int i;
    if (model->info->task == DISTIL_TASK_CLASSIFY)
        server_json_put_string(json, "problem", problem_names[model->info->problem]);
    server_json_key(json, "labels");
    server_json_begin_array(json);
    for (i = 0; i < model->info->label_count; i++)
        server_json_string(json, distil_label(model->model, i));
    server_json_end_array(json);
}

/* first: of its task, so that it answers requests that name no model. */
static void write_model(struct server_json *json, const struct server_model *model, bool first)
{
    const distil_info *info = model->info;
    server_json_begin_object(json);
    server_json_put_string(json, "name", model->name);
    server_json_put_bool(json, "default", first);
    server_json_put_string(json, "task", server_model_task(info->task));
    if (info->task == DISTIL_TASK_NONE) {
        server_json_put_integer(json, "dimensions", info->hidden);
        server_json_put_string(json, "pooling", server_model_pooling(info->pooling));
        server_json_put_bool(json, "normalize", info->normalize);
    } else if (info->task != DISTIL_TASK_ANSWER) {
        write_labels(json, model);
    }
    server_json_put_integer(json, "max_tokens", info->window);
    server_json_put_string(json, "precision", info->precision);
    server_json_put_string(json, "cpu", info->cpu);
    server_json_put_string(json, "digest", info->digest);
    server_json_end_object(json);
}

void server_handle_models(struct server_exchange *exchange)
{
    struct server_models *models = exchange->server->models;
    struct server_json json = {0};
    bool seen[SERVER_TASKS] = {false};
    int i;
    server_json_begin_object(&json);
    server_json_key(&json, "models");
    server_json_begin_array(&json);
    for (i = 0; i < server_models_count(models); i++) {
        struct server_model *model = server_models_use_at(models, i);
        write_model(&json, model, !seen[model->info->task]);
        seen[model->info->task] = true;
        server_models_leave(models, model);
    }
    server_json_end_array(&json);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

static void submit_reload(struct server_exchange *exchange)
{
    server_reloader_ask(exchange->server->reloader, exchange->request);
}

static void finish_reload(struct server_exchange *exchange)
{
    const struct server_reload_request *request = exchange->request;
    const struct server_reload_outcome *outcome = &request->outcome;
    struct server_json json = {0};
    if (request->handed.outcome != SERVER_OUTCOME_DONE) {
        server_fail_handed(exchange, request->handed.outcome, "requests to reload");
        return;
    }
    if (outcome->failed > 0 || outcome->catalogue == SERVER_CATALOGUE_FAILED) {
        char models[64] = "";
        if (outcome->failed > 0)
            snprintf(models, sizeof(models), "%d of %d models", outcome->failed,
                     server_models_count(exchange->server->models));
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "%s%s as %s: %s", models,
                    outcome->catalogue != SERVER_CATALOGUE_FAILED ? " go on"
                    : outcome->failed > 0                         ? " and the catalogue go on"
                                                                  : "the catalogue goes on",
                    outcome->failed > 0 ? "they were" : "it was", outcome->error.message);
        return;
    }
    server_json_begin_object(&json);
    server_json_put_integer(&json, "replaced", outcome->swapped);
    server_json_put_integer(&json, "unchanged", outcome->unchanged);
    if (outcome->catalogue != SERVER_NO_CATALOGUE)
        server_json_put_string(&json, "catalogue",
                               outcome->catalogue == SERVER_CATALOGUE_SWAPPED ? "replaced"
                                                                              : "unchanged");
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

void server_handle_reload(struct server_exchange *exchange)
{
    struct server_reload_request *request = calloc(1, sizeof(*request));
    if (!request) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    request->handed.done = server_wake_handed;
    request->handed.context = exchange;
    exchange->request = request;
    exchange->request_free = free;
    exchange->submit = submit_reload;
    exchange->finish = finish_reload;
}

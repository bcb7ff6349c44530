/* models_routes.c: which models there are, and what they are. */
#include "server/exchange.h"
#include "server/internal.h"
#include "server/routes.h"

static const char *const task_names[] = {"none", "sequence-classification", "token-classification",
                                         "question-answering"};
static const char *const problem_names[] = {"single-label", "multi-label", "regression"};

static void write_model(struct server_json *json, const struct server_model *model, bool first)
{
    const distil_info *info = model->info;
    int i;
    server_json_begin_object(json);
    server_json_put_string(json, "name", model->name);
    server_json_put_bool(json, "default", first);
    server_json_put_string(json, "task", task_names[info->task]);
    server_json_put_string(json, "problem", problem_names[info->problem]);
    server_json_key(json, "labels");
    server_json_begin_array(json);
    for (i = 0; i < info->label_count; i++)
        server_json_string(json, distil_label(model->model, i));
    server_json_end_array(json);
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
    int i;
    server_json_begin_object(&json);
    server_json_key(&json, "models");
    server_json_begin_array(&json);
    for (i = 0; i < server_models_count(models); i++) {
        struct server_model *model = server_models_use_at(models, i);
        write_model(&json, model, i == 0);
        server_models_leave(models, model);
    }
    server_json_end_array(&json);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

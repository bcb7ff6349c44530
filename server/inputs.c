/* inputs.c: see inputs.h. */
#include "server/inputs.h"

#include <string.h>

#include "server/internal.h"

cJSON *server_input_object(struct server_exchange *exchange)
{
    struct server_problem problem;
    cJSON *root = server_json_parse(exchange->body, exchange->body_length, &problem);
    if (!root) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, problem.field, "%s", problem.message);
    } else if (!cJSON_IsObject(root)) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, NULL,
                    "the body must be a JSON object, not %s", server_json_type(root));
        cJSON_Delete(root);
        root = NULL;
    }
    return root;
}

bool server_input_model(struct server_exchange *exchange, const cJSON *object, unsigned failure,
                        distil_task task)
{
    const char *name = NULL;
    struct server_problem problem;
    if (!server_json_get_string(object, "model", &name, &problem)) {
        server_fail(exchange, failure, SERVER_ERROR_VALIDATION, "model", "%s", problem.message);
        return false;
    }
    return server_work_use_task(exchange, name, task);
}

bool server_input_truncation(struct server_exchange *exchange, const cJSON *object,
                             distil_truncation *truncation)
{
    struct server_problem problem;
    const char *direction = "Right";
    bool truncate = false, left;
    if (!server_json_get_bool(object, "truncate", &truncate, &problem) ||
        !server_json_get_string(object, "truncation_direction", &direction, &problem)) {
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, problem.field, "%s", problem.message);
        return false;
    }
    left = strcmp(direction, "Left") == 0 || strcmp(direction, "left") == 0;
    if (!left && strcmp(direction, "Right") != 0 && strcmp(direction, "right") != 0) {
        server_fail(exchange, 422, SERVER_ERROR_VALIDATION, "truncation_direction",
                    "`truncation_direction` must be \"Left\" or \"Right\", not \"%.40s\"",
                    direction);
        return false;
    }
    *truncation = !truncate ? DISTIL_TRUNCATE_NONE
                  : left    ? DISTIL_TRUNCATE_LEFT
                            : DISTIL_TRUNCATE_RIGHT;
    return true;
}

bool server_input_count(struct server_exchange *exchange, int count)
{
    int limit = exchange->server->options.max_client_batch;
    if (count == 0)
        server_fail(exchange, 400, SERVER_ERROR_EMPTY, "inputs", "`inputs` cannot be empty");
    else if (count > limit)
        server_fail(exchange, 413, SERVER_ERROR_VALIDATION, "inputs",
                    "batch size %d > maximum allowed batch size %d", count, limit);
    return count > 0 && count <= limit;
}

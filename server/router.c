/* router.c: see router.h. */
#include "server/router.h"

#include <string.h>

#include "server/routes.h"

static const struct server_route routes[] = {
    {.method = "GET", .path = "/", .handle = server_handle_welcome, .needs = SERVER_SCOPES_ANY},
    {.method = "GET", .path = "/health", .handle = server_handle_health, .unlimited = true},
    {.method = "GET",
     .path = "/metrics",
     .handle = server_handle_metrics,
     .needs = SERVER_SCOPE_METRICS,
     .unlimited = true},
    {.method = "GET",
     .path = "/metrics.json",
     .handle = server_handle_metrics_json,
     .needs = SERVER_SCOPE_METRICS,
     .unlimited = true},
    {.method = "GET",
     .path = "/openapi.json",
     .handle = server_handle_openapi,
     .needs = SERVER_SCOPES_ANY},
    {.method = "GET", .path = "/docs", .handle = server_handle_docs, .needs = SERVER_SCOPES_ANY},
    {.method = "GET",
     .path = "/drift",
     .handle = server_handle_drift,
     .needs_model = true,
     .needs = SERVER_SCOPE_METRICS},
    {.method = "GET",
     .path = "/models",
     .handle = server_handle_models,
     .needs_model = true,
     .needs = SERVER_SCOPES_ANY},
    {.method = "POST",
     .path = "/predict",
     .handle = server_handle_predict,
     .json_body = true,
     .needs_model = true,
     .task = DISTIL_TASK_CLASSIFY,
     .needs = SERVER_SCOPE_PREDICT},
    {.method = "POST",
     .path = "/prediction",
     .handle = server_handle_prediction,
     .json_body = true,
     .needs_model = true,
     .task = DISTIL_TASK_CLASSIFY,
     .needs = SERVER_SCOPE_PREDICT},
    {.method = "POST",
     .path = "/embed",
     .handle = server_handle_embed,
     .json_body = true,
     .needs_model = true,
     .task = DISTIL_TASK_NONE,
     .needs = SERVER_SCOPE_PREDICT},
    {.method = "POST",
     .path = "/answer",
     .handle = server_handle_answer,
     .json_body = true,
     .needs_model = true,
     .task = DISTIL_TASK_ANSWER,
     .needs = SERVER_SCOPE_PREDICT},
    {.method = "POST",
     .path = "/feedback",
     .handle = server_handle_feedback,
     .json_body = true,
     .needs = SERVER_SCOPE_PREDICT},
    {.method = "POST",
     .path = "/api/similar",
     .handle = server_handle_similar,
     .json_body = true,
     .needs_model = true,
     .may_skip_queue = true,
     .needs = SERVER_SCOPE_PREDICT},
    {.method = "POST",
     .path = "/admin/models/reload",
     .handle = server_handle_reload,
     .needs_model = true,
     .needs = SERVER_SCOPE_ADMIN},
    {.method = "POST", .path = "/api/login", .handle = server_handle_login, .json_body = true},
    {.method = "POST",
     .path = "/api/recommend",
     .handle = server_handle_recommend,
     .json_body = true,
     .needs_model = true,
     .may_skip_queue = true,
     .needs = SERVER_SCOPE_SESSION},
    {.method = "POST",
     .path = "/api/recommend/score",
     .handle = server_handle_score,
     .json_body = true,
     .needs = SERVER_SCOPE_SESSION},
    {.method = "GET",
     .path = "/protected",
     .handle = server_handle_protected,
     .needs = SERVER_SCOPE_SESSION},
};

enum { ROUTE_COUNT = sizeof(routes) / sizeof(*routes) };

const struct server_route *server_routes(size_t *count)
{
    *count = ROUTE_COUNT;
    return routes;
}

const struct server_route *server_route_find(const char *method, const char *path,
                                             const char **allow)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    bool has_get = false, has_post = false;
    int i;
    *allow = NULL;
    for (i = 0; i < ROUTE_COUNT; i++) {
        if (strcmp(path, routes[i].path) != 0)
            continue;
        if (strcmp(wanted, routes[i].method) == 0)
            return &routes[i];
        has_get = has_get || strcmp(routes[i].method, "GET") == 0;
        has_post = has_post || strcmp(routes[i].method, "POST") == 0;
    }
    if (has_get)
        *allow = has_post ? "GET, HEAD, POST" : "GET, HEAD";
    else if (has_post)
        *allow = "POST";
    return NULL;
}

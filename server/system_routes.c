/* system_routes.c: what the server says of itself. Nothing here waits for a model. */
#include "server/exchange.h"
#include "server/internal.h"
#include "server/router.h"
#include "server/routes.h"

void server_handle_welcome(struct server_exchange *exchange)
{
    struct server_json json = {0};
    size_t count, i;
    const struct server_route *routes = server_routes(&count);
    server_json_begin_object(&json);
    server_json_put_string(&json, "message", "Welcome to distild");
    server_json_put_string(&json, "name", "distild");
    server_json_put_string(&json, "version", DISTILD_VERSION);
    server_json_key(&json, "routes");
    server_json_begin_array(&json);
    for (i = 0; i < count; i++) {
        server_json_begin_object(&json);
        server_json_put_string(&json, "method", routes[i].method);
        server_json_put_string(&json, "path", routes[i].path);
        server_json_end_object(&json);
    }
    server_json_end_array(&json);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

void server_handle_health(struct server_exchange *exchange)
{
    switch (server_get_state(exchange->server)) {
    case SERVER_READY:
        server_answer_static(exchange, 200,
                             "{\"status\":\"healthy\",\"model_loaded\":true,\"device\":\"cpu\"}");
        break;
    case SERVER_LOADING:
        server_answer_static(exchange, 503,
                             "{\"status\":\"loading\",\"model_loaded\":false,\"device\":\"cpu\"}");
        break;
    case SERVER_DRAINING:
        server_answer_static(exchange, 503,
                             "{\"status\":\"draining\",\"model_loaded\":true,\"device\":\"cpu\"}");
        break;
    }
}

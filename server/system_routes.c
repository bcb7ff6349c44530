/* system_routes.c: what the server says of itself. Nothing here waits for a model. */
#include "server/exchange.h"
#include "server/internal.h"
#include "server/router.h"
#include "server/routes.h"

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

/* pages.c: GET /openapi.json and GET /docs. */
#include "server/pages.h"

#include "server/exchange.h"
#include "server/routes.h"

void server_handle_openapi(struct server_exchange *exchange)
{
    server_answer_static(exchange, 200, server_page_openapi);
}

void server_handle_docs(struct server_exchange *exchange)
{
    server_answer_static(exchange, 200, server_page_docs);
    exchange->answer_type = "text/html; charset=utf-8";
}

/* welcome.c: GET /, as JSON and, for browsers, as a page that needs nothing from elsewhere. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/html.h"
#include "server/internal.h"
#include "server/model.h"
#include "server/router.h"
#include "server/routes.h"

static const char head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>distild</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 50rem; padding: 1rem; "
    "}\n"
    "table { border-collapse: collapse; width: 100%; }\n"
    "td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; "
    "border-bottom: 1px solid #8884; }\n"
    "h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }\ncode { font-family: ui-monospace, monospace; "
    "}\n"
    "</style>\n</head>\n<body>\n<h1>distild</h1>\n";

static void write_model(FILE *out, const struct server_model *model, bool first)
{
    const distil_info *info = model->info;
    int i;
    fputs("<tr><td><code>", out);
    server_html_write_text(out, model->name);
    fprintf(out, "</code>%s</td><td>%s</td><td>", first ? " (default)" : "",
            server_model_task(info->task));
    if (info->task == DISTIL_TASK_NONE)
        fprintf(out, "%d dimensions, ", info->hidden);
    for (i = 0; info->task == DISTIL_TASK_CLASSIFY && i < info->label_count; i++) {
        server_html_write_text(out, distil_label(model->model, i));
        fputs(", ", out);
    }
    fprintf(out, "up to %d tokens, computed in %s</td></tr>\n", info->window, info->precision);
}

static void write_models(FILE *out, struct server *server)
{
    bool seen[SERVER_TASKS] = {false};
    int i;
    fputs("<h2>Models</h2>\n", out);
    if (server_get_state(server) == SERVER_LOADING) {
        fputs("<p>They are being loaded.</p>\n", out);
        return;
    }
    fputs("<table>\n<tr><th>name</th><th>task</th><th></th></tr>\n", out);
    for (i = 0; i < server_models_count(server->models); i++) {
        struct server_model *model = server_models_use_at(server->models, i);
        write_model(out, model, !seen[model->info->task]);
        seen[model->info->task] = true;
        server_models_leave(server->models, model);
    }
    fputs("</table>\n", out);
}

/* The route's place in the page of GET /docs, which goes by operationId: get_metrics_json. */
static void write_place(FILE *out, const struct server_route *route)
{
    const char *at;
    for (at = route->method; *at; at++)
        fputc(tolower((unsigned char)*at), out);
    for (at = route->path; *at && strcmp(at, "/") != 0; at++)
        fputc(*at == '/' || *at == '.' ? '_' : *at, out);
}

/* Links are relative: a proxy may have put the server under a path of its own. */
static void write_routes(FILE *out)
{
    size_t count, i;
    const struct server_route *routes = server_routes(&count);
    fputs("<h2>Routes</h2>\n<table>\n", out);
    for (i = 0; i < count; i++) {
        const char *path = routes[i].path;
        bool plain =
            strcmp(routes[i].method, "GET") == 0 && routes[i].needs != SERVER_SCOPE_SESSION;
        fprintf(out, "<tr><td><code>%s ", routes[i].method);
        if (plain)
            fprintf(out, "<a href=\".%s\">%s</a>", path, path);
        else
            fputs(path, out);
        fputs("</code></td><td><a href=\"docs#", out);
        write_place(out, &routes[i]);
        fputs("\">what it takes and answers</a></td></tr>\n", out);
    }
    fputs("</table>\n", out);
}

static void answer_page(struct server_exchange *exchange)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    bool failed = !out;
    if (out) {
        fputs(head, out);
        fputs("<p>This server, version " DISTILD_VERSION
              ", reads texts with encoder models. <a href=\"docs\">Try its routes</a>, look at its "
              "<a href=\"metrics\">metrics</a> or whether it is <a href=\"health\">healthy</a>, or "
              "read its <a href=\"openapi.json\">description in OpenAPI</a>.</p>\n",
              out);
        write_models(out, exchange->server);
        write_routes(out);
        fputs("</body>\n</html>\n", out);
        failed = ferror(out) != 0;
        failed = fclose(out) != 0 || failed;
    }
    if (failed) {
        free(text);
        text = NULL;
    }
    server_answer_text(exchange, "text/html; charset=utf-8", text, length);
}

static void answer_json(struct server_exchange *exchange)
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

void server_handle_welcome(struct server_exchange *exchange)
{
    exchange->varies_by_accept = true;
    if (exchange->accepts_html)
        answer_page(exchange);
    else
        answer_json(exchange);
}

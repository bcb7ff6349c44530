/* http_log.c: the line that is written for a request. */
#include "server/http_exchange.h"
#include "server/internal.h"
#include "server/router.h"

struct line {
    struct server_log_field fields[20];
    int count;
};

static void put_text(struct line *line, const char *name, const char *text)
{
    line->fields[line->count++] =
        (struct server_log_field){.name = name, .kind = SERVER_LOG_TEXT, .text = text};
}

static void put_integer(struct line *line, const char *name, int64_t integer)
{
    line->fields[line->count++] =
        (struct server_log_field){.name = name, .kind = SERVER_LOG_INTEGER, .integer = integer};
}

static void put_ms(struct line *line, const char *name, int64_t nanoseconds)
{
    line->fields[line->count++] = (struct server_log_field){
        .name = name, .kind = SERVER_LOG_REAL, .real = (double)nanoseconds / 1e6};
}

void server_http_log_exchange(const struct server_http_exchange *http)
{
    const struct server_exchange *exchange = &http->exchange;
    const struct server_job *job = &exchange->job;
    struct line line = {.count = 0};
    char client[SERVER_ADDRESS_TEXT];
    server_address_print(&exchange->client, client);
    put_text(&line, "id", exchange->id);
    if (http->trace.trace_id[0]) {
        put_text(&line, "trace_id", http->trace.trace_id);
        put_text(&line, "parent_id", http->trace.parent_id);
        put_text(&line, "span_id", http->trace.span_id);
    }
    put_text(&line, "client", client);
    put_text(&line, "who", exchange->who[0] ? exchange->who : "-");
    put_text(&line, "method", exchange->method);
    put_text(&line, "route", exchange->route ? exchange->route->path : "-");
    put_text(&line, "path", exchange->path);
    put_integer(&line, "status", http->cut ? 499 : exchange->status);
    put_integer(&line, "bytes_in", (int64_t)(exchange->body_length + http->discarded));
    put_integer(&line, "bytes_out", (int64_t)exchange->answer_length);
    put_ms(&line, "total_ms", server_now() - exchange->began);
    if (job->ended > 0) {
        put_integer(&line, "texts", job->count);
        put_integer(&line, "tokens", job->tokens);
        put_integer(&line, "batch_texts", job->batch_texts);
        put_ms(&line, "queue_ms", job->taken - job->queued);
        put_ms(&line, "inference_ms", job->ended - job->taken);
    }
    server_log_write(&exchange->server->options.log, SERVER_LOG_INFO, "request", line.fields,
                     line.count);
}

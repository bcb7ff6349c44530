/* http_answer.c: the answer to a request, and what is logged of it. */
#include <string.h>

#include "server/cors.h"
#include "server/http_exchange.h"
#include "server/internal.h"
#include "server/router.h"
#include "weights/decimal.h"

/* The headers of text-embeddings-inference, whose times are whole milliseconds. */
static void add_timing(const struct server_exchange *exchange, struct MHD_Response *response)
{
    const struct server_job *job = &exchange->job;
    int64_t total = server_now() - exchange->began;
    const struct {
        const char *name;
        int64_t value;
    } headers[] = {
        {"x-compute-time", total / 1000000},
        {"x-compute-characters", exchange->characters},
        {"x-compute-tokens", job->tokens},
        {"x-total-time", total / 1000000},
        {"x-tokenization-time", exchange->tokenization_ns / 1000000},
        {"x-queue-time", (job->taken - job->queued) / 1000000},
        {"x-inference-time", (job->ended - job->taken) / 1000000},
    };
    char number[WEIGHTS_DECIMAL];
    size_t i;
    MHD_add_response_header(response, "x-compute-type", "cpu");
    for (i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
        weights_decimal_integer(headers[i].value, number);
        MHD_add_response_header(response, headers[i].name, number);
    }
}

static void add_cors(const struct server_exchange *exchange, struct MHD_Response *response)
{
    if (exchange->varies_by_origin)
        MHD_add_response_header(response, "Vary", "Origin");
    if (!exchange->cors_origin)
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", exchange->cors_origin);
    if (!exchange->preflight) {
        MHD_add_response_header(response, "Access-Control-Expose-Headers",
                                server_cors_expose_headers);
        return;
    }
    MHD_add_response_header(response, "Access-Control-Allow-Methods", exchange->allow);
    MHD_add_response_header(response, "Access-Control-Allow-Headers", server_cors_allow_headers);
    MHD_add_response_header(response, "Access-Control-Max-Age", "600");
}

/* Pages have their styles and scripts within, ask this server alone, and belong into no other's frame: so
 * nothing that a model's labels or a log could smuggle in reaches another place. */
static void add_page_headers(struct MHD_Response *response)
{
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; script-src 'unsafe-inline'; "
                            "style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
                            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
}

static void add_headers(struct server_http_exchange *http, struct MHD_Response *response)
{
    struct server_exchange *exchange = &http->exchange;
    char number[WEIGHTS_DECIMAL], trace[SERVER_TRACE_PARENT_SIZE];
    if (exchange->status != 204)
        MHD_add_response_header(response, "Content-Type",
                                exchange->answer_type ? exchange->answer_type : "application/json");
    if (exchange->answer_type && strncmp(exchange->answer_type, "text/html", 9) == 0)
        add_page_headers(response);
    add_cors(exchange, response);
    if (exchange->varies_by_accept)
        MHD_add_response_header(response, "Vary", "Accept");
    MHD_add_response_header(response, "X-Request-Id", exchange->id);
    if (http->trace.trace_id[0]) {
        server_trace_print(&http->trace, trace);
        MHD_add_response_header(response, "traceresponse", trace);
    }
    if (exchange->prediction_id[0] && exchange->status == 200)
        MHD_add_response_header(response, "X-Prediction-Id", exchange->prediction_id);
    if (exchange->status == 405)
        MHD_add_response_header(response, "Allow", exchange->allow);
    if (exchange->challenge)
        MHD_add_response_header(response, "WWW-Authenticate", exchange->challenge);
    if (exchange->retry_after) {
        weights_decimal_integer(exchange->retry_after, number);
        MHD_add_response_header(response, "Retry-After", number);
    }
    if (exchange->no_store)
        MHD_add_response_header(response, "Cache-Control", "no-store");
    if (exchange->job.ended > 0 && exchange->status == 200)
        add_timing(exchange, response);
    if (http->close || server_get_state(exchange->server) == SERVER_DRAINING)
        MHD_add_response_header(response, "Connection", "close");
}

enum MHD_Result server_http_respond(struct server_http_exchange *http)
{
    struct server_exchange *exchange = &http->exchange;
    enum MHD_ResponseMemoryMode mode = MHD_RESPMEM_MUST_FREE;
    struct MHD_Response *response;
    enum MHD_Result result;
    server_work_leave(exchange);
    if (exchange->answer_is_static)
        mode = MHD_RESPMEM_PERSISTENT;
    response = MHD_create_response_from_buffer(exchange->answer_length, exchange->answer, mode);
    if (!response)
        return MHD_NO;
    server_connection_wait(http->kept, SERVER_WAITING_READER);
    exchange->answer = NULL; /* it is the response's now */
    add_headers(http, response);
    result = MHD_queue_response(http->connection, exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result server_http_respond_early(struct server_http_exchange *http)
{
    if (http->kept)
        http->kept->linger = true;
    return server_http_respond(http);
}

void server_http_count_exchange(const struct server_http_exchange *http)
{
    enum { CLIENT_LEFT = 499 };
    const struct server_exchange *exchange = &http->exchange;
    const struct server_job *job = &exchange->job;
    size_t count;
    int route = exchange->route ? (int)(exchange->route - server_routes(&count)) : -1;
    server_count_request(exchange->meter, route,
                         exchange->status && !http->cut ? exchange->status : CLIENT_LEFT,
                         server_now() - exchange->began);
    server_count(exchange->meter, SERVER_COUNT_BODY_BYTES, exchange->body_length + http->discarded);
    server_count(exchange->meter, SERVER_COUNT_ANSWER_BYTES, exchange->answer_length);
    if (job->count > 0)
        server_observe(exchange->meter, SERVER_TOKENIZATION_NS, exchange->tokenization_ns);
    if (job->ended > 0 && job->status == DISTIL_OK) {
        server_observe(exchange->meter, SERVER_QUEUE_NS, job->taken - job->queued);
        server_observe(exchange->meter, SERVER_INFERENCE_NS, job->ended - job->taken);
    }
}

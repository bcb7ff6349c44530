/* metrics_routes.c: GET /metrics and GET /metrics.json. They read counters and the length of the queue, and wait for no
 * model. */
#include <stdlib.h>

#include "server/drift_monitor.h"
#include "server/exchange.h"
#include "server/internal.h"
#include "server/log_writer.h"
#include "server/prediction_log.h"
#include "server/recommender.h"
#include "server/routes.h"
#include "server/tls.h"

static void write_gauge(FILE *out, const char *name, const char *help, double value)
{
    server_metrics_family(out, name, "gauge", help);
    fprintf(out, "%s %.15g\n", name, value);
}

static void write_server(const struct server *server, FILE *out)
{
    int tokens, texts = server_queue_waiting(server->queue, &tokens);
    server_metrics_family(out, "distild_build_info", "gauge", "What this program is; always 1.");
    fprintf(out, "distild_build_info{version=\"%s\",compiler=\"%s\"} 1\n", DISTILD_VERSION,
            __VERSION__);
    write_gauge(out, "distild_ready", "1 while requests are answered, 0 while loading or ending.",
                server_get_state(server) == SERVER_READY);
    write_gauge(out, "distild_queue_texts", "Texts waiting to be computed.", texts);
    write_gauge(out, "distild_queue_tokens", "Tokens of the texts waiting.", tokens);
    write_gauge(out, "distild_queue_max_texts", "Texts that may wait.", server->options.max_queue);
    write_gauge(out, "distild_queue_max_tokens", "Tokens of texts that may wait.",
                server->options.max_queue_tokens);
    write_gauge(out, "distild_requests_waiting",
                "Requests that wait for a worker or are being computed.",
                atomic_load_explicit(&server->suspended, memory_order_relaxed));
    write_gauge(out, "distild_requests_in_flight",
                "Requests received whole and not yet fully answered.", server_in_flight(server));
    write_gauge(out, "distild_connections_open", "Open connections.",
                atomic_load_explicit(&server->connections, memory_order_relaxed));
}

static void write_log(const struct server *server, FILE *out)
{
    struct server_log_writer *writer = server->options.log.writer;
    server_metrics_family(out, "distild_log_lines_dropped_total", "counter",
                          "Lines of the log dropped because it was not read fast enough.");
    fprintf(out, "distild_log_lines_dropped_total %llu\n",
            (unsigned long long)server_log_writer_dropped(writer));
    server_metrics_family(out, "distild_log_messages_total", "counter",
                          "Messages to the log that tell of trouble, written or not.");
    fprintf(out, "distild_log_messages_total{level=\"error\"} %llu\n",
            (unsigned long long)server_log_writer_counted(writer, SERVER_LOG_ERROR));
    fprintf(out, "distild_log_messages_total{level=\"warning\"} %llu\n",
            (unsigned long long)server_log_writer_counted(writer, SERVER_LOG_WARN));
    server_metrics_family(out, "distild_log_messages_repeated_total", "counter",
                          "Messages that were not logged one by one as they came too often.");
    fprintf(out, "distild_log_messages_repeated_total %llu\n",
            (unsigned long long)server_log_writer_held(writer));
}

static void write_reloads(const struct server *server, FILE *out)
{
    static const char *const names[SERVER_RELOADABLE] = {[SERVER_RELOAD_KEYS] = "keys",
                                                         [SERVER_RELOAD_CERTIFICATE] =
                                                             "certificate",
                                                         [SERVER_RELOAD_MODELS] = "models",
                                                         [SERVER_RELOAD_CATALOGUE] = "catalogue"};
    const struct server_reload_record *records = server->reloads;
    int i;
    server_metrics_family(
        out, "distild_reloads_total", "counter",
        "Times that files were read again; after a failure what was there goes on to be used.");
    for (i = 0; i < SERVER_RELOADABLE; i++)
        fprintf(out,
                "distild_reloads_total{what=\"%s\",outcome=\"success\"} %llu\n"
                "distild_reloads_total{what=\"%s\",outcome=\"failure\"} %llu\n",
                names[i], atomic_load_explicit(&records[i].succeeded, memory_order_relaxed),
                names[i], atomic_load_explicit(&records[i].failed, memory_order_relaxed));
    server_metrics_family(out, "distild_last_reload_successful", "gauge",
                          "0 where reading files again failed the last time it was tried.");
    for (i = 0; i < SERVER_RELOADABLE; i++)
        fprintf(out, "distild_last_reload_successful{what=\"%s\"} %d\n", names[i],
                !atomic_load_explicit(&records[i].last_failed, memory_order_relaxed));
    server_metrics_family(out, "distild_last_reload_timestamp_seconds", "gauge",
                          "When files were read again the last time, in seconds since 1970; 0 "
                          "where they never were.");
    for (i = 0; i < SERVER_RELOADABLE; i++)
        fprintf(out, "distild_last_reload_timestamp_seconds{what=\"%s\"} %.3f\n", names[i],
                (double)atomic_load_explicit(&records[i].at, memory_order_relaxed) / 1e9);
    write_gauge(
        out, "distild_certificate_expiration_timestamp_seconds",
        "When the certificate, or the first of its chain, expires, in seconds since 1970; 0 "
        "without TLS.",
        server->tls ? (double)server_tls_expires(server->tls) : 0);
}

static void write_model_label(FILE *out, const char *family, const struct server_model *model)
{
    fprintf(out, "%s{model=\"", family);
    server_metrics_label(out, model->name);
    fputs("\"", out);
}

static void write_predictions(const struct server_model *model, FILE *out)
{
    int i;
    for (i = 0; i < model->info->label_count && model->info->task == DISTIL_TASK_CLASSIFY; i++) {
        const char *label = distil_label(model->model, i);
        write_model_label(out, "distild_predictions_total", model);
        fputs(",label=\"", out);
        server_metrics_label(out, label ? label : "");
        fprintf(
            out, "\"} %llu\n",
            (unsigned long long)atomic_load_explicit(&model->predictions[i], memory_order_relaxed));
    }
}

static void write_info(const struct server_model *model, FILE *out)
{
    write_model_label(out, "distild_model_info", model);
    fprintf(out, ",digest=\"%s\",precision=\"%s\",cpu=\"%s\"} 1\n", model->info->digest,
            model->info->precision, model->info->cpu);
}

static void write_load_seconds(const struct server_model *model, FILE *out)
{
    write_model_label(out, "distild_model_load_seconds", model);
    fprintf(out, "} %.6f\n", model->info->load_seconds);
}

static void write_each(struct server_models *models, FILE *out,
                       void (*write)(const struct server_model *model, FILE *out))
{
    int i;
    for (i = 0; i < server_models_count(models); i++) {
        struct server_model *model = server_models_use_at(models, i);
        write(model, out);
        server_models_leave(models, model);
    }
}

static void write_models(struct server_models *models, FILE *out)
{
    server_metrics_family(out, "distild_model_info", "gauge",
                          "The model served: the digest of its file, and what computes it.");
    write_each(models, out, write_info);
    server_metrics_family(out, "distild_model_load_seconds", "gauge",
                          "Time that loading the model took.");
    write_each(models, out, write_load_seconds);
    server_metrics_family(out, "distild_predictions_total", "counter",
                          "Texts answered, by the label they were given.");
    write_each(models, out, write_predictions);
}

void server_handle_metrics(struct server_exchange *exchange)
{
    const struct server *server = exchange->server;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    bool failed = !out;
    if (out) {
        write_server(server, out);
        write_log(server, out);
        write_reloads(server, out);
        server_prediction_log_write_gauges(server->predictions, out);
        server_recommender_write_metrics(
            server_get_state(server) != SERVER_LOADING ? server->recommender : NULL, out);
        server_metrics_write(server->metrics, out);
        if (server_get_state(server) != SERVER_LOADING)
            write_models(server->models, out);
        if (server_get_state(server) != SERVER_LOADING && server->drift)
            server_drift_monitor_write(server->drift, out);
        server_metrics_write_process(server->metrics, out);
        failed = ferror(out) != 0;
        failed = fclose(out) != 0 || failed;
    }
    if (failed) {
        free(text);
        text = NULL;
    }
    server_answer_text(exchange, "text/plain; version=0.0.4; charset=utf-8", text, length);
}

/* Milliseconds with three decimals. */
static void put_ms(struct server_json *json, const char *key, double nanoseconds)
{
    server_json_key(json, key);
    server_json_fixed(json, nanoseconds / 1e6, 3);
}

static void put_count(struct server_json *json, const char *key, uint64_t total, uint64_t recent)
{
    server_json_key(json, key);
    server_json_begin_object(json);
    server_json_put_integer(json, "total", (int64_t)total);
    server_json_put_integer(json, "last_minute", (int64_t)recent);
    server_json_end_object(json);
}

void server_handle_metrics_json(struct server_exchange *exchange)
{
    struct server *server = exchange->server;
    struct server_json json = {0};
    struct server_metrics_sums sums;
    struct server_process process;
    int64_t now = server_now();
    int tokens, texts = server_queue_waiting(server->queue, &tokens);
    server_metrics_sum(server->metrics, now, &sums);
    server_metrics_process(server->metrics, now, &process);
    server_json_begin_object(&json);
    server_json_key(&json, "uptime_seconds");
    server_json_fixed(&json, process.uptime_seconds, 3);
    put_count(&json, "requests", sums.requests, sums.recent.requests);
    put_count(&json, "errors", sums.errors, sums.recent.errors);
    server_json_key(&json, "latency_ms");
    server_json_begin_object(&json);
    put_ms(&json, "mean",
           sums.recent.requests ? (double)sums.recent.sum / (double)sums.recent.requests : 0);
    put_ms(&json, "maximum", (double)sums.recent.longest);
    server_json_end_object(&json);
    server_json_key(&json, "cpu");
    server_json_begin_object(&json);
    server_json_key(&json, "seconds_total");
    server_json_fixed(&json, process.cpu_seconds, 3);
    server_json_key(&json, "percent");
    server_json_fixed(&json, process.cpu_percent, 1);
    server_json_put_integer(&json, "threads", server->lanes.cores);
    server_json_end_object(&json);
    server_json_key(&json, "memory");
    server_json_begin_object(&json);
    server_json_put_integer(&json, "resident_bytes", (int64_t)process.resident_bytes);
    server_json_put_integer(&json, "virtual_bytes", (int64_t)process.virtual_bytes);
    server_json_end_object(&json);
    server_json_key(&json, "queue");
    server_json_begin_object(&json);
    server_json_put_integer(&json, "texts", texts);
    server_json_put_integer(&json, "tokens", tokens);
    server_json_end_object(&json);
    server_json_end_object(&json);
    server_answer(exchange, 200, &json);
}

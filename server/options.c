/* options.c: see options.h. */
#include "server/options.h"

#include <sys/resource.h>
#include <unistd.h>

#include "engine/cpus.h"

enum {
    MAX_HTTP_THREADS = 4,
    MAX_WAIT_MS = 86400000,
    MAX_WORKERS = 64, /* of those that nobody asked for */
    MAX_CONNECTIONS = 16384,
    SPARE_DESCRIPTORS = 64 /* for everything that is no connection */
};

struct server_options server_options_default(void)
{
    struct server_options options = {
        .host = "127.0.0.1",
        .port = 8080,
        .uds_mode = 0660,
        .max_queue = 1024,
        .max_queue_tokens = 65536,
        .max_queue_ms = 10000,
        .max_batch_tokens = 2048,
        .max_batch_ms = 50,
        .max_request_timeout_ms = 600000,
        .max_client_batch = 32,
        .max_windows = 128,
        .max_body = 2000000,
        .max_bodies = (size_t)128 * 1024 * 1024,
        .header_timeout_seconds = 30,
        .body_timeout_seconds = 60,
        .min_rate = 200,
        .idle_timeout_seconds = 75,
        .drain_timeout_seconds = 30,
        .predictions = {.enabled = true, .days = 30, .max_bytes = 1 << 30},
        .drift_window = "1d",
        .drift_interval_seconds = 3600,
        .drift_min_rows = 200,
        .access = {.session_seconds = 12 * 3600},
        .log = {.fd = STDERR_FILENO, .level = SERVER_LOG_INFO},
    };
    return options;
}

static distil_status check_range(const char *name, long long value, long long low, long long high,
                                 distil_error *error)
{
    if (value >= low && value <= high)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_INVALID, "%s must be from %lld to %lld, not %lld", name, low,
                       high, value);
}

distil_status server_options_check(const struct server_options *o, distil_error *error)
{
    const struct {
        const char *name;
        long long value, low, high;
    } ranges[] = {
        {"threads", o->threads, 0, 1024},
        {"workers", o->workers, 0, o->threads ? o->threads : 1024},
        {"http-threads", o->http_threads, 0, 256},
        {"max-queue", o->max_queue, 1, 10000000},
        {"max-queue-tokens", o->max_queue_tokens, 1, 1000000000},
        {"max-queue-ms", o->max_queue_ms, 0, MAX_WAIT_MS},
        {"max-batch-tokens", o->max_batch_tokens, 1, 1000000},
        {"max-batch-ms", o->max_batch_ms, 1, MAX_WAIT_MS},
        {"request-timeout-ms", o->request_timeout_ms, 0, MAX_WAIT_MS},
        {"max-request-timeout-ms", o->max_request_timeout_ms, 1, MAX_WAIT_MS},
        {"max-client-batch", o->max_client_batch, 1, 100000},
        {"max-windows", o->max_windows, 1, 100000},
        {"max-body", (long long)(o->max_body > INT64_MAX ? INT64_MAX : o->max_body), 1, 1 << 30},
        {"max-connections", o->max_connections, 0, 1000000},
        {"max-connections-per-address", o->max_connections_per_address, 0, 1000000},
        {"header-timeout", o->header_timeout_seconds, 1, 86400},
        {"body-timeout", o->body_timeout_seconds, 1, 86400},
        {"min-rate", o->min_rate, 0, 1000000000},
        {"uds-mode", o->uds_mode, 0, 0777},
        {"idle-timeout", o->idle_timeout_seconds, 1, 86400},
        {"session-seconds", o->access.session_seconds, 1, 31536000},
        {"drain-delay", o->drain_delay_seconds, 0, 86400},
        {"drain-timeout", o->drain_timeout_seconds, 0, 86400},
        {"drift-interval", o->drift_interval_seconds, 0, 31536000},
        {"drift-min-rows", o->drift_min_rows, 1, 100000000},
        {"models", o->model_count, 0, 1024},
        {"log-days", o->predictions.days, 0, 36500},
        {"log-max-bytes", o->predictions.max_bytes, 0, INT64_MAX},
    };
    size_t i;
    for (i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        distil_status status =
            check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, error);
        if (status)
            return status;
    }
    return DISTIL_OK;
}

/* Connections that the limit of open files leaves room for. */
static int connection_limit(int wanted)
{
    struct rlimit files;
    long long room = MAX_CONNECTIONS;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
        room = (long long)files.rlim_cur - SPARE_DESCRIPTORS;
    if (room < 16)
        room = 16;
    if (wanted > 0)
        return wanted < room ? wanted : (int)room;
    return room < MAX_CONNECTIONS ? (int)room : MAX_CONNECTIONS;
}

void server_options_complete(struct server_options *options)
{
    static const struct server_model_options bundled = {0};
    const int cpus = engine_cpu_count();
    if (options->model_count == 0) {
        options->models = &bundled;
        options->model_count = 1;
    }
    if (options->http_threads == 0)
        options->http_threads = cpus < MAX_HTTP_THREADS ? cpus : MAX_HTTP_THREADS;
    if (options->threads == 0)
        options->threads = cpus > options->workers ? cpus : options->workers;
    if (options->workers == 0)
        options->workers = options->threads < MAX_WORKERS ? options->threads : MAX_WORKERS;
    if (options->max_bodies < options->max_body)
        options->max_bodies = options->max_body;
    options->max_connections = connection_limit(options->max_connections);
}

/* metrics.c: see metrics.h. */
#include "server/metrics.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/metrics_internal.h"
#include "server/queue.h"
#include "server/recent.h"
#include "server/router.h"
#include "server/utf8.h"

enum { CACHE_LINE = 64, MAX_BOUNDS = 13, FIRST_ERROR = 400 };

/* ---- names ---- */

static const struct {
    const char *family, *labels, *help;
} counters[SERVER_COUNTERS] = {
    [SERVER_COUNT_SHED_QUEUE] = {"distild_requests_shed_total", "reason=\"queue_full\"",
                                 "Requests refused to protect the server or other clients."},
    [SERVER_COUNT_SHED_RATE] = {"distild_requests_shed_total", "reason=\"rate_limit\"", NULL},
    [SERVER_COUNT_SHED_LOADING] = {"distild_requests_shed_total", "reason=\"loading\"", NULL},
    [SERVER_COUNT_SHED_STOPPING] = {"distild_requests_shed_total", "reason=\"stopping\"", NULL},
    [SERVER_COUNT_EXPIRED_QUEUED] = {"distild_deadlines_expired_total", "stage=\"queued\"",
                                     "Requests given up because their deadline was over."},
    [SERVER_COUNT_EXPIRED_TAKEN] = {"distild_deadlines_expired_total", "stage=\"taken\"", NULL},
    [SERVER_COUNT_EXPIRED_COMPUTED] = {"distild_deadlines_expired_total", "stage=\"computed\"",
                                       NULL},
    [SERVER_COUNT_ABANDONED] = {"distild_requests_abandoned_total", "",
                                "Requests not computed because their client had gone."},
    [SERVER_COUNT_TRUNCATED] = {"distild_inputs_truncated_total", "",
                                "Texts that were cut at the model's window."},
    [SERVER_COUNT_TEXTS] = {"distild_texts_total", "", "Texts computed."},
    [SERVER_COUNT_TOKENS] = {"distild_tokens_total", "", "Tokens of the texts computed."},
    [SERVER_COUNT_BODY_BYTES] = {"distild_request_body_bytes_total", "",
                                 "Bytes of request bodies received."},
    [SERVER_COUNT_ANSWER_BYTES] = {"distild_response_body_bytes_total", "",
                                   "Bytes of answers' bodies."},
    [SERVER_COUNT_CONNECTIONS] = {"distild_connections_total", "", "Connections accepted."},
    [SERVER_COUNT_CLOSED_HEADER] =
        {"distild_connections_closed_total", "reason=\"header_timeout\"",
         "Connections closed because their client went over a limit, or for others."},
    [SERVER_COUNT_CLOSED_BODY] = {"distild_connections_closed_total", "reason=\"body_timeout\"",
                                  NULL},
    [SERVER_COUNT_CLOSED_RATE] = {"distild_connections_closed_total", "reason=\"body_rate\"", NULL},
    [SERVER_COUNT_CLOSED_READER] = {"distild_connections_closed_total", "reason=\"answer_timeout\"",
                                    NULL},
    [SERVER_COUNT_CLOSED_ADDRESS] = {"distild_connections_closed_total", "reason=\"address_limit\"",
                                     NULL},
    [SERVER_COUNT_CLOSED_ROOM] = {"distild_connections_closed_total", "reason=\"connection_limit\"",
                                  NULL},
    [SERVER_COUNT_LOG_ROWS] = {"distild_prediction_log_rows_total", "",
                               "Predictions written to the log."},
    [SERVER_COUNT_LOG_FULL] = {"distild_prediction_log_dropped_total", "reason=\"queue_full\"",
                               "Predictions answered and not written to the log."},
    [SERVER_COUNT_LOG_NO_MEMORY] = {"distild_prediction_log_dropped_total", "reason=\"memory\"",
                                    NULL},
    [SERVER_COUNT_LOG_UNWRITTEN] = {"distild_prediction_log_dropped_total", "reason=\"stopping\"",
                                    NULL},
    [SERVER_COUNT_LOG_LOCKED] = {"distild_prediction_log_failures_total", "cause=\"locked\"",
                                 "Attempts to write to the log of predictions that failed."},
    [SERVER_COUNT_LOG_DISK_FULL] = {"distild_prediction_log_failures_total", "cause=\"disk_full\"",
                                    NULL},
    [SERVER_COUNT_LOG_DAMAGED] = {"distild_prediction_log_failures_total", "cause=\"damaged\"",
                                  NULL},
    [SERVER_COUNT_LOG_FAILED] = {"distild_prediction_log_failures_total", "cause=\"other\"", NULL},
    [SERVER_COUNT_LOG_DELETED_AGE] = {"distild_prediction_log_deleted_total", "reason=\"age\"",
                                      "Predictions deleted from the log as its limits say."},
    [SERVER_COUNT_LOG_DELETED_SIZE] = {"distild_prediction_log_deleted_total", "reason=\"size\"",
                                       NULL},
};

/* Statuses that are answered; the last place is for any other. */
static const unsigned statuses[] = {200, 204, 400, 401, 403, 404, 405, 408, 409, 413,
                                    415, 422, 424, 429, 499, 500, 501, 503, 504};
enum { STATUSES = sizeof(statuses) / sizeof(*statuses) + 1 };

struct bounds {
    double unit; /* of the values, in those that are written */
    int count;
    int64_t bounds[MAX_BOUNDS];
};

static const struct bounds durations = {1e-9,
                                        13,
                                        {1000000, 2500000, 5000000, 10000000, 25000000, 50000000,
                                         100000000, 250000000, 500000000, 1000000000, 2500000000,
                                         5000000000, 10000000000}};
static const struct bounds texts = {1, 11, {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}};
static const struct bounds tokens = {
    1, 12, {8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}};

static const struct {
    const char *family, *help;
    const struct bounds *bounds;
} histograms[SERVER_HISTOGRAMS] = {
    [SERVER_TOKENIZATION_NS] = {"distild_tokenization_duration_seconds",
                                "Time to turn a request's texts into tokens.", &durations},
    [SERVER_QUEUE_NS] = {"distild_queue_duration_seconds",
                         "Time that a request waited for a worker.", &durations},
    [SERVER_INFERENCE_NS] = {"distild_inference_duration_seconds",
                             "Time from the first of a request's texts taken to the last computed.",
                             &durations},
    [SERVER_BATCH_TEXTS] = {"distild_batch_texts", "Texts computed together.", &texts},
    [SERVER_BATCH_TOKENS] = {"distild_batch_tokens", "Tokens computed together.", &tokens},
};

/* ---- counting ---- */

struct histogram {
    atomic_ullong buckets[MAX_BOUNDS + 1]; /* not cumulative; the last is for what is over all */
    atomic_ullong sum;
};

struct route_meter {
    atomic_ullong by_status[STATUSES];
    struct histogram duration;
};

struct server_meter {
    atomic_ullong counters[SERVER_COUNTERS];
    struct histogram histograms[SERVER_HISTOGRAMS];
    struct server_recent recent;
    int routes;
    struct route_meter by_route[]; /* (routes + 1): the last is for what matched none */
};

static int route_count(void)
{
    size_t count;
    server_routes(&count);
    return (int)count;
}

struct server_metrics *server_metrics_create(int threads)
{
    struct server_metrics *metrics = calloc(1, sizeof(*metrics));
    int routes = route_count(), i;
    size_t size = sizeof(struct server_meter) + (size_t)(routes + 1) * sizeof(struct route_meter);
    if (!metrics)
        return NULL;
    metrics->started = server_metrics_process_start();
    metrics->meters = calloc((size_t)threads, sizeof(struct server_meter *));
    size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    for (i = 0; metrics->meters && i < threads; i++) {
        struct server_meter *meter = aligned_alloc(CACHE_LINE, size);
        if (!meter)
            break;
        memset(meter, 0, size);
        meter->routes = routes;
        metrics->meters[metrics->count++] = meter;
    }
    if (metrics->count == threads)
        return metrics;
    server_metrics_free(metrics);
    return NULL;
}

void server_metrics_free(struct server_metrics *metrics)
{
    int i;
    if (!metrics)
        return;
    for (i = 0; i < metrics->count; i++)
        free(metrics->meters[i]);
    free((void *)metrics->meters);
    free(metrics);
}

struct server_meter *server_metrics_meter(struct server_metrics *metrics, int i)
{
    return metrics->meters[i];
}

static void add(atomic_ullong *to, uint64_t count)
{
    atomic_fetch_add_explicit(to, count, memory_order_relaxed);
}

static uint64_t get(const atomic_ullong *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

void server_count(struct server_meter *meter, enum server_counter counter, uint64_t count)
{
    if (meter)
        add(&meter->counters[counter], count);
}

static void observe(struct histogram *histogram, const struct bounds *bounds, int64_t value)
{
    int i = 0;
    while (i < bounds->count && value > bounds->bounds[i])
        i++;
    add(&histogram->buckets[i], 1);
    add(&histogram->sum, value > 0 ? (uint64_t)value : 0);
}

void server_observe(struct server_meter *meter, enum server_histogram histogram, int64_t value)
{
    if (meter)
        observe(&meter->histograms[histogram], histograms[histogram].bounds, value);
}

/* Whether requests of a route are what users come for, not the probes of those who watch the server. */
static bool is_work(int route)
{
    size_t count;
    const struct server_route *routes = server_routes(&count);
    return route < 0 || (size_t)route >= count || !routes[route].unlimited;
}

void server_count_request(struct server_meter *meter, int route, unsigned status,
                          int64_t nanoseconds)
{
    struct route_meter *counts;
    int i = 0;
    if (!meter)
        return;
    counts = &meter->by_route[route >= 0 && route < meter->routes ? route : meter->routes];
    while (i < STATUSES - 1 && statuses[i] != status)
        i++;
    add(&counts->by_status[i], 1);
    observe(&counts->duration, &durations, nanoseconds);
    if (is_work(route))
        server_recent_add(&meter->recent, server_now(), nanoseconds, status >= FIRST_ERROR);
}

/* ---- writing ---- */

void server_metrics_family(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void server_metrics_label(FILE *out, const char *value)
{
    const unsigned char *bytes = (const unsigned char *)value;
    size_t left = strlen(value);
    while (left > 0) {
        size_t sequence = server_utf8_sequence(bytes, left);
        if (*bytes == '\n')
            fputs("\\n", out);
        else if (*bytes == '"' || *bytes == '\\')
            fprintf(out, "\\%c", *bytes);
        else if (sequence == 0)
            fputs("\xEF\xBF\xBD", out);
        else
            fwrite(bytes, 1, sequence, out);
        sequence = sequence ? sequence : 1;
        bytes += sequence;
        left -= sequence;
    }
}

/* Sums of one histogram over the meters. */
struct sums {
    uint64_t buckets[MAX_BOUNDS + 1], sum;
};

static void add_histogram(struct sums *sums, const struct histogram *histogram)
{
    int i;
    for (i = 0; i <= MAX_BOUNDS; i++)
        sums->buckets[i] += get(&histogram->buckets[i]);
    sums->sum += get(&histogram->sum);
}

/* labels: "" or such as `route="/"`. */
static void write_histogram(FILE *out, const char *family, const char *labels,
                            const struct bounds *bounds, const struct sums *sums)
{
    const char *comma = *labels ? "," : "", *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    uint64_t count = 0;
    int i;
    for (i = 0; i < bounds->count; i++) {
        count += sums->buckets[i];
        fprintf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", family, labels, comma,
                (double)bounds->bounds[i] * bounds->unit, (unsigned long long)count);
    }
    count += sums->buckets[bounds->count];
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", family, labels, comma,
            (unsigned long long)count);
    fprintf(out, "%s_sum%s%s%s %.9g\n", family, open, labels, close,
            (double)sums->sum * bounds->unit);
    fprintf(out, "%s_count%s%s%s %llu\n", family, open, labels, close, (unsigned long long)count);
}

static void write_counters(const struct server_metrics *metrics, FILE *out)
{
    int i, k;
    for (i = 0; i < SERVER_COUNTERS; i++) {
        const char *open = *counters[i].labels ? "{" : "", *close = *counters[i].labels ? "}" : "";
        uint64_t sum = 0;
        if (counters[i].help)
            server_metrics_family(out, counters[i].family, "counter", counters[i].help);
        for (k = 0; k < metrics->count; k++)
            sum += get(&metrics->meters[k]->counters[i]);
        fprintf(out, "%s%s%s%s %llu\n", counters[i].family, open, counters[i].labels, close,
                (unsigned long long)sum);
    }
}

static void write_histograms(const struct server_metrics *metrics, FILE *out)
{
    int i, k;
    for (i = 0; i < SERVER_HISTOGRAMS; i++) {
        struct sums sums = {0};
        server_metrics_family(out, histograms[i].family, "histogram", histograms[i].help);
        for (k = 0; k < metrics->count; k++)
            add_histogram(&sums, &metrics->meters[k]->histograms[i]);
        write_histogram(out, histograms[i].family, "", histograms[i].bounds, &sums);
    }
}

/* The labels of route i; those of the last stand for all that matched none. */
static void route_labels(int i, char *labels, size_t size)
{
    size_t count;
    const struct server_route *routes = server_routes(&count);
    if ((size_t)i < count)
        snprintf(labels, size, "method=\"%s\",route=\"%s\"", routes[i].method, routes[i].path);
    else
        snprintf(labels, size, "method=\"other\",route=\"other\"");
}

static void write_requests(const struct server_metrics *metrics, FILE *out)
{
    char labels[160];
    int routes = route_count(), i, k, s;
    server_metrics_family(
        out, "distild_requests_total", "counter",
        "Requests answered, by route and status; 499 where the client left first.");
    for (i = 0; i <= routes; i++) {
        route_labels(i, labels, sizeof(labels));
        for (s = 0; s < STATUSES; s++) {
            uint64_t sum = 0;
            for (k = 0; k < metrics->count; k++)
                sum += get(&metrics->meters[k]->by_route[i].by_status[s]);
            if (s < STATUSES - 1)
                fprintf(out, "distild_requests_total{%s,status=\"%u\"} %llu\n", labels, statuses[s],
                        (unsigned long long)sum);
            else
                fprintf(out, "distild_requests_total{%s,status=\"other\"} %llu\n", labels,
                        (unsigned long long)sum);
        }
    }
    server_metrics_family(out, "distild_request_duration_seconds", "histogram",
                          "Time from a request's headers to its answer sent.");
    for (i = 0; i <= routes; i++) {
        struct sums sums = {0};
        route_labels(i, labels, sizeof(labels));
        for (k = 0; k < metrics->count; k++)
            add_histogram(&sums, &metrics->meters[k]->by_route[i].duration);
        write_histogram(out, "distild_request_duration_seconds", labels, &durations, &sums);
    }
}

void server_metrics_sum(const struct server_metrics *metrics, int64_t now,
                        struct server_metrics_sums *sums)
{
    int i, k, s;
    memset(sums, 0, sizeof(*sums));
    for (k = 0; k < metrics->count; k++) {
        const struct server_meter *meter = metrics->meters[k];
        server_recent_read(&meter->recent, now, &sums->recent);
        for (i = 0; i <= meter->routes; i++) {
            for (s = 0; is_work(i) && s < STATUSES; s++) {
                uint64_t count = get(&meter->by_route[i].by_status[s]);
                sums->requests += count;
                if (s == STATUSES - 1 || statuses[s] >= FIRST_ERROR)
                    sums->errors += count;
            }
        }
    }
}

void server_metrics_write(const struct server_metrics *metrics, FILE *out)
{
    write_requests(metrics, out);
    write_counters(metrics, out);
    write_histograms(metrics, out);
}

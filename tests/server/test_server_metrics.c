/* test_server_metrics.c: what GET /metrics counts, and the headers that say where time went. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/metrics.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

/* The value of a series in a page; fails the test where it is missing. */
static double series(const char *page, const char *name)
{
    const char *at = page;
    size_t length = strlen(name);
    while ((at = strstr(at, name))) {
        if ((at == page || at[-1] == '\n') && at[length] == ' ')
            return strtod(at + length, NULL);
        at += length;
    }
    ck_abort_msg("there is no series %s", name);
    return -1;
}

static void scrape(int port, struct reply *reply)
{
    request(port, "GET", "/metrics", NULL, reply);
    ck_assert_int_eq(reply->status, 200);
}

static double value_now(int port, const char *name)
{
    struct reply reply;
    scrape(port, &reply);
    return series(reply.body, name);
}

START_TEST(every_series_is_there_at_zero)
{
    static const char *const zero[] = {
        "distild_requests_total{method=\"GET\",route=\"/\",status=\"200\"}",
        "distild_requests_total{method=\"POST\",route=\"/predict\",status=\"503\"}",
        "distild_requests_total{method=\"other\",route=\"other\",status=\"404\"}",
        "distild_request_duration_seconds_bucket{method=\"POST\",route=\"/predict\",le=\"0.001\"}",
        "distild_request_duration_seconds_bucket{method=\"POST\",route=\"/predict\",le=\"10\"}",
        "distild_request_duration_seconds_bucket{method=\"POST\",route=\"/predict\",le=\"+Inf\"}",
        "distild_requests_shed_total{reason=\"queue_full\"}",
        "distild_requests_shed_total{reason=\"rate_limit\"}",
        "distild_deadlines_expired_total{stage=\"taken\"}",
        "distild_requests_abandoned_total",
        "distild_inputs_truncated_total",
        "distild_tokenization_duration_seconds_count",
        "distild_queue_duration_seconds_sum",
        "distild_inference_duration_seconds_bucket{le=\"0.0025\"}",
        "distild_batch_texts_count",
        "distild_reloads_total{what=\"models\",outcome=\"success\"}",
        "distild_reloads_total{what=\"certificate\",outcome=\"failure\"}",
        "distild_last_reload_timestamp_seconds{what=\"keys\"}",
        "distild_batch_tokens_bucket{le=\"2048\"}",
        "distild_queue_texts",
        "distild_queue_tokens",
        "distild_predictions_total{model=\"default\",label=\"NEGATIVE\"}",
        "distild_predictions_total{model=\"default\",label=\"POSITIVE\"}",
    };
    static const char *const positive[] = {
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
        "distild_ready",
        "distild_last_reload_successful{what=\"models\"}",
        "distild_requests_in_flight",
        "distild_connections_open",
        "distild_queue_max_texts",
        "distild_connections_total",
    };
    struct fixture f;
    struct reply reply;
    char type[80];
    size_t i;
    start(&f, "fake");
    scrape(f.port, &reply);
    reply_header(&reply, "Content-Type", type, sizeof(type));
    ck_assert_str_eq(type, "text/plain; version=0.0.4; charset=utf-8");
    for (i = 0; i < sizeof(zero) / sizeof(*zero); i++)
        ck_assert_msg(series(reply.body, zero[i]) == 0, "%s is not zero", zero[i]);
    for (i = 0; i < sizeof(positive) / sizeof(*positive); i++)
        ck_assert_msg(series(reply.body, positive[i]) > 0, "%s is not positive", positive[i]);
    stop(&f);
}
END_TEST

START_TEST(requests_are_counted_by_route_and_status)
{
    struct fixture f;
    struct reply reply;
    start(&f, "fake");
    request(f.port, "GET", "/health", NULL, &reply);
    request(f.port, "HEAD", "/health", NULL, &reply);
    request(f.port, "GET", "/nowhere/at/all", NULL, &reply);
    request(f.port, "DELETE", "/health", NULL, &reply);
    request(f.port, "POST", "/predict", "{\"text\":\"a b c\"}", &reply);
    request(f.port, "POST", "/predict", "{\"text\":", &reply);
    request(f.port, "POST", "/predict",
            "{\"text\":\"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\"}", &reply);
    request(f.port, "POST", "/predict", "{\"inputs\":[[\"a\"],[\"b\",\"c\"]],\"raw_scores\":true}",
            &reply);
    ck_assert_int_eq(reply.status, 200);
    wait_for_in_flight(
        &f, 0); /* an answer is counted once it is sent, which its client may see first */
    scrape(f.port, &reply);
    ck_assert_double_eq(
        series(reply.body,
               "distild_requests_total{method=\"GET\",route=\"/health\",status=\"200\"}"),
        2);
    ck_assert_double_eq(
        series(reply.body,
               "distild_requests_total{method=\"other\",route=\"other\",status=\"404\"}"),
        1);
    ck_assert_double_eq(
        series(reply.body,
               "distild_requests_total{method=\"other\",route=\"other\",status=\"405\"}"),
        1);
    ck_assert_double_eq(
        series(reply.body,
               "distild_requests_total{method=\"POST\",route=\"/predict\",status=\"200\"}"),
        3);
    ck_assert_double_eq(
        series(reply.body,
               "distild_requests_total{method=\"POST\",route=\"/predict\",status=\"400\"}"),
        1);
    ck_assert_double_eq(
        series(reply.body,
               "distild_request_duration_seconds_count{method=\"POST\",route=\"/predict\"}"),
        4);
    ck_assert_double_eq(series(reply.body, "distild_texts_total"), 4);
    /* [CLS] a b c [SEP], the window, [CLS] a [SEP] and [CLS] b [SEP] c [SEP] */
    ck_assert_double_eq(series(reply.body, "distild_tokens_total"), 5 + 16 + 3 + 5);
    ck_assert_double_eq(series(reply.body, "distild_inputs_truncated_total"), 1);
    ck_assert_double_eq(series(reply.body, "distild_inference_duration_seconds_count"), 3);
    ck_assert_double_eq(series(reply.body, "distild_queue_duration_seconds_count"), 3);
    ck_assert_double_eq(series(reply.body, "distild_tokenization_duration_seconds_count"), 3);
    ck_assert_double_eq(series(reply.body, "distild_batch_tokens_sum"), 5 + 16 + 3 + 5);
    ck_assert_double_eq(series(reply.body, "distild_batch_texts_sum"), 4);
    ck_assert_double_eq(
        series(reply.body, "distild_predictions_total{model=\"default\",label=\"NEGATIVE\"}") +
            series(reply.body, "distild_predictions_total{model=\"default\",label=\"POSITIVE\"}"),
        4);
    stop(&f);
}
END_TEST

struct slow_call {
    pthread_t thread;
    int port;
    struct reply reply;
};

static void *call_slowly(void *argument)
{
    struct slow_call *call = argument;
    request(call->port, "POST", "/predict", "{\"text\":\"one two\"}", &call->reply);
    return NULL;
}

/* One request is computed, one waits, and the third finds the queue full. */
START_TEST(a_full_queue_shows_and_delays_no_scrape)
{
    struct fixture f;
    struct slow_call calls[2];
    struct reply reply;
    int i;
    prepare(&f, "fake:gate:slow=1200");
    f.options.max_queue = 1;
    launch(&f);
    fake_shut();
    for (i = 0; i < 2; i++) {
        calls[i].port = f.port;
        ck_assert_int_eq(pthread_create(&calls[i].thread, NULL, call_slowly, &calls[i]), 0);
        wait_for_suspended(&f, i + 1);
        wait_until(fake_at_gate() == 1);
    }
    request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    ck_assert_int_eq(reply.status, 503);
    wait_for_in_flight(&f, 2); /* it is counted */
    scrape(f.port, &reply);
    ck_assert_double_eq(series(reply.body, "distild_queue_texts"), 1);
    ck_assert_double_eq(series(reply.body, "distild_queue_tokens"), 4);
    ck_assert_double_eq(series(reply.body, "distild_requests_waiting"), 2);
    ck_assert_double_eq(series(reply.body, "distild_requests_in_flight"), 3); /* and this one */
    ck_assert_double_eq(series(reply.body, "distild_requests_shed_total{reason=\"queue_full\"}"),
                        1);
    fake_open();
    for (i = 0; i < 2; i++) {
        pthread_join(calls[i].thread, NULL);
        ck_assert_int_eq(calls[i].reply.status, 200);
    }
    wait_for_in_flight(&f, 0); /* answers are counted once they are sent */
    ck_assert_double_ge(value_now(f.port, "distild_queue_duration_seconds_sum"), 0.5);
    ck_assert_double_ge(value_now(f.port, "distild_inference_duration_seconds_sum"), 2.4);
    ck_assert_double_eq(value_now(f.port, "distild_inference_duration_seconds_bucket{le=\"1\"}"),
                        0);
    ck_assert_double_eq(value_now(f.port, "distild_inference_duration_seconds_bucket{le=\"+Inf\"}"),
                        2);
    ck_assert_double_eq(value_now(f.port, "distild_requests_waiting"), 0);
    stop(&f);
}
END_TEST

/* Reloads, and waits until that is counted. */
static void reload(const struct fixture *f, const char *series_name, double count)
{
    server_reload(f->server);
    wait_until(value_now(f->port, series_name) >= count);
    ck_assert_double_eq(value_now(f->port, series_name), count);
}

START_TEST(reloads_are_counted)
{
    static const char good[] = "distild_reloads_total{what=\"models\",outcome=\"success\"}";
    static const char bad[] = "distild_reloads_total{what=\"models\",outcome=\"failure\"}";
    static const char keys[] = "distild_reloads_total{what=\"keys\",outcome=\"success\"}";
    static const char last[] = "distild_last_reload_successful{what=\"models\"}";
    static const char when[] = "distild_last_reload_timestamp_seconds{what=\"models\"}";
    char path[] = "/tmp/distild-metrics-XXXXXX", model[64];
    struct fixture f;
    double began = (double)time(NULL);
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    say_model(path, "fake");
    snprintf(model, sizeof(model), "fake:file=%s", path);
    start(&f, model);
    reload(&f, good, 1);
    ck_assert_double_eq(value_now(f.port, last), 1);
    ck_assert_double_ge(value_now(f.port, when), began);
    say_model(path, "fake:broken");
    reload(&f, bad, 1);
    ck_assert_double_eq(value_now(f.port, last), 0);
    say_model(path, "fake:salt=3");
    reload(&f, good, 2);
    ck_assert_double_eq(value_now(f.port, last), 1);
    ck_assert_double_eq(value_now(f.port, keys), 0); /* there are none */
    ck_assert_double_eq(
        value_now(f.port, "distild_reloads_total{what=\"certificate\",outcome=\"success\"}"), 0);
    stop(&f);
    unlink(path);
}
END_TEST

START_TEST(metrics_while_loading)
{
    struct fixture f;
    struct reply reply;
    prepare(&f, "fake");
    begin(&f);
    request(f.port, "POST", "/predict", "{\"text\":\"x\"}", &reply);
    ck_assert_int_eq(reply.status, 503);
    scrape(f.port, &reply);
    ck_assert_double_eq(series(reply.body, "distild_ready"), 0);
    ck_assert_double_eq(series(reply.body, "distild_requests_shed_total{reason=\"loading\"}"), 1);
    load(&f);
    ck_assert_double_eq(value_now(f.port, "distild_ready"), 1);
    stop(&f);
}
END_TEST

START_TEST(labels_that_do_not_exclude_each_other)
{
    static const char *const labels[] = {"red", "green", "blue"};
    struct fixture f;
    struct reply reply;
    char name[100], quoted[20];
    int i;
    start(&f, "fake:multi");
    request(f.port, "POST", "/predict", "{\"text\":\"sky\"}", &reply);
    ck_assert_int_eq(reply.status, 200);
    for (i = 0; i < 3; i++) {
        const char *list = strstr(reply.body, "\"labels\":");
        ck_assert_ptr_nonnull(list);
        snprintf(name, sizeof(name), "distild_predictions_total{model=\"default\",label=\"%s\"}",
                 labels[i]);
        snprintf(quoted, sizeof(quoted), "\"%s\"", labels[i]);
        ck_assert_double_eq(value_now(f.port, name), strstr(list, quoted) ? 1 : 0);
    }
    stop(&f);
}
END_TEST

START_TEST(timing_headers)
{
    static const char *const names[] = {"x-compute-time", "x-total-time", "x-tokenization-time",
                                        "x-queue-time", "x-inference-time"};
    struct fixture f;
    struct reply reply;
    char value[40];
    long times[5];
    size_t i;
    start(&f, "fake:slow=30");
    request(f.port, "POST", "/predict", "{\"inputs\":[[\"caf\xC3\xA9 au\"],[\"lait\",\"non\"]]}",
            &reply);
    ck_assert_int_eq(reply.status, 200);
    reply_header(&reply, "x-compute-type", value, sizeof(value));
    ck_assert_str_eq(value, "cpu");
    reply_header(&reply, "x-compute-characters", value, sizeof(value));
    ck_assert_str_eq(value, "14");
    reply_header(&reply, "x-compute-tokens", value, sizeof(value));
    ck_assert_str_eq(value, "9"); /* [CLS] café au [SEP], [CLS] lait [SEP] non [SEP] */
    for (i = 0; i < 5; i++) {
        char *end;
        reply_header(&reply, names[i], value, sizeof(value));
        times[i] = strtol(value, &end, 10);
        ck_assert_msg(*value && !*end, "%s: '%s'", names[i], value);
    }
    ck_assert_int_ge(times[4], 30);
    ck_assert_int_ge(times[1], times[2] + times[3] + times[4]);
    ck_assert_int_eq(times[0], times[1]);
    request(f.port, "POST", "/predict", "{\"text\":\"\"}", &reply);
    reply_header(&reply, "x-compute-type", value, sizeof(value));
    ck_assert_str_eq(value, "");
    stop(&f);
}
END_TEST

enum { COUNTING = 4, ADDITIONS = 100000 };

static void *count_much(void *argument)
{
    struct server_metrics *metrics = argument;
    int i;
    for (i = 0; i < ADDITIONS; i++) {
        server_count(server_metrics_meter(metrics, i % 2), SERVER_COUNT_TEXTS, 2);
        server_observe(server_metrics_meter(metrics, 0), SERVER_BATCH_TEXTS, i % 3);
        server_count_request(server_metrics_meter(metrics, 1), -1, 299, 1000000);
    }
    return NULL;
}

/* A meter belongs to one thread, but loses nothing when several share it. */
START_TEST(nothing_is_lost_between_threads)
{
    struct server_metrics *metrics = server_metrics_create(2);
    pthread_t threads[COUNTING];
    char *page = NULL;
    size_t length;
    FILE *out;
    int i;
    ck_assert_ptr_nonnull(metrics);
    for (i = 0; i < COUNTING; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_much, metrics), 0);
    for (i = 0; i < COUNTING; i++)
        pthread_join(threads[i], NULL);
    server_count(NULL, SERVER_COUNT_TEXTS, 1);
    out = open_memstream(&page, &length);
    ck_assert_ptr_nonnull(out);
    server_metrics_write(metrics, out);
    server_metrics_label(out, "a\"b\\c\nd\xFF");
    fclose(out);
    ck_assert_double_eq(series(page, "distild_texts_total"), 2.0 * COUNTING * ADDITIONS);
    ck_assert_double_eq(series(page, "distild_batch_texts_count"), COUNTING * ADDITIONS);
    ck_assert_double_eq(series(page, "distild_batch_texts_bucket{le=\"1\"}"),
                        COUNTING * ((ADDITIONS + 2) / 3 + (ADDITIONS + 1) / 3));
    ck_assert_double_eq(
        series(page, "distild_requests_total{method=\"other\",route=\"other\",status=\"other\"}"),
        COUNTING * ADDITIONS);
    /* a bound belongs to its bucket */
    ck_assert_double_eq(series(page, "distild_request_duration_seconds_bucket{method=\"other\","
                                     "route=\"other\",le=\"0.001\"}"),
                        COUNTING * ADDITIONS);
    ck_assert_ptr_nonnull(strstr(page, "a\\\"b\\\\c\\nd\xEF\xBF\xBD"));
    free(page);
    server_metrics_free(metrics);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_series_is_there_at_zero,           requests_are_counted_by_route_and_status,
        a_full_queue_shows_and_delays_no_scrape, metrics_while_loading,
        labels_that_do_not_exclude_each_other,   timing_headers,
        nothing_is_lost_between_threads,         reloads_are_counted,
    };
    return run_tests("metrics", 30, tests, sizeof(tests) / sizeof(*tests));
}

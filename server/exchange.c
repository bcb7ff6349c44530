/* exchange.c: see exchange.h. */
#include "server/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/body.h"
#include "server/internal.h"
#include "server/offers.h"

/* An encoding that a very long text made large is not worth keeping. */
enum { MAX_POOLED_TEXT = 4096, MAX_RETRY_SECONDS = 60 };

static void discard_answer(struct server_exchange *exchange)
{
    if (!exchange->answer_is_static)
        free(exchange->answer);
    exchange->answer = NULL;
    exchange->answer_length = 0;
    exchange->answer_is_static = false;
    exchange->answer_type = NULL;
}

static void set_static(struct server_exchange *exchange, unsigned status, const char *json)
{
    /* the HTTP library takes a plain pointer, and does not write through it */
    union {
        const char *from;
        char *to;
    } text = {json};
    discard_answer(exchange);
    exchange->status = status;
    exchange->answer = text.to;
    exchange->answer_length = strlen(json);
    exchange->answer_is_static = true;
}

void server_answer_static(struct server_exchange *exchange, unsigned status, const char *json)
{
    set_static(exchange, status, json);
}

void server_answer(struct server_exchange *exchange, unsigned status, struct server_json *json)
{
    size_t length;
    char *text = server_json_take(json, &length);
    if (!text) {
        set_static(exchange, 500, "{\"error\":\"out of memory\",\"error_type\":\"Backend\"}");
        return;
    }
    discard_answer(exchange);
    exchange->status = status;
    exchange->answer = text;
    exchange->answer_length = length;
}

void server_answer_text(struct server_exchange *exchange, const char *type, char *text,
                        size_t length)
{
    struct server_json none = {.failed = true};
    if (!text) {
        server_answer(exchange, 200, &none);
        return;
    }
    discard_answer(exchange);
    exchange->status = 200;
    exchange->answer = text;
    exchange->answer_length = length;
    exchange->answer_type = type;
}

void server_fail(struct server_exchange *exchange, unsigned status, const char *type,
                 const char *field, const char *format, ...)
{
    struct server_json json = {0};
    char message[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    server_json_begin_object(&json);
    server_json_put_string(&json, "error", message);
    server_json_put_string(&json, "error_type", type);
    if (field)
        server_json_put_string(&json, "field", field);
    server_json_end_object(&json);
    server_answer(exchange, status, &json);
}

void server_fail_overloaded(struct server_exchange *exchange, enum server_room room, int64_t wait)
{
    struct server *server = exchange->server;
    const struct server_options *options = &server->options;
    int tokens, texts = server_queue_waiting(server->queue, &tokens);
    int64_t seconds = wait / 1000000000 + 1, ms = wait / 1000000;
    if (seconds > MAX_RETRY_SECONDS)
        seconds = MAX_RETRY_SECONDS;
    exchange->retry_after = (int)seconds + (int)(server_random(server) % ((uint32_t)seconds + 2));
    server_count(exchange->meter,
                 room == SERVER_ROOM_LATE ? SERVER_COUNT_EXPIRED_QUEUED : SERVER_COUNT_SHED_QUEUE,
                 1);
    if (room == SERVER_ROOM_LATE)
        server_fail(exchange, 503, SERVER_ERROR_OVERLOADED, NULL,
                    "the request would wait for about %lld ms, beyond its deadline", (long long)ms);
    else if (room == SERVER_ROOM_SLOW)
        server_fail(
            exchange, 503, SERVER_ERROR_OVERLOADED, NULL,
            "the queue is full: the request would wait for about %lld ms, at most %d may be",
            (long long)ms, options->max_queue_ms);
    else
        server_fail(exchange, 503, SERVER_ERROR_OVERLOADED, NULL,
                    "the queue is full: %d texts of %d tokens wait, at most %d of %d may", texts,
                    tokens, options->max_queue, options->max_queue_tokens);
}

void server_fail_rate(struct server_exchange *exchange, int64_t wait, const char *what)
{
    exchange->retry_after = (int)((wait + 999999999) / 1000000000);
    server_count(exchange->meter, SERVER_COUNT_SHED_RATE, 1);
    server_fail(exchange, 429, SERVER_ERROR_RATE, NULL, "%s: the next one in %d s", what,
                exchange->retry_after);
}

void server_fail_stateless(struct server_exchange *exchange, const char *what)
{
    server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL,
                "%s: the server has no state directory that it can write; its log says why, and "
                "--state-dir names one",
                what);
}

bool server_job_succeeded(struct server_exchange *exchange, unsigned failure)
{
    const struct server_job *job = &exchange->job;
    switch (job->fate) {
    case SERVER_COMPUTED:
        if (job->status)
            server_fail(exchange, failure, SERVER_ERROR_BACKEND, NULL, "the model failed: %s",
                        distil_strerror(job->status));
        break;
    case SERVER_ABANDONED:
        server_count(exchange->meter, SERVER_COUNT_ABANDONED, 1);
        server_fail(exchange, 499, SERVER_ERROR_CANCELLED, NULL,
                    "the client closed its side of the connection before the request was computed");
        break;
    case SERVER_EXPIRED:
        server_count(exchange->meter,
                     job->begun ? SERVER_COUNT_EXPIRED_COMPUTED : SERVER_COUNT_EXPIRED_TAKEN, 1);
        server_fail(exchange, 504, SERVER_ERROR_TIMEOUT, NULL,
                    "the deadline of %lld ms passed before the request was computed",
                    (long long)(job->deadline - exchange->began) / 1000000);
        break;
    case SERVER_STOPPED:
        server_count(exchange->meter, SERVER_COUNT_SHED_STOPPING, 1);
        exchange->retry_after = 1;
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL,
                    "the server stopped before the request was answered");
        break;
    }
    return job->status == DISTIL_OK;
}

void server_fail_handed(struct server_exchange *exchange, enum server_outcome outcome,
                        const char *what)
{
    if (outcome == SERVER_OUTCOME_FULL) {
        exchange->retry_after = 1 + (int)(server_random(exchange->server) % 3);
        server_count(exchange->meter, SERVER_COUNT_SHED_QUEUE, 1);
        server_fail(exchange, 503, SERVER_ERROR_OVERLOADED, NULL,
                    "the queue is full: too many %s wait", what);
    } else {
        exchange->job.status = DISTIL_BUSY;
        exchange->job.fate = outcome == SERVER_OUTCOME_LATE ? SERVER_EXPIRED : SERVER_STOPPED;
        server_job_succeeded(exchange, 500);
    }
}

void server_wake_handed(struct server_handed *handed)
{
    struct server_exchange *exchange = handed->context;
    exchange->wake(exchange);
}

/* What a model of a task has, and what it can do with that. */
static const struct {
    const char *head, *ability;
} tasks[] = {
    [DISTIL_TASK_NONE] = {"embeddings of its own", "embed texts"},
    [DISTIL_TASK_CLASSIFY] = {"classification head", "predict labels"},
    [DISTIL_TASK_TOKENS] = {"token classification head", "label tokens"},
    [DISTIL_TASK_ANSWER] = {"question answering head", "answer questions"},
};

bool server_work_use_task(struct server_exchange *exchange, const char *name, distil_task task)
{
    struct server_models *models = exchange->server->models;
    exchange->model = name ? server_models_use(models, name) : server_models_use_task(models, task);
    if (!exchange->model && name)
        server_fail(exchange, 404, SERVER_ERROR_NOT_FOUND, "model",
                    "there is no model named \"%.100s\": GET /models lists those there are", name);
    else if (!exchange->model)
        server_fail(exchange, 404, SERVER_ERROR_NOT_FOUND, NULL,
                    "there is no model that can %s: GET /models lists those there are",
                    tasks[task].ability);
    else if (exchange->model->info->task != task)
        server_fail(exchange, 424, SERVER_ERROR_BACKEND, NULL,
                    "the model has no %s, so it cannot %s", tasks[task].head, tasks[task].ability);
    return exchange->model && !exchange->status;
}

void server_work_leave(struct server_exchange *exchange)
{
    server_models_leave(exchange->server->models, exchange->model);
    exchange->model = NULL;
    if (exchange->offer)
        server_offers_leave(exchange->server->offers, exchange->offer);
    exchange->offer = NULL;
}

bool server_work_create(struct server_exchange *exchange, int count)
{
    struct server_job *job = &exchange->job;
    distil_tokens **texts = calloc((size_t)count, sizeof(distil_tokens *));
    if (!texts) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return false;
    }
    job->model = exchange->model;
    job->count = count;
    job->texts = texts;
    return true;
}

bool server_work_make_outputs(struct server_exchange *exchange)
{
    struct server_job *job = &exchange->job;
    size_t floats = 0, pointers = (size_t)job->count * sizeof(float *);
    float *output;
    int i;
    for (i = 0; i < job->count; i++)
        floats += server_model_width(job->model, job->texts[i]);
    job->outputs = malloc(pointers + floats * sizeof(float));
    if (!job->outputs) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return false;
    }
    output = (float *)(void *)((char *)(void *)job->outputs + pointers);
    for (i = 0; i < job->count; i++) {
        job->outputs[i] = output;
        output += server_model_width(job->model, job->texts[i]);
    }
    return true;
}

int64_t server_characters(const char *text)
{
    int64_t count = 0; /* of bytes that do not continue a character */
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

/* Gives text i an encoding to be reused, where there is one. */
static void take_pooled(struct server_exchange *exchange, int i)
{
    struct server_token_pool *pool = exchange->pool;
    if (pool->count > 0 && !exchange->job.texts[i])
        exchange->job.texts[i] = pool->free[--pool->count];
}

distil_status server_work_encode(struct server_exchange *exchange, int i, const char *text,
                                 const char *pair, distil_truncation truncation,
                                 distil_error *error)
{
    struct server_job *job = &exchange->job;
    int64_t began = server_now();
    distil_status status;
    take_pooled(exchange, i);
    status = distil_encode(job->model->model, text, strlen(text), pair, pair ? strlen(pair) : 0,
                           truncation, &job->texts[i], error);
    exchange->tokenization_ns += server_now() - began;
    if (status)
        return status;
    exchange->characters += server_characters(text) + (pair ? server_characters(pair) : 0);
    job->tokens += distil_tokens_count(job->texts[i]);
    if (distil_tokens_truncated(job->texts[i]))
        server_count(exchange->meter, SERVER_COUNT_TRUNCATED, 1);
    return DISTIL_OK;
}

distil_status server_work_take_ids(struct server_exchange *exchange, int i, const int32_t *ids,
                                   int count, distil_error *error)
{
    struct server_job *job = &exchange->job;
    distil_status status =
        distil_tokens_from_ids(job->model->model, ids, count, &job->texts[i], error);
    if (!status)
        job->tokens += count;
    return status;
}

distil_status server_work_window(struct server_exchange *exchange, int i,
                                 const distil_windows *windows, distil_error *error)
{
    struct server_job *job = &exchange->job;
    distil_status status;
    take_pooled(exchange, i);
    status = distil_windows_tokens(windows, i, &job->texts[i], error);
    if (status)
        return status;
    job->tokens += distil_tokens_count(job->texts[i]);
    return DISTIL_OK;
}

static void give_back(struct server_token_pool *pool, distil_tokens *tokens)
{
    if (tokens && pool->count < SERVER_POOLED_TOKENS &&
        distil_tokens_full_count(tokens) <= MAX_POOLED_TEXT)
        pool->free[pool->count++] = tokens;
    else
        distil_tokens_free(tokens);
}

void server_exchange_forget(struct server_exchange *exchange)
{
    if (exchange->request_free)
        exchange->request_free(exchange->request);
    exchange->request = NULL;
    exchange->request_free = NULL;
    server_body_free(exchange);
}

void server_exchange_release(struct server_exchange *exchange)
{
    int i;
    server_work_leave(exchange);
    for (i = 0; i < exchange->job.count; i++)
        give_back(exchange->pool, exchange->job.texts[i]);
    free((void *)exchange->job.texts);
    free((void *)exchange->job.outputs);
    server_exchange_forget(exchange);
    discard_answer(exchange);
}

void server_token_pool_free(struct server_token_pool *pool)
{
    while (pool->count > 0)
        distil_tokens_free(pool->free[--pool->count]);
}

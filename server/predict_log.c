/* predict_log.c: see predict_log.h. */
#include "server/predict_log.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/internal.h"
#include "server/prediction_log.h"
#include "server/projection.h"
#include "server/timestamp.h"

enum { LONGEST_PRODUCT = 256 /* characters */ };

/* ---- the form of reviews ---- */

/* The value of a field that must be a string; NULL, with 400 answered, where it is none. */
static const char *read_string(struct server_exchange *exchange, const cJSON *root,
                               const char *field)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(root, field);
    if (cJSON_IsString(value))
        return value->valuestring;
    if (!value)
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field,
                    "`%s` is missing: a review has `text`, `product_id` and `timestamp`", field);
    else
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, field, "`%s` must be a string, not %s",
                    field, server_json_type(value));
    return NULL;
}

/* Whether well-formed UTF-8 has a control character: below U+0020, or from U+007F to U+009F. */
static bool has_control(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    for (; *at; at++)
        if (*at < 0x20 || *at == 0x7F || (at[0] == 0xC2 && at[1] < 0xA0))
            return true;
    return false;
}

static int count_characters(const char *text)
{
    int count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static bool check_product(struct server_exchange *exchange, const char *product)
{
    int count = count_characters(product);
    if (count < 1 || count > LONGEST_PRODUCT)
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "product_id",
                    "`product_id` must have 1 to %d characters, not %d", LONGEST_PRODUCT, count);
    else if (has_control(product))
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "product_id",
                    "`product_id` must not hold control characters");
    else
        return true;
    return false;
}

bool server_review_read(struct server_exchange *exchange, const cJSON *root,
                        struct server_review *review)
{
    const char *problem;
    *review = (struct server_review){0};
    if (!cJSON_GetObjectItemCaseSensitive(root, "product_id") &&
        !cJSON_GetObjectItemCaseSensitive(root, "timestamp"))
        return true;
    review->product_id = read_string(exchange, root, "product_id");
    if (!review->product_id || !check_product(exchange, review->product_id))
        return false;
    review->timestamp = read_string(exchange, root, "timestamp");
    if (!review->timestamp)
        return false;
    if (server_timestamp_parse(review->timestamp, NULL, &problem))
        return true;
    server_fail(exchange, 400, SERVER_ERROR_VALIDATION, "timestamp",
                "`timestamp` must be a date and time of RFC 3339, such as 2026-03-01T12:30:00Z: %s",
                problem);
    return false;
}

/* ---- the log ---- */

const char *server_prediction_id(struct server_exchange *exchange)
{
    if (!exchange->prediction_id[0])
        server_uuid_make(exchange->prediction_id);
    return exchange->prediction_id;
}

/* {label: score} of all labels; NULL when memory runs out. */
static char *write_scores(const struct server_model *model, const float *scores)
{
    struct server_json json = {0};
    size_t length;
    int i;
    server_json_begin_object(&json);
    for (i = 0; i < model->info->label_count; i++)
        server_json_put_float(&json, distil_label(model->model, i), scores[i]);
    server_json_end_object(&json);
    server_json_raw(&json, "", 1); /* the NUL */
    return server_json_take(&json, &length);
}

void server_predict_log(struct server_exchange *exchange, int i, const char *text, const char *pair,
                        const float *scores, const struct server_review *review)
{
    struct server_prediction_log *log = exchange->server->predictions;
    const struct server_job *job = &exchange->job;
    const struct server_model *model = job->model;
    const distil_tokens *tokens = job->texts[i];
    char id[SERVER_PREDICTION_ID], *written;
    int best;
    if (!log)
        return;
    best = server_model_best(model, scores);
    written = write_scores(model, scores);
    if (!written) {
        server_count(exchange->meter, SERVER_COUNT_LOG_NO_MEMORY, 1);
        return;
    }
    if (job->count > 1)
        snprintf(id, sizeof(id), "%s-%d", server_prediction_id(exchange), i);
    else
        snprintf(id, sizeof(id), "%s", server_prediction_id(exchange));
    server_prediction_log_put(log,
                              &(struct server_prediction){
                                  .id = id,
                                  .at_ns = server_clock(),
                                  .model = model->name,
                                  .digest = model->info->digest,
                                  .text = text,
                                  .pair = pair,
                                  .product_id = review ? review->product_id : NULL,
                                  .timestamp = review ? review->timestamp : NULL,
                                  .label = distil_label(model->model, best),
                                  .score = scores[best],
                                  .scores = written,
                                  .tokens = distil_tokens_count(tokens),
                                  .unknown = distil_tokens_unknown(model->model, tokens),
                                  .truncated = distil_tokens_truncated(tokens) != 0,
                                  .projection = job->outputs[i] + model->info->label_count,
                                  .projection_count = SERVER_PROJECTION,
                              },
                              exchange->meter);
    free(written);
}

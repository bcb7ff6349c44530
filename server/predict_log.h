/* predict_log.h: what a request for predictions says beyond its texts, and what the log of predictions
 * gets of it. */
#ifndef SERVER_PREDICT_LOG_H
#define SERVER_PREDICT_LOG_H

#include "server/exchange.h"

/* Of whom a text is a review, and when it was written, as the client says. NULL where it does not. */
struct server_review {
    const char *product_id, *timestamp;
};

/* Reads `product_id` and `timestamp`: where a request has one of them it needs both. The strings are
 * root's. False, with 400 answered that names the field. */
bool server_review_read(struct server_exchange *exchange, const cJSON *root,
                        struct server_review *review);

/* The id of the request's predictions, made when it is first asked for. */
const char *server_prediction_id(struct server_exchange *exchange);
/* Puts text i of the exchange's job into the log of predictions, where there is one, under the id of
 * the request, and of a job of several texts "-i". scores: (label_count) of the job's model. pair and
 * review may be NULL. */
void server_predict_log(struct server_exchange *exchange, int i, const char *text, const char *pair,
                        const float *scores, const struct server_review *review);

#endif

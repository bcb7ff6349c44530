/* routes.h: the handlers, which router.c puts in its table. */
#ifndef SERVER_ROUTES_H
#define SERVER_ROUTES_H

struct server_exchange;

void server_handle_welcome(struct server_exchange *exchange);      /* GET / */
void server_handle_health(struct server_exchange *exchange);       /* GET /health */
void server_handle_metrics(struct server_exchange *exchange);      /* GET /metrics */
void server_handle_metrics_json(struct server_exchange *exchange); /* GET /metrics.json */
void server_handle_openapi(struct server_exchange *exchange);      /* GET /openapi.json */
void server_handle_docs(struct server_exchange *exchange);         /* GET /docs */
void server_handle_drift(struct server_exchange *exchange);        /* GET /drift */
void server_handle_models(struct server_exchange *exchange);       /* GET /models */
void server_handle_predict(struct server_exchange *exchange);      /* POST /predict */
void server_handle_prediction(struct server_exchange *exchange);   /* POST /prediction */
void server_handle_embed(struct server_exchange *exchange);        /* POST /embed */
void server_handle_feedback(struct server_exchange *exchange);     /* POST /feedback */
void server_handle_similar(struct server_exchange *exchange);      /* POST /api/similar */
void server_handle_answer(struct server_exchange *exchange);       /* POST /answer */
void server_handle_reload(struct server_exchange *exchange);       /* POST /admin/models/reload */
void server_handle_login(struct server_exchange *exchange);        /* POST /api/login */
void server_handle_recommend(struct server_exchange *exchange);    /* POST /api/recommend */
void server_handle_score(struct server_exchange *exchange);        /* POST /api/recommend/score */
void server_handle_protected(struct server_exchange *exchange);    /* GET /protected */

#endif

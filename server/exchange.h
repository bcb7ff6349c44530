/* exchange.h: one request and its answer, as handlers see them: nothing of the HTTP library.
 *
 * A handler reads the body and either answers (server_answer, server_fail) or prepares texts to
 * compute (server_work_create, server_work_encode, then exchange->finish) and returns. The
 * connection then sleeps without a thread until the workers have computed the texts, and
 * exchange->finish answers from exchange->job. */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/distil_answer.h"
#include "server/client_address.h"
#include "server/handover.h"
#include "server/json_input.h"
#include "server/json_writer.h"
#include "server/metrics.h"
#include "server/queue.h"
#include "server/uuid.h"

struct server;
struct server_exchange;
struct server_offer;
struct server_route;

enum {
    SERVER_ID_SIZE = 65, /* of a request id, with its NUL */
    SERVER_WHO = 192,    /* of a caller's name, with its NUL; a longer one is cut */
    SERVER_POOLED_TOKENS = 256
};

/* Encodings for reuse. Each HTTP thread has its own, so taking one needs no lock. */
struct server_token_pool {
    distil_tokens *free[SERVER_POOLED_TOKENS];
    int count;
};

struct server_exchange {
    struct server *server;
    struct server_token_pool *pool;
    struct server_meter *meter;       /* of this thread */
    const struct server_route *route; /* NULL where no route matched */
    const char *method, *path;
    const char *model_asked; /* ?model= of the target; NULL: not given */
    char id[SERVER_ID_SIZE]; /* as the client gave it, or made here */
    int64_t began;           /* monotonic nanoseconds */
    struct server_address client;
    bool accepts_html;    /* rather than JSON */
    char who[SERVER_WHO]; /* "key:NAME" of the credential shown; "" for anybody */

    char *body; /* not NUL-terminated; NULL when empty */
    size_t body_length, body_capacity;

    unsigned status;         /* 0: not answered yet */
    char *answer;            /* JSON, or what answer_type says */
    const char *answer_type; /* NULL: JSON */
    size_t answer_length;
    bool answer_is_static;   /* not to be freed */
    const char *allow;       /* methods of the path, for 405 */
    int retry_after;         /* seconds; 0: none */
    const char *cors_origin; /* for Access-Control-Allow-Origin; NULL: none */
    bool varies_by_origin, varies_by_accept;
    bool preflight;        /* the answer tells a browser what a page may ask */
    bool no_store;         /* the answer is a secret that no cache may keep */
    const char *challenge; /* what WWW-Authenticate asks for, static storage; NULL: none */

    int64_t tokenization_ns; /* spent encoding texts */
    int64_t characters;      /* of the texts encoded, in Unicode */

    char prediction_id[SERVER_UUID]; /* of the log of predictions; "": none */

    struct server_model *model; /* that answers; NULL: none, or given back */
    struct server_offer *offer; /* that is searched or recommended from; the same */
    struct server_job job;      /* job.count is 0 while there is nothing to compute */
    void (*finish)(struct server_exchange *exchange);
    /* Of a handler that waits for others than the workers, or of a finish that has not answered and goes on to wait for
     * them: called once the connection sleeps, to set them to work. They call wake when they are done, once and from any
     * thread, and finish is called. */
    void (*submit)(struct server_exchange *exchange);
    void (*wake)(struct server_exchange *exchange);
    void *request; /* what the handler keeps until finish */
    void (*request_free)(void *request);
};

/* The kinds of error a client can tell apart, as text-embeddings-inference names them. */
#define SERVER_ERROR_VALIDATION "Validation"
#define SERVER_ERROR_EMPTY "Empty"
#define SERVER_ERROR_TOKENIZER "Tokenizer"
#define SERVER_ERROR_BACKEND "Backend"
#define SERVER_ERROR_OVERLOADED "Overloaded"
#define SERVER_ERROR_UNHEALTHY "Unhealthy"
#define SERVER_ERROR_CANCELLED "Cancelled"
#define SERVER_ERROR_TIMEOUT "Timeout"
#define SERVER_ERROR_NOT_FOUND "NotFound"
#define SERVER_ERROR_METHOD "MethodNotAllowed"
#define SERVER_ERROR_MEDIA_TYPE "UnsupportedMediaType"
#define SERVER_ERROR_UNAUTHORIZED "Unauthorized"
#define SERVER_ERROR_FORBIDDEN "Forbidden"
#define SERVER_ERROR_RATE "RateLimited"
#define SERVER_ERROR_CONFLICT "Conflict"

/* Answers with what was written; 500 when memory ran out. Empties the writer. */
void server_answer(struct server_exchange *exchange, unsigned status, struct server_json *json);
/* Answers with JSON text that lives as long as the program. */
void server_answer_static(struct server_exchange *exchange, unsigned status, const char *json);
/* Answers 200 with text of a type, which must be malloc's and is taken over; 500 where it is NULL. */
void server_answer_text(struct server_exchange *exchange, const char *type, char *text,
                        size_t length);
/* The one place where errors are built: {"error": message, "error_type": type, "field": field}, the
 * field where one is at fault (else NULL). Replaces an answer given before. */
void server_fail(struct server_exchange *exchange, unsigned status, const char *type,
                 const char *field, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* 503 for a job that was refused and would have had to wait for nanoseconds. Retry-After is the time
 * in which that is expected to be done, and up to as much more, so that clients do not all come back
 * at once. */
void server_fail_overloaded(struct server_exchange *exchange, enum server_room room, int64_t wait);
/* Answers what was handed over and not tried: 503 where the queue was full, "the queue is full: too many WHAT wait", with a
 * Retry-After that spreads clients out, 504 where it was late, 503 where the server stopped. */
void server_fail_handed(struct server_exchange *exchange, enum server_outcome outcome,
                        const char *what);
/* To be handed.done of what a handler hands over, with the exchange as its context. */
void server_wake_handed(struct server_handed *handed);
/* 429 to a client that may ask again in so many nanoseconds: "WHAT: the next one in N s". */
void server_fail_rate(struct server_exchange *exchange, int64_t wait, const char *what);
/* 503 to what needs the state directory, where the server has none: "WHAT ...". */
void server_fail_stateless(struct server_exchange *exchange, const char *what);
/* Answers a job that was not computed, with the status failure where it was the model that failed.
 * True where it was computed, and nothing has been answered. */
bool server_job_succeeded(struct server_exchange *exchange, unsigned failure);

/* Finds the model that is to answer: that of a name, or where name is NULL the first of the task. False, with 404
 * answered, where there is none, and with 424 where the one named has another task. */
bool server_work_use_task(struct server_exchange *exchange, const char *name, distil_task task);
/* Makes room in exchange->job for count texts of exchange->model. False, with 500 answered, when
 * memory runs out. */
bool server_work_create(struct server_exchange *exchange, int count);
/* Encodes text i, as distil_encode; characters and tokens are counted. */
distil_status server_work_encode(struct server_exchange *exchange, int i, const char *text,
                                 const char *pair, distil_truncation truncation,
                                 distil_error *error);
/* Text i from ids, as distil_tokens_from_ids. */
distil_status server_work_take_ids(struct server_exchange *exchange, int i, const int32_t *ids,
                                   int count, distil_error *error);
/* Makes room for what the model is to make of the encoded texts, before the job is queued. False, with 500 answered, when
 * memory runs out. */
bool server_work_make_outputs(struct server_exchange *exchange);
/* Takes window i of a question's as text i. */
distil_status server_work_window(struct server_exchange *exchange, int i,
                                 const distil_windows *windows, distil_error *error);
/* Unicode characters of a text. */
int64_t server_characters(const char *text);
/* Gives the model back, once the answer is there: it may be one that is being replaced. */
void server_work_leave(struct server_exchange *exchange);
/* Frees what the request was read from and into, once the answer is there. */
void server_exchange_forget(struct server_exchange *exchange);
/* Frees what the exchange holds. */
void server_exchange_release(struct server_exchange *exchange);
void server_token_pool_free(struct server_token_pool *pool);

#endif

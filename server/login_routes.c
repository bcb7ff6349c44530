/* login_routes.c: POST /api/login, which gives a token for the session password, and
 * GET /protected, which takes one. */
#include <stdlib.h>
#include <string.h>

#include "server/exchange.h"
#include "server/internal.h"
#include "server/login.h"
#include "server/routes.h"

static void attempt_free(void *request)
{
    explicit_bzero(request, sizeof(struct server_attempt));
    free(request);
}

static void give_token(struct server_exchange *exchange)
{
    struct server_json json = {0};
    char *token = server_login_token(exchange->server->login);
    if (!token) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    server_json_begin_object(&json);
    server_json_put_string(&json, "access_token", token);
    server_json_end_object(&json);
    free(token);
    exchange->no_store = true;
    server_answer(exchange, 200, &json);
}

static void finish_login(struct server_exchange *exchange)
{
    const struct server_attempt *attempt = exchange->request;
    if (attempt->handed.outcome != SERVER_OUTCOME_DONE) {
        server_fail_handed(exchange, attempt->handed.outcome, "attempts to log in");
    } else if (attempt->right) {
        give_token(exchange);
    } else {
        exchange->challenge = "Bearer realm=\"distild\"";
        server_fail(exchange, 401, SERVER_ERROR_UNAUTHORIZED, "session_password",
                    "the session password is wrong");
    }
}

/* Hands the attempt over; the connection sleeps already. */
static void submit_login(struct server_exchange *exchange)
{
    server_login_push(exchange->server->login, exchange->request);
}

/* Copies the password; one that is too long to be right becomes one that is wrong. */
static void copy_password(char *password, const char *given)
{
    size_t length = strlen(given);
    if (length < SERVER_PASSWORD)
        memcpy(password, given, length + 1);
    else
        password[0] = '\0';
}

/* Takes the password out of a body, whose copies are wiped. What is wrong; NULL where nothing is. */
static const char *read_password(struct server_exchange *exchange, char *password,
                                 struct server_problem *problem)
{
    cJSON *root = server_json_parse(exchange->body, exchange->body_length, problem);
    cJSON *given = cJSON_GetObjectItemCaseSensitive(root, "session_password");
    const char *wrong = NULL;
    if (exchange->body)
        explicit_bzero(exchange->body, exchange->body_length);
    if (!root)
        return problem->message;
    if (!cJSON_IsObject(root))
        wrong = "the body must be a JSON object with `session_password`";
    else if (!given || cJSON_IsNull(given))
        wrong = "`session_password` is missing: a string is expected";
    else if (!cJSON_IsString(given))
        wrong = "`session_password` must be a string";
    else if (!*given->valuestring)
        wrong = "`session_password` is empty";
    if (!wrong) {
        copy_password(password, given->valuestring);
        explicit_bzero(given->valuestring, strlen(given->valuestring));
    }
    cJSON_Delete(root);
    return wrong;
}

static bool is_admitted(struct server_exchange *exchange)
{
    int64_t wait = server_login_admit(exchange->server->login, &exchange->client);
    if (wait == 0)
        return true;
    server_fail_rate(exchange, wait, "too many attempts to log in");
    return false;
}

void server_handle_login(struct server_exchange *exchange)
{
    struct server_problem problem = {0};
    struct server_attempt *attempt;
    const char *wrong;
    if (!exchange->server->login) {
        server_fail(exchange, 503, SERVER_ERROR_UNHEALTHY, NULL,
                    "the server has no session password, so that nobody can log in");
        return;
    }
    attempt = calloc(1, sizeof(*attempt));
    if (!attempt) {
        server_fail(exchange, 500, SERVER_ERROR_BACKEND, NULL, "out of memory");
        return;
    }
    exchange->request = attempt;
    exchange->request_free = attempt_free;
    wrong = read_password(exchange, attempt->password, &problem);
    if (wrong) {
        server_fail(exchange, 400, SERVER_ERROR_VALIDATION,
                    wrong == problem.message ? problem.field : "session_password", "%s", wrong);
        return;
    }
    if (!is_admitted(exchange))
        return;
    attempt->client = exchange->client;
    attempt->handed.done = server_wake_handed;
    attempt->handed.context = exchange;
    exchange->submit = submit_login;
    exchange->finish = finish_login;
}

void server_handle_protected(struct server_exchange *exchange)
{
    server_answer_static(exchange, 200, "{\"message\":\"Protected\"}");
}

/* access.c: see access.h. */
#include "server/access.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "server/api_keys.h"
#include "server/cors.h"
#include "server/exchange.h"
#include "server/internal.h"
#include "server/login.h"
#include "server/router.h"
#include "server/tokens.h"
#include "server/worker.h"

static const char challenge[] = "Bearer realm=\"distild\"";
/* Of those who want HTML: what a browser asks its user for a name and a password at, and takes no other for. */
static const char challenge_browser[] = "Basic realm=\"distild\", charset=\"UTF-8\"";
static const char challenge_invalid[] = "Bearer realm=\"distild\", error=\"invalid_token\"";

struct server_access {
    struct server_access_options options;
    const struct server_log *log;
    pthread_rwlock_t lock;            /* of what is read again */
    struct server_api_keys *keys;     /* NULL: none are configured */
    struct server_token_keys *tokens; /* the same */
    struct server_rate rate;          /* of those who have none of their own */
    struct server_rate_table *buckets;
    struct server_networks trusted;
    struct server_cors cors;
};

/* Who asks. */
struct identity {
    enum { NOBODY, UNKNOWN, KNOWN } kind;
    unsigned scopes;
    struct server_api_key *key; /* NULL: another credential */
    const char *problem;        /* with a credential that is not known */
};

/* ---- lifecycle ---- */

static distil_status read_options(struct server_access *access, distil_error *error)
{
    const struct server_access_options *options = &access->options;
    distil_status status = DISTIL_OK;
    distil_error reason;
    if (options->rate_limit && !server_rate_parse(options->rate_limit, &access->rate))
        return distil_fail(error, DISTIL_INVALID,
                           "rate-limit: '%.40s' is no rate such as 50/s or 600/m:20",
                           options->rate_limit);
    if (access->rate.interval && !(access->buckets = server_rate_table_create()))
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the rate limits");
    if (options->trusted_proxies)
        status = server_networks_parse(options->trusted_proxies, &access->trusted, &reason);
    if (status)
        return distil_fail(error, status, "trusted-proxies: %s", reason.message);
    return server_cors_parse(options->cors_origins, &access->cors, error);
}

distil_status server_access_create(const struct server_access_options *options,
                                   const struct server_log *log, struct server_access **access,
                                   distil_error *error)
{
    struct server_access *made = calloc(1, sizeof(*made));
    distil_status status;
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the access rules");
    made->options = *options;
    made->log = log;
    pthread_rwlock_init(&made->lock, NULL);
    status = read_options(made, error);
    if (!status)
        status = server_access_reload(made, error);
    if (status) {
        server_access_free(made);
        return status;
    }
    *access = made;
    return DISTIL_OK;
}

/* Reads the files that are named. */
static distil_status read_files(const struct server_access *access, struct server_api_keys **keys,
                                struct server_token_keys **tokens, distil_error *error)
{
    const struct server_access_options *options = &access->options;
    distil_status status = DISTIL_OK;
    if (options->api_keys)
        status = server_api_keys_open(options->api_keys, access->log, keys, error);
    if (!status && *keys && (*keys)->count == 0)
        status = distil_fail(error, DISTIL_FORMAT, "%s: the file holds no key", options->api_keys);
    if (!status && options->jwt_keys)
        status = server_token_keys_open(options->jwt_keys, access->log, tokens, error);
    return status;
}

distil_status server_access_reload(struct server_access *access, distil_error *error)
{
    struct server_api_keys *keys = NULL, *keys_before;
    struct server_token_keys *tokens = NULL, *tokens_before;
    distil_status status = read_files(access, &keys, &tokens, error);
    if (status) {
        server_api_keys_free(keys);
        return status;
    }
    /* only here are they replaced: requests need not wait while many keys are compared */
    keys_before = access->keys;
    tokens_before = access->tokens;
    if (keys)
        server_api_keys_inherit(keys, keys_before);
    pthread_rwlock_wrlock(&access->lock);
    access->keys = keys;
    access->tokens = tokens;
    pthread_rwlock_unlock(&access->lock);
    server_api_keys_free(keys_before);
    server_token_keys_free(tokens_before);
    return DISTIL_OK;
}

void server_access_free(struct server_access *access)
{
    if (!access)
        return;
    server_api_keys_free(access->keys);
    server_token_keys_free(access->tokens);
    server_rate_table_free(access->buckets);
    server_cors_free(&access->cors);
    pthread_rwlock_destroy(&access->lock);
    free(access);
}

/* Whether there is anything that a caller could show. */
static bool has_credentials(const struct server_access *access)
{
    return access->options.api_keys || access->options.jwt_keys;
}

bool server_access_may_be_reached(const struct server_access *access)
{
    return access->options.allow_anonymous || has_credentials(access);
}

/* ---- who asks ---- */

void server_access_locate(const struct server_access *access, struct server_exchange *exchange,
                          const struct server_headers *headers)
{
    const struct server_header_fields *hops =
        access->options.forwarded ? &headers->forwarded : &headers->forwarded_for;
    server_address_forwarded(&exchange->client, &access->trusted, hops->values, hops->count);
    exchange->cors_origin = server_cors_allow(&access->cors, headers->origin);
    exchange->varies_by_origin = access->cors.count > 0;
}

/* The credential of an Authorization field after "Bearer " or "Basic "; NULL where it has another scheme. */
static const char *credential_of(const char *authorization, const char *scheme)
{
    size_t length = strlen(scheme);
    if (!authorization || strncasecmp(authorization, scheme, length) != 0)
        return NULL;
    return authorization + length + strspn(authorization + length, " ");
}

/* Whether a browser may open the route with a key that its user was asked for. It sends that again by itself, to pages of
 * other origins' requests too, so that nothing may come of it but an answer, which those cannot read. */
static bool takes_basic(const struct server_access *access, const struct server_route *route)
{
    return access->keys && !access->options.allow_anonymous && strcmp(route->method, "GET") == 0 &&
           route->needs != SERVER_SCOPE_SESSION;
}

static bool identify_key(struct server_api_key *key, struct identity *identity,
                         char who[SERVER_WHO])
{
    if (!key)
        return false;
    identity->kind = KNOWN;
    identity->key = key;
    identity->scopes |= key->scopes;
    snprintf(who, SERVER_WHO, "key:%s", key->name);
    return true;
}

static void identify_token(const struct server_access *access, const char *text,
                           struct identity *identity, char who[SERVER_WHO])
{
    struct server_token token;
    identity->problem = server_token_check(access->tokens, text, (int64_t)time(NULL), &token);
    if (identity->problem)
        return;
    identity->kind = KNOWN;
    identity->scopes |= token.scopes;
    snprintf(who, SERVER_WHO, "jwt:%s%s%s", token.key->name, *token.subject ? ":" : "",
             token.subject);
}

/* For routes of sessions nothing else counts, and for other routes they do not. */
static void identify_session(const struct server_exchange *exchange,
                             const struct server_headers *headers, struct identity *identity)
{
    const char *bearer = credential_of(headers->authorization, "Bearer ");
    if (!bearer)
        return;
    identity->kind = UNKNOWN;
    identity->problem = server_login_check(exchange->server->login, bearer);
    if (identity->problem)
        return;
    identity->kind = KNOWN;
    identity->scopes = SERVER_SCOPE_SESSION;
}

static void identify(const struct server_access *access, const struct server_exchange *exchange,
                     const struct server_headers *headers, struct identity *identity,
                     char who[SERVER_WHO])
{
    const char *bearer = credential_of(headers->authorization, "Bearer ");
    const char *basic = credential_of(headers->authorization, "Basic ");
    const char *shown = headers->api_key ? headers->api_key : bearer;
    struct server_api_key *key = NULL;
    if (access->options.allow_anonymous || !has_credentials(access))
        identity->scopes = SERVER_SCOPES_ANONYMOUS;
    if (shown || !takes_basic(access, exchange->route))
        basic = NULL;
    /* without credentials to compare with, what clients send along is nobody's business */
    if ((!shown && !basic) || !has_credentials(access))
        return;
    identity->kind = UNKNOWN;
    identity->problem = "the credential is not known";
    if (access->keys)
        key = basic ? server_api_keys_find_basic(access->keys, basic)
                    : server_api_keys_find(access->keys, shown);
    if (!identify_key(key, identity, who) && access->tokens && shown && shown == bearer)
        identify_token(access, shown, identity, who);
}

/* Takes a request out of the bucket of whoever asks; the nanoseconds to wait where it is empty. */
static int64_t take_rate(struct server_access *access, const struct identity *identity,
                         const struct server_exchange *exchange)
{
    const struct server_address *client = &exchange->client;
    int64_t now;
    if (exchange->route->unlimited)
        return 0;
    now = server_now();
    if (identity->key && identity->key->rate.interval)
        return server_rate_take(&identity->key->rate, &identity->key->bucket, now);
    if (!access->rate.interval)
        return 0;
    if (identity->kind == KNOWN && *exchange->who)
        return server_rate_table_take(access->buckets, &access->rate, exchange->who,
                                      strlen(exchange->who), now);
    return server_rate_table_take(access->buckets, &access->rate, client->bytes,
                                  server_address_significant(client), now);
}

/* ---- the decision ---- */

static void refuse(struct server_exchange *exchange, const struct identity *identity, bool browser)
{
    if (identity->kind == KNOWN) {
        exchange->challenge = server_scope_challenge(exchange->route->needs);
        server_fail(exchange, 403, SERVER_ERROR_FORBIDDEN, NULL, "%s may not do this: %s",
                    exchange->who, server_scope_wanted(exchange->route->needs));
        return;
    }
    exchange->challenge = browser                     ? challenge_browser
                          : identity->kind == UNKNOWN ? challenge_invalid
                                                      : challenge;
    if (exchange->route->needs == SERVER_SCOPE_SESSION && !identity->problem)
        server_fail(exchange, 401, SERVER_ERROR_UNAUTHORIZED, NULL,
                    "a token of POST /api/login is needed: Authorization: Bearer TOKEN");
    else
        server_fail(exchange, 401, SERVER_ERROR_UNAUTHORIZED, NULL, "%s",
                    identity->problem ? identity->problem
                                      : "a credential is needed: X-API-Key: KEY, or "
                                        "Authorization: Bearer KEY");
}

bool server_access_admit(struct server_access *access, struct server_exchange *exchange,
                         const struct server_headers *headers)
{
    struct identity identity = {.kind = NOBODY};
    unsigned needs = exchange->route->needs;
    int64_t wait;
    bool browser;
    pthread_rwlock_rdlock(&access->lock);
    if (needs == SERVER_SCOPE_SESSION)
        identify_session(exchange, headers, &identity);
    else if (needs)
        identify(access, exchange, headers, &identity, exchange->who);
    browser = exchange->accepts_html && takes_basic(access, exchange->route);
    wait = take_rate(access, &identity, exchange);
    pthread_rwlock_unlock(&access->lock);
    if (wait > 0) {
        server_fail_rate(exchange, wait, "more requests than you may make");
        return false;
    }
    if (!needs || (identity.kind != UNKNOWN && (identity.scopes & needs)))
        return true;
    refuse(exchange, &identity, browser);
    return false;
}

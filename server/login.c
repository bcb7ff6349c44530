/* login.c: see login.h. */
#include "server/login.h"

#include <crypt.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/rate_limit.h"
#include "server/worker.h"
#include "weights/json.h"

enum { MAX_WAITING = 32 };

static const char subject[] = "session";
static const char of_each[] = "10/m", of_all[] = "10/s:30";

struct server_login {
    char hash[CRYPT_OUTPUT_SIZE];
    struct crypt_data *crypt; /* the thread's */
    struct server_token_keys *keys;
    int64_t seconds; /* for which a token is good */
    struct server_rate each, all;
    struct server_rate_table *clients;
    _Atomic int64_t everybody;
    pthread_t thread;
    bool started;
    struct server_handover attempts; /* that wait for it */
};

/* ---- the thread ---- */

static bool matches(struct server_login *login, const char *password)
{
    const char *hash = crypt_r(password, login->hash, login->crypt);
    size_t length = strlen(login->hash);
    /* a hash that could not be made begins with an asterisk */
    bool same = hash && hash[0] != '*' && strlen(hash) == length &&
                gnutls_memcmp(hash, login->hash, length) == 0;
    explicit_bzero(login->crypt, sizeof(*login->crypt));
    return same;
}

/* Lets an attempt not count. */
static void give_back(struct server_login *login, const struct server_address *client)
{
    server_rate_table_give_back(login->clients, &login->each, client->bytes,
                                server_address_significant(client));
    server_rate_give_back(&login->all, &login->everybody);
}

static void *run(void *argument)
{
    struct server_login *login = argument;
    struct server_handed *handed;
    while ((handed = server_handover_take(&login->attempts, 1, SERVER_HANDOVER_NEVER))) {
        struct server_attempt *attempt = (struct server_attempt *)(void *)handed;
        attempt->right = matches(login, attempt->password);
        explicit_bzero(attempt->password, sizeof(attempt->password));
        if (attempt->right)
            give_back(login, &attempt->client);
        server_handed_end(handed, SERVER_OUTCOME_DONE);
    }
    return NULL;
}

int64_t server_login_admit(struct server_login *login, const struct server_address *client)
{
    const size_t length = server_address_significant(client);
    int64_t now = server_now();
    int64_t wait = server_rate_table_take(login->clients, &login->each, client->bytes, length, now);
    if (wait > 0)
        return wait;
    wait = server_rate_take(&login->all, &login->everybody, now);
    if (wait > 0)
        server_rate_table_give_back(login->clients, &login->each, client->bytes, length);
    return wait > 0 ? wait : 0;
}

void server_login_push(struct server_login *login, struct server_attempt *attempt)
{
    if (server_handover_push(&login->attempts, &attempt->handed))
        return;
    explicit_bzero(attempt->password, sizeof(attempt->password));
    give_back(login, &attempt->client);
    attempt->handed.done(&attempt->handed);
}

/* ---- tokens ---- */

char *server_login_token(const struct server_login *login)
{
    return server_token_issue(login->keys, subject, (int64_t)time(NULL), login->seconds);
}

const char *server_login_check(const struct server_login *login, const char *token)
{
    struct server_token ignored;
    if (!login)
        return "nobody can log in: the server has no session password";
    return server_token_check(login->keys, token, (int64_t)time(NULL), &ignored);
}

/* ---- lifecycle ---- */

static distil_status hash_password(struct server_login *login, const char *password,
                                   distil_error *error)
{
    char salt[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *hash;
    if (!*password || strlen(password) >= SERVER_PASSWORD)
        return distil_fail(error, DISTIL_INVALID,
                           "the session password must have from 1 to %d bytes",
                           SERVER_PASSWORD - 1);
    if (!weights_utf8_valid(password, strlen(password))) /* nor is any JSON that could hold it */
        return distil_fail(error, DISTIL_INVALID, "the session password is not UTF-8");
    if (!crypt_gensalt_rn("$y$", 0, NULL, 0, salt, sizeof(salt)))
        return distil_fail(error, DISTIL_SYSTEM, "crypt(3) makes no yescrypt hashes: %s",
                           strerror(errno));
    hash = crypt_r(password, salt, login->crypt);
    if (!hash || hash[0] == '*')
        return distil_fail(error, DISTIL_SYSTEM, "the session password could not be hashed: %s",
                           strerror(errno));
    memcpy(login->hash, hash, strlen(hash) + 1);
    explicit_bzero(login->crypt, sizeof(*login->crypt));
    return DISTIL_OK;
}

static distil_status read_password(struct server_login *login,
                                   const struct server_access_options *options,
                                   const struct server_log *log, distil_error *error)
{
    struct server_key_file file;
    distil_status status;
    if (!options->session_password_file)
        return hash_password(login, options->session_password, error);
    status = server_secret_read(options->session_password_file, log, &file, error);
    if (status)
        return status;
    if (strlen(file.data) != file.length)
        status = distil_fail(error, DISTIL_FORMAT, "%s: a password with a NUL",
                             options->session_password_file);
    else
        status = hash_password(login, file.data, error);
    server_key_file_free(&file);
    return status;
}

static distil_status prepare(struct server_login *login,
                             const struct server_access_options *options,
                             const struct server_log *log, distil_error *error)
{
    distil_status status;
    server_handover_init(&login->attempts, MAX_WAITING);
    login->seconds = options->session_seconds;
    login->clients = server_rate_table_create();
    login->crypt = calloc(1, sizeof(*login->crypt));
    if (!login->clients || !login->crypt)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for logins");
    if (!server_rate_parse(of_each, &login->each) || !server_rate_parse(of_all, &login->all))
        return distil_fail(error, DISTIL_INVALID, "the limits of logins are malformed");
    status = read_password(login, options, log, error);
    if (!status)
        status = server_token_keys_own(options->session_key_file, subject, SERVER_SCOPE_SESSION,
                                       log, &login->keys, error);
    if (!status && pthread_create(&login->thread, NULL, run, login))
        status = distil_fail(error, DISTIL_SYSTEM, "the thread of logins could not be started");
    login->started = !status;
    return status;
}

distil_status server_login_create(const struct server_access_options *options,
                                  const struct server_log *log, struct server_login **login,
                                  distil_error *error)
{
    struct server_login *made;
    distil_status status;
    *login = NULL;
    if (!options->session_password_file &&
        (!options->session_password || !*options->session_password))
        return DISTIL_OK;
    made = calloc(1, sizeof(*made));
    status = made ? prepare(made, options, log, error)
                  : distil_fail(error, DISTIL_NO_MEMORY, "out of memory for logins");
    if (options->session_password)
        explicit_bzero(options->session_password, strlen(options->session_password));
    if (status)
        server_login_free(made);
    else
        *login = made;
    return status;
}

void server_login_stop(struct server_login *login)
{
    if (!login || !login->started)
        return;
    login->started = false;
    server_handover_stop(&login->attempts);
    pthread_join(login->thread, NULL);
    server_handover_finish(&login->attempts);
}

void server_login_free(struct server_login *login)
{
    if (!login)
        return;
    server_login_stop(login);
    server_handover_destroy(&login->attempts);
    server_rate_table_free(login->clients);
    server_token_keys_free(login->keys);
    free(login->crypt);
    explicit_bzero(login->hash, sizeof(login->hash));
    free(login);
}

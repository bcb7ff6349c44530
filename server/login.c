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
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct server_attempt *first, *last;
    int waiting;
    bool stopping;
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

/* Takes the next attempt, waiting for one; NULL at the end. */
static struct server_attempt *take(struct server_login *login, bool *stopping)
{
    struct server_attempt *attempt;
    pthread_mutex_lock(&login->lock);
    while (!login->first && !login->stopping)
        pthread_cond_wait(&login->changed, &login->lock);
    attempt = login->first;
    if (attempt) {
        login->first = attempt->next;
        login->waiting--;
    }
    *stopping = login->stopping;
    pthread_mutex_unlock(&login->lock);
    return attempt;
}

static void give_back(struct server_login *login, const struct server_address *client)
{
    server_rate_table_give_back(login->clients, &login->each, client->bytes,
                                server_address_significant(client));
}

static void *run(void *argument)
{
    struct server_login *login = argument;
    struct server_attempt *attempt;
    bool stopping;
    while ((attempt = take(login, &stopping))) {
        if (stopping)
            attempt->outcome = SERVER_LOGIN_STOPPED;
        else if (matches(login, attempt->password))
            attempt->outcome = SERVER_LOGIN_RIGHT;
        else
            attempt->outcome = SERVER_LOGIN_WRONG;
        explicit_bzero(attempt->password, sizeof(attempt->password));
        if (attempt->outcome == SERVER_LOGIN_RIGHT) {
            give_back(login, &attempt->client);
            server_rate_give_back(&login->all, &login->everybody);
        }
        attempt->done(attempt);
    }
    return NULL;
}

int64_t server_login_reserve(struct server_login *login, const struct server_address *client)
{
    int64_t now = server_now();
    int64_t wait = server_rate_table_take(login->clients, &login->each, client->bytes,
                                          server_address_significant(client), now);
    bool room;
    if (wait > 0)
        return wait;
    wait = server_rate_take(&login->all, &login->everybody, now);
    if (wait > 0) {
        give_back(login, client);
        return wait;
    }
    pthread_mutex_lock(&login->lock);
    room = login->waiting < MAX_WAITING;
    login->waiting += room;
    pthread_mutex_unlock(&login->lock);
    if (room)
        return 0;
    give_back(login, client);
    return login->all.interval;
}

void server_login_push(struct server_login *login, struct server_attempt *attempt)
{
    bool stopping;
    attempt->next = NULL;
    pthread_mutex_lock(&login->lock);
    stopping = login->stopping;
    if (!stopping) {
        if (login->first)
            login->last->next = attempt;
        else
            login->first = attempt;
        login->last = attempt;
        pthread_cond_signal(&login->changed);
    }
    pthread_mutex_unlock(&login->lock);
    if (stopping) {
        attempt->outcome = SERVER_LOGIN_STOPPED;
        attempt->done(attempt);
    }
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
    pthread_mutex_init(&login->lock, NULL);
    pthread_cond_init(&login->changed, NULL);
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
    pthread_mutex_lock(&login->lock);
    login->stopping = true;
    pthread_cond_signal(&login->changed);
    pthread_mutex_unlock(&login->lock);
    pthread_join(login->thread, NULL);
}

void server_login_free(struct server_login *login)
{
    if (!login)
        return;
    server_login_stop(login);
    pthread_cond_destroy(&login->changed);
    pthread_mutex_destroy(&login->lock);
    server_rate_table_free(login->clients);
    server_token_keys_free(login->keys);
    free(login->crypt);
    explicit_bzero(login->hash, sizeof(login->hash));
    free(login);
}

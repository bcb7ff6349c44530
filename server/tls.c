/* tls.c: see tls.h. */
#include "server/tls.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/key_file.h"

/* TLS 1.2 and 1.3; keys agreed upon anew for each connection; ciphers that authenticate by
 * themselves. */
static const char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:"
                                 "+ECDHE-ECDSA:+ECDHE-RSA:-MAC-ALL:+AEAD:%SERVER_PRECEDENCE";

struct server_tls_certificate {
    int users; /* sessions that have it, and one while it is the current one */
    gnutls_certificate_credentials_t credentials;
    time_t begins, expires; /* of the chain, what is most narrow; 0: unknown */
};

struct server_tls {
    const char *certificate_path, *key_path;
    const struct server_log *log;
    struct server_key_file first_certificate, first_key;
    gnutls_datum_t ticket_key; /* by which clients resume sessions; GnuTLS derives others in turn */
    pthread_mutex_t lock;      /* of what follows, and of every certificate's users */
    struct server_tls_certificate *current;
};

/* ---- certificates ---- */

static void free_certificate(struct server_tls_certificate *certificate)
{
    gnutls_certificate_free_credentials(certificate->credentials);
    free(certificate);
}

static void read_times(struct server_tls_certificate *certificate)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned count = 0, i;
    if (gnutls_certificate_get_x509_crt(certificate->credentials, 0, &chain, &count) < 0)
        return;
    for (i = 0; i < count; i++) {
        time_t begins = gnutls_x509_crt_get_activation_time(chain[i]);
        time_t expires = gnutls_x509_crt_get_expiration_time(chain[i]);
        if (begins > certificate->begins)
            certificate->begins = begins;
        if (expires > 0 && (certificate->expires == 0 || expires < certificate->expires))
            certificate->expires = expires;
        gnutls_x509_crt_deinit(chain[i]);
    }
    gnutls_free(chain);
}

/* Clients refuse a certificate out of its time, which is served nonetheless: it may be renewed, and a clock
 * may be wrong. */
static void check_times(const struct server_tls *tls,
                        const struct server_tls_certificate *certificate)
{
    time_t now = time(NULL);
    bool expired = certificate->expires > 0 && now >= certificate->expires;
    const time_t *at = expired ? &certificate->expires : &certificate->begins;
    struct tm parts;
    char date[40];
    if (!expired && now >= certificate->begins)
        return;
    gmtime_r(at, &parts);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &parts);
    server_log_printf(tls->log, SERVER_LOG_WARN,
                      expired ? "the certificate %s, or one of its chain, expired at %s"
                              : "the certificate %s, or one of its chain, is not valid before %s",
                      tls->certificate_path, date);
}

static distil_status parse(const struct server_tls *tls, const struct server_key_file *certificate,
                           const struct server_key_file *key,
                           struct server_tls_certificate **parsed, distil_error *error)
{
    gnutls_datum_t chain = {.data = (unsigned char *)certificate->data,
                            .size = (unsigned)certificate->length};
    gnutls_datum_t secret = {.data = (unsigned char *)key->data, .size = (unsigned)key->length};
    struct server_tls_certificate *made = calloc(1, sizeof(*made));
    int code = GNUTLS_E_MEMORY_ERROR;
    if (made)
        code = gnutls_certificate_allocate_credentials(&made->credentials);
    if (code < 0) {
        free(made);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a certificate");
    }
    code = gnutls_certificate_set_x509_key_mem2(made->credentials, &chain, &secret,
                                                GNUTLS_X509_FMT_PEM, NULL, 0);
    if (code < 0) {
        free_certificate(made);
        return distil_fail(error, DISTIL_FORMAT,
                           "the certificate %s with the key %s cannot be used: %s",
                           tls->certificate_path, tls->key_path, gnutls_strerror(code));
    }
    made->users = 1;
    read_times(made);
    check_times(tls, made);
    *parsed = made;
    return DISTIL_OK;
}

static distil_status read_files(const struct server_tls *tls, struct server_key_file *certificate,
                                struct server_key_file *key, struct server_tls_certificate **parsed,
                                distil_error *error)
{
    distil_status status =
        server_key_file_read(tls->certificate_path, false, tls->log, certificate, error);
    if (!status)
        status = server_key_file_read(tls->key_path, true, tls->log, key, error);
    return status ? status : parse(tls, certificate, key, parsed, error);
}

/* ---- lifecycle ---- */

distil_status server_tls_create(const char *certificate, const char *key,
                                const struct server_log *log, struct server_tls **tls,
                                distil_error *error)
{
    struct server_tls *made;
    distil_status status;
    *tls = NULL;
    if (!certificate && !key)
        return DISTIL_OK;
    if (!certificate || !key)
        return distil_fail(error, DISTIL_INVALID, "tls-cert and tls-key are needed both");
    made = calloc(1, sizeof(*made));
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for TLS");
    pthread_mutex_init(&made->lock, NULL);
    made->certificate_path = certificate;
    made->key_path = key;
    made->log = log;
    status = read_files(made, &made->first_certificate, &made->first_key, &made->current, error);
    if (!status && gnutls_session_ticket_key_generate(&made->ticket_key) < 0)
        status = distil_fail(error, DISTIL_SYSTEM, "no random numbers can be had");
    if (status) {
        server_tls_free(made);
        return status;
    }
    *tls = made;
    return DISTIL_OK;
}

distil_status server_tls_reload(struct server_tls *tls, distil_error *error)
{
    struct server_key_file certificate = {0}, key = {0};
    struct server_tls_certificate *next = NULL, *before;
    distil_status status = read_files(tls, &certificate, &key, &next, error);
    server_key_file_free(&certificate);
    server_key_file_free(&key);
    if (status)
        return status;
    pthread_mutex_lock(&tls->lock);
    before = tls->current;
    tls->current = next;
    pthread_mutex_unlock(&tls->lock);
    server_tls_end(tls, before);
    return DISTIL_OK;
}

void server_tls_free(struct server_tls *tls)
{
    if (!tls)
        return;
    server_tls_end(tls, tls->current);
    server_key_file_free(&tls->first_certificate);
    server_key_file_free(&tls->first_key);
    if (tls->ticket_key.data)
        gnutls_memset(tls->ticket_key.data, 0, tls->ticket_key.size);
    gnutls_free(tls->ticket_key.data);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

int64_t server_tls_expires(struct server_tls *tls)
{
    time_t expires;
    pthread_mutex_lock(&tls->lock);
    expires = tls->current->expires;
    pthread_mutex_unlock(&tls->lock);
    return (int64_t)expires;
}

/* ---- sessions ---- */

const char *server_tls_priorities(void)
{
    return priorities;
}

const char *server_tls_first_certificate(const struct server_tls *tls)
{
    return tls->first_certificate.data;
}

const char *server_tls_first_key(const struct server_tls *tls)
{
    return tls->first_key.data;
}

struct server_tls_certificate *server_tls_begin(struct server_tls *tls, void *session)
{
    struct server_tls_certificate *certificate;
    pthread_mutex_lock(&tls->lock);
    certificate = tls->current;
    certificate->users++;
    pthread_mutex_unlock(&tls->lock);
    /* without tickets clients cannot resume, which costs them time and nothing else */
    gnutls_session_ticket_enable_server(session, &tls->ticket_key);
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, certificate->credentials) == 0)
        return certificate;
    server_tls_end(tls, certificate);
    return NULL;
}

void server_tls_end(struct server_tls *tls, struct server_tls_certificate *certificate)
{
    bool last;
    if (!certificate)
        return;
    pthread_mutex_lock(&tls->lock);
    last = --certificate->users == 0;
    pthread_mutex_unlock(&tls->lock);
    if (last)
        free_certificate(certificate);
}

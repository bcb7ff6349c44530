/* tls.h: the certificate that connections are opened with, which can be replaced while they are. */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include <stdint.h>

#include "server/log.h"
#include "weights/distil_status.h"

struct server_tls;
struct server_tls_certificate;

/* Reads a certificate with its chain, and its private key, both PEM. Errors name the file, and say
 * so where the two do not belong together; one that is out of its time is warned of. NULL in *tls where both paths are NULL. */
distil_status server_tls_create(const char *certificate, const char *key,
                                const struct server_log *log, struct server_tls **tls,
                                distil_error *error);
/* Reads the files again; connections opened from then on get what they hold. After an error
 * everything is as it was. */
distil_status server_tls_reload(struct server_tls *tls, distil_error *error);
/* When the certificate of now, or the first of its chain, expires, in seconds since 1970; 0: unknown. */
int64_t server_tls_expires(struct server_tls *tls);
/* No connection may be open any more. NULL is ignored. */
void server_tls_free(struct server_tls *tls);

/* Which versions and ciphers are spoken, in GnuTLS's words. */
const char *server_tls_priorities(void);
/* The PEM texts read first, for a library that wants some to begin with. */
const char *server_tls_first_certificate(const struct server_tls *tls);
const char *server_tls_first_key(const struct server_tls *tls);

/* Gives a session (gnutls_session_t) that has not begun its handshake the certificate of now. What
 * is returned must be given back when the session has ended; NULL when it could not be set. */
struct server_tls_certificate *server_tls_begin(struct server_tls *tls, void *session);
void server_tls_end(struct server_tls *tls, struct server_tls_certificate *certificate);

#endif

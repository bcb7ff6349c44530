/* access.h: who may do what, and how often.
 *
 * router.c says what each route needs. A request brings an API key (X-API-Key, or Authorization:
 * Bearer), a token (Authorization: Bearer), or nothing; what that grants is decided here, in one
 * place, before its body is read. */
#ifndef SERVER_ACCESS_H
#define SERVER_ACCESS_H

#include <stdbool.h>

#include "server/headers.h"
#include "server/options.h"

struct server_access;
struct server_exchange;

/* Reads what the options name; errors name the option or the file and its line. */
distil_status server_access_create(const struct server_access_options *options,
                                   const struct server_log *log, struct server_access **access,
                                   distil_error *error);
/* Reads the files again. After an error everything is as it was. */
distil_status server_access_reload(struct server_access *access, distil_error *error);
void server_access_free(struct server_access *access);

/* Whether it may be listened on addresses that other machines reach: there are credentials, or it
 * was said that none are wanted. */
bool server_access_may_be_reached(const struct server_access *access);

/* Sets exchange->client to who asks, where its peer is a trusted proxy, and exchange->cors_origin to
 * what the page's origin is answered. */
void server_access_locate(const struct server_access *access, struct server_exchange *exchange,
                          const struct server_headers *headers);

/* Whether a request for exchange->route may go on. Sets exchange->who. Where it may not, it is
 * answered: 401 without a credential or with an unknown one, 403 with one for other things, 429 over
 * its rate. */
bool server_access_admit(struct server_access *access, struct server_exchange *exchange,
                         const struct server_headers *headers);

#endif

/* login.h: one password for everybody, and what an attempt to say it costs.
 *
 * The password is kept as a yescrypt hash, which takes tens of milliseconds and 16 MB to compute. One
 * thread does that, one attempt at a time, so that HTTP threads never wait for it and a flood of
 * attempts takes no more than one CPU's time. */
#ifndef SERVER_LOGIN_H
#define SERVER_LOGIN_H

#include "server/client_address.h"
#include "server/handover.h"
#include "server/options.h"
#include "server/tokens.h"

enum { SERVER_PASSWORD = 512 /* bytes of the longest that crypt(3) takes, with its NUL */ };

struct server_login;

/* An attempt, filled in by whoever makes it. */
struct server_attempt {
    struct server_handed handed;
    char password[SERVER_PASSWORD]; /* wiped before done is called */
    struct server_address client;
    bool right; /* where the outcome is SERVER_OUTCOME_DONE */
};

/* NULL in *login where the options hold no password. A password in the options is wiped. */
distil_status server_login_create(const struct server_access_options *options,
                                  const struct server_log *log, struct server_login **login,
                                  distil_error *error);
/* Ends the thread; attempts that wait, and those to come, end as stopped. NULL is ignored. */
void server_login_stop(struct server_login *login);
/* Stops and frees; no attempt may come any more. */
void server_login_free(struct server_login *login);

/* Whether a client may make an attempt now: 0; else the nanoseconds after which it may try again, as it
 * or all clients together have tried too often. An attempt does not count that has the right password, or is not taken. */
int64_t server_login_admit(struct server_login *login, const struct server_address *client);
/* Hands over an attempt that was admitted. 32 may wait. */
void server_login_push(struct server_login *login, struct server_attempt *attempt);

/* A token for who said the password, to be freed by free(); NULL when memory runs out. */
char *server_login_token(const struct server_login *login);
/* As server_token_check, for those tokens. login may be NULL: nobody has any. */
const char *server_login_check(const struct server_login *login, const char *token);

#endif

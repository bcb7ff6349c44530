/* scopes.h: what a credential allows, and what a route asks for. */
#ifndef SERVER_SCOPES_H
#define SERVER_SCOPES_H

#include <stdbool.h>
#include <stddef.h>

enum server_scope {
    SERVER_SCOPE_PREDICT = 1,
    SERVER_SCOPE_METRICS = 2,
    SERVER_SCOPE_ADMIN = 4,
    SERVER_SCOPE_SESSION = 8 /* what POST /api/login gives, and nothing else does */
};

enum {
    /* What nobody needs a credential for while none is configured, or with --allow-anonymous. */
    SERVER_SCOPES_ANONYMOUS = SERVER_SCOPE_PREDICT | SERVER_SCOPE_METRICS,
    /* What keys and tokens can be given. */
    SERVER_SCOPES_GRANTABLE = SERVER_SCOPES_ANONYMOUS | SERVER_SCOPE_ADMIN,
    /* Of a route that any credential opens. */
    SERVER_SCOPES_ANY = SERVER_SCOPES_GRANTABLE | SERVER_SCOPE_SESSION
};

/* The scope of a name, one of predict, metrics and admin; 0 for any other. */
unsigned server_scope_find(const char *name, size_t length);
/* The scopes of names with one of the separators between each two. False, with *unknown and
 * *length set to the first that is none, where one is unknown; that may be empty. */
bool server_scopes_parse(const char *names, const char *separators, unsigned *scopes,
                         const char **unknown, size_t *length);

/* Of what a route needs: a sentence for who lacks it, and what WWW-Authenticate then says. */
const char *server_scope_wanted(unsigned needs);
const char *server_scope_challenge(unsigned needs);

#endif

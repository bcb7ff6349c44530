/* scopes.c: see scopes.h. */
#include "server/scopes.h"

#include <string.h>

#define CHALLENGE(scope_) "Bearer realm=\"distild\", error=\"insufficient_scope\"" scope_

static const struct {
    const char *name;
    unsigned scope;
    const char *wanted, *challenge;
} known[] = {
    {"predict", SERVER_SCOPE_PREDICT, "the scope predict is needed",
     CHALLENGE(", scope=\"predict\"")},
    {"metrics", SERVER_SCOPE_METRICS, "the scope metrics is needed",
     CHALLENGE(", scope=\"metrics\"")},
    {"admin", SERVER_SCOPE_ADMIN, "the scope admin is needed", CHALLENGE(", scope=\"admin\"")},
};
enum { KNOWN = sizeof(known) / sizeof(*known) };

unsigned server_scope_find(const char *name, size_t length)
{
    int i;
    for (i = 0; i < KNOWN; i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0)
            return known[i].scope;
    return 0;
}

bool server_scopes_parse(const char *names, const char *separators, unsigned *scopes,
                         const char **unknown, size_t *length)
{
    *scopes = 0;
    for (;;) {
        unsigned scope;
        *length = strcspn(names, separators);
        scope = server_scope_find(names, *length);
        if (!scope) {
            *unknown = names;
            return false;
        }
        *scopes |= scope;
        if (!names[*length])
            return true;
        names += *length + 1;
    }
}

const char *server_scope_wanted(unsigned needs)
{
    int i;
    for (i = 0; i < KNOWN; i++)
        if (known[i].scope == needs)
            return known[i].wanted;
    return "another scope is needed";
}

const char *server_scope_challenge(unsigned needs)
{
    int i;
    for (i = 0; i < KNOWN; i++)
        if (known[i].scope == needs)
            return known[i].challenge;
    return CHALLENGE("");
}

/* tokens.h: JSON Web Tokens, signed with HS256, RS256 or ES256.
 *
 * Keys come from a file, a line each:
 *
 *     # kid   algorithm  key            whose tokens       for whom     what they may be granted
 *     main    RS256      issuer.pem     iss=https://id/    aud=distild  scope=predict,metrics
 *     ci      HS256      ci.secret      iss=ci             aud=distild  scope=predict
 *
 * A key has one algorithm, whatever a token's header says; issuer and audience belong to the key as
 * well. Signatures of RS256 and ES256 must be good to GnuTLS, which finds out ten times sooner, and
 * then to libjwt; libjwt writes our own tokens. HMACs are computed and compared here, in constant time,
 * so that nothing depends on how a version of libjwt compares strings. */
#ifndef SERVER_TOKENS_H
#define SERVER_TOKENS_H

#include <stdint.h>

#include "server/key_file.h"
#include "server/scopes.h"

enum {
    SERVER_TOKEN_LIMIT = 8192, /* characters */
    SERVER_TOKEN_KEYS_MOST = 64,
    SERVER_TOKEN_LEEWAY = 30, /* seconds that another machine's clock may be ahead, for nbf */
    SERVER_TOKEN_SUBJECT = 96,
    SERVER_TOKEN_CLAIM = 256,
    SERVER_TOKEN_CACHE = 1024 /* tokens */
};

enum server_algorithm { SERVER_HS256, SERVER_RS256, SERVER_ES256 };

struct server_token_key {
    char name[SERVER_KEY_NAME]; /* which a token's kid may ask for */
    enum server_algorithm algorithm;
    struct server_key_file key; /* a secret, or a public key as PEM */
    void *public_key;           /* gnutls_pubkey_t of the latter; NULL for a secret */
    char issuer[SERVER_TOKEN_CLAIM], audience[SERVER_TOKEN_CLAIM];
    unsigned grants; /* scopes that each of its tokens has */
    unsigned most;   /* scopes that its tokens have where their claim `scope` names them */
};

struct server_token_cache;

struct server_token_keys {
    int count;
    struct server_token_key *keys;
    struct server_token_cache *cache; /* of signatures found good */
};

/* What a good token says. */
struct server_token {
    const struct server_token_key *key;
    char subject[SERVER_TOKEN_SUBJECT]; /* "" where it names none; a longer one is cut */
    unsigned scopes;
};

/* Reads a file of keys and the files it names, relative to its own place. Errors name the file and
 * the line. */
distil_status server_token_keys_open(const char *path, const struct server_log *log,
                                     struct server_token_keys **keys, distil_error *error);
/* One HS256 key of length random bytes or of a file's, for tokens of our own. */
distil_status server_token_keys_own(const char *secret_path, const char *audience, unsigned grants,
                                    const struct server_log *log, struct server_token_keys **keys,
                                    distil_error *error);
void server_token_keys_free(struct server_token_keys *keys);

/* Whether text is a token of one of the keys that holds now (seconds since 1970): NULL, with *token
 * filled in, or what is wrong with it, a sentence of static storage. */
const char *server_token_check(const struct server_token_keys *keys, const char *text, int64_t now,
                               struct server_token *token);
/* A token of the first key, an HS256 one, for a subject, from now on and for some seconds; to be
 * freed by free(). NULL when memory runs out. */
char *server_token_issue(const struct server_token_keys *keys, const char *subject, int64_t now,
                         int64_t seconds);

#endif

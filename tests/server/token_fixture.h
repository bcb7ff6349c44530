/* token_fixture.h: a folder with keys of each kind, and tokens signed as one likes. */
#ifndef TESTS_SERVER_TOKEN_FIXTURE_H
#define TESTS_SERVER_TOKEN_FIXTURE_H

#include <gnutls/abstract.h>

#include "server/tokens.h"

/* The time at which the tests look at tokens, and the secret of the key hs. */
#define NOW 1750000000
#define SECRET "0123456789abcdef0123456789abcdef"

/* Bytes that a token may have. */
enum { TOKEN = 16384 };

/* Headers for each key. */
#define HS "{\"alg\":\"HS256\",\"kid\":\"hs\"}"
#define RS "{\"alg\":\"RS256\",\"kid\":\"rs\",\"typ\":\"JWT\"}"
#define ES "{\"alg\":\"ES256\",\"kid\":\"es\"}"
/* claims that are good, but for what a test adds */
#define CLAIMS(more) "{\"iss\":\"me\",\"aud\":\"distild\"" more "}"
#define GOOD                                                                                       \
    CLAIMS(",\"exp\":1750000100,\"sub\":\"anna\",\"scope\":\"openid predict admin metrics\"")

struct folder {
    char path[64];
    gnutls_privkey_t rsa, ec;
    struct server_token_keys *keys;
};

/* Reads the lines as a file of keys. */
distil_status open_keys(struct folder *f, const char *lines, distil_error *error);
/* Make the keys, which all tests of a case share, and remove them: RSA keys take their time. */
void make_folder(void);
void remove_folder(void);
/* With the keys hs, rs and es open. */
void begin_folder(struct folder *f);
void end_folder(struct folder *f);
/* Append to a token, NUL-terminated, in base64url. */
void append_encoded(char *token, const void *bytes, size_t size);
void sign_hmac(char *token, const void *key, size_t length);
void sign_with(char *token, gnutls_privkey_t key);
/* HEADER.PAYLOAD, to be signed. */
void unsigned_token(char *token, const char *header, const char *payload);
/* A token signed with the secret; returns token. */
const char *hs_token(char *token, const char *header, const char *payload);
/* Another character that base64url has. */
void change(char *digit);
/* Fails the test unless the token is refused and the problem is said. */
void refuse(const struct folder *f, const char *token, const char *problem);

#endif

/* api_keys.h: API keys from a file that holds their hashes:
 *
 *     # name   SHA-256 of the key   what it may do          how often, if not as often as it likes
 *     shop     sha256:2c26b46b...   scope=predict           rate=50/s:100
 *     grafana  sha256:fcde2b2e...   scope=metrics
 *
 * A key is 32 random bytes, so that its plain hash can neither be guessed nor looked up. */
#ifndef SERVER_API_KEYS_H
#define SERVER_API_KEYS_H

#include "server/key_file.h"
#include "server/rate_limit.h"
#include "server/scopes.h"

enum {
    SERVER_API_KEY_SIZE = 52, /* of a key as text, with its NUL */
    SERVER_API_KEYS_MOST = 1024,
    SERVER_API_KEY_LINE = 512
};

struct server_api_key {
    char name[SERVER_KEY_NAME];
    unsigned char hash[32];
    unsigned scopes;
    struct server_rate rate; /* interval 0: the server's own */
    _Atomic int64_t bucket;  /* of its rate */
};

struct server_api_keys {
    int count;
    struct server_api_key *keys;
};

/* Reads a file. Errors name the file and the line: DISTIL_FORMAT, and those of
 * server_key_file_read. */
distil_status server_api_keys_open(const char *path, const struct server_log *log,
                                   struct server_api_keys **keys, distil_error *error);
void server_api_keys_free(struct server_api_keys *keys);

/* Gives each key with a rate what it has used of the same rate among the keys of before; NULL: there were none. */
void server_api_keys_inherit(struct server_api_keys *keys, const struct server_api_keys *before);

/* The key that text is, compared in constant time with all of them; NULL where it is none. */
struct server_api_key *server_api_keys_find(struct server_api_keys *keys, const char *text);

/* The key that is the password of HTTP's Basic credentials: base64 of USER:KEY, whoever USER is. NULL where it is none. */
struct server_api_key *server_api_keys_find_basic(struct server_api_keys *keys,
                                                  const char *encoded);

/* Makes a key, and the line of the file that admits it, with its newline. DISTIL_INVALID for a name,
 * scopes (with commas between them) or a rate (NULL: none) that no line could have. */
distil_status server_api_key_make(const char *name, const char *scopes, const char *rate,
                                  char key[SERVER_API_KEY_SIZE], char line[SERVER_API_KEY_LINE],
                                  distil_error *error);

#endif

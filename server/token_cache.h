/* token_cache.h: which tokens had a good signature, as checking one takes half a millisecond with
 * libjwt. A fixed number of them, each by the SHA-256 of all its text; what a token says is checked
 * each time. */
#ifndef SERVER_TOKEN_CACHE_H
#define SERVER_TOKEN_CACHE_H

#include <stdbool.h>

struct server_token_cache;

struct server_token_digest {
    unsigned char bytes[32];
};

/* NULL when memory runs out. */
struct server_token_cache *server_token_cache_create(void);
void server_token_cache_free(struct server_token_cache *cache);

/* False when the digest could not be computed. */
bool server_token_digest_of(const char *text, struct server_token_digest *digest);
bool server_token_cache_holds(struct server_token_cache *cache,
                              const struct server_token_digest *digest);
/* Puts a digest in the place of another. */
void server_token_cache_put(struct server_token_cache *cache,
                            const struct server_token_digest *digest);

#endif

/* token_cache.c: see token_cache.h. */
#include "server/token_cache.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/tokens.h"

struct server_token_cache {
    pthread_mutex_t lock;
    struct server_token_digest places[SERVER_TOKEN_CACHE]; /* zero: free; no text has that digest */
};

struct server_token_cache *server_token_cache_create(void)
{
    struct server_token_cache *cache = calloc(1, sizeof(*cache));
    if (cache)
        pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

void server_token_cache_free(struct server_token_cache *cache)
{
    if (!cache)
        return;
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

bool server_token_digest_of(const char *text, struct server_token_digest *digest)
{
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), digest->bytes) == 0;
}

static struct server_token_digest *place_of(struct server_token_cache *cache,
                                            const struct server_token_digest *digest)
{
    unsigned number = (unsigned)digest->bytes[0] << 8 | digest->bytes[1];
    return &cache->places[number % SERVER_TOKEN_CACHE];
}

bool server_token_cache_holds(struct server_token_cache *cache,
                              const struct server_token_digest *digest)
{
    bool held;
    pthread_mutex_lock(&cache->lock);
    held = memcmp(place_of(cache, digest), digest, sizeof(*digest)) == 0;
    pthread_mutex_unlock(&cache->lock);
    return held;
}

void server_token_cache_put(struct server_token_cache *cache,
                            const struct server_token_digest *digest)
{
    pthread_mutex_lock(&cache->lock);
    *place_of(cache, digest) = *digest;
    pthread_mutex_unlock(&cache->lock);
}

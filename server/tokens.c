/* tokens.c: see tokens.h. */
#include "server/tokens.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jwt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/base64url.h"
#include "server/json_input.h"
#include "server/token_cache.h"

enum { HMAC = 32, ES256_SIGNATURE = 64 };

static const double last_second = 253402300799; /* of the year 9999 */

static const char no_memory[] = "the token could not be checked: out of memory";

/* A token's parts. */
struct parts {
    const char *header, *payload, *signature;
    size_t header_length, payload_length, signature_length;
};

static const char *split(const char *text, struct parts *parts)
{
    const char *first, *second;
    if (strnlen(text, SERVER_TOKEN_LIMIT + 1) > SERVER_TOKEN_LIMIT)
        return "the token is too long";
    first = strchr(text, '.');
    second = first ? strchr(first + 1, '.') : NULL;
    if (!second || strchr(second + 1, '.'))
        return "the token has not three parts";
    parts->header = text;
    parts->header_length = (size_t)(first - text);
    parts->payload = first + 1;
    parts->payload_length = (size_t)(second - first) - 1;
    parts->signature = second + 1;
    parts->signature_length = strlen(second + 1);
    return parts->signature_length ? NULL : "the token is not signed";
}

/* The JSON object that base64url spells; NULL, with *problem set, where there is none. */
static cJSON *read_object(const char *text, size_t length, const char **problem)
{
    unsigned char *bytes = malloc(length + 1);
    struct server_problem ignored;
    cJSON *object = NULL;
    size_t size;
    *problem = no_memory;
    if (!bytes)
        return NULL;
    *problem = "the token is not spelt in base64url";
    if (server_base64url_decode(text, length, bytes, &size)) {
        *problem = "the token's parts are not JSON objects without repeated names";
        object = server_json_parse((const char *)bytes, size, &ignored);
    }
    free(bytes);
    if (object && !cJSON_IsObject(object)) {
        cJSON_Delete(object);
        object = NULL;
    }
    return object;
}

/* ---- the key ---- */

/* The key that a header asks for by its kid, or the only one; NULL where there is none. */
static const struct server_token_key *find_key(const struct server_token_keys *keys,
                                               const cJSON *header)
{
    const cJSON *kid = cJSON_GetObjectItemCaseSensitive(header, "kid");
    int i;
    if (!kid)
        return keys->count == 1 ? &keys->keys[0] : NULL;
    if (!cJSON_IsString(kid))
        return NULL;
    for (i = 0; i < keys->count; i++)
        if (strcmp(keys->keys[i].name, kid->valuestring) == 0)
            return &keys->keys[i];
    return NULL;
}

static const char *check_header(const struct server_token_keys *keys, const struct parts *parts,
                                const struct server_token_key **key)
{
    static const char *const names[] = {"HS256", "RS256", "ES256"};
    const char *problem;
    cJSON *header = read_object(parts->header, parts->header_length, &problem);
    const cJSON *algorithm = cJSON_GetObjectItemCaseSensitive(header, "alg");
    if (!header)
        return problem;
    problem = NULL;
    *key = find_key(keys, header);
    if (cJSON_GetObjectItemCaseSensitive(header, "crit"))
        problem = "the token has critical extensions, of which none is known";
    else if (!*key)
        problem = "the token's key is not known";
    else if (!cJSON_IsString(algorithm) ||
             strcmp(algorithm->valuestring, names[(*key)->algorithm]) != 0)
        problem = "the token's algorithm is not that of its key";
    cJSON_Delete(header);
    return problem;
}

/* ---- the signature ---- */

static bool hmac_matches(const struct server_token_key *key, const struct parts *parts,
                         const unsigned char *signature, size_t size)
{
    unsigned char wanted[HMAC];
    size_t signed_length = (size_t)(parts->signature - parts->header) - 1;
    bool same;
    if (size != HMAC || gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->key.data, key->key.length,
                                         parts->header, signed_length, wanted) < 0)
        return false;
    same = gnutls_memcmp(wanted, signature, HMAC) == 0;
    gnutls_memset(wanted, 0, sizeof(wanted));
    return same;
}

/* Whether GnuTLS finds the signature good: r and s one after the other for ES256, which it wants in
 * DER. */
static bool gnutls_agrees(const struct server_token_key *key, const struct parts *parts,
                          unsigned char *signature, size_t size)
{
    gnutls_datum_t text = {0}, given = {.data = signature, .size = (unsigned)size}, der = {0};
    gnutls_datum_t r = {.data = signature, .size = ES256_SIGNATURE / 2};
    gnutls_datum_t s = {.data = signature + ES256_SIGNATURE / 2, .size = ES256_SIGNATURE / 2};
    bool good;
    union {
        const char *from;
        unsigned char *to;
    } header = {parts->header};
    text.data = header.to; /* which is only read */
    text.size = (unsigned)(parts->signature - parts->header) - 1;
    if (key->algorithm == SERVER_RS256)
        return gnutls_pubkey_verify_data2(key->public_key, GNUTLS_SIGN_RSA_SHA256, 0, &text,
                                          &given) >= 0;
    if (size != ES256_SIGNATURE || gnutls_encode_rs_value(&der, &r, &s) < 0)
        return false;
    good =
        gnutls_pubkey_verify_data2(key->public_key, GNUTLS_SIGN_ECDSA_SHA256, 0, &text, &der) >= 0;
    gnutls_free(der.data);
    return good;
}

static bool libjwt_agrees(const struct server_token_key *key, const char *text)
{
    jwt_alg_t wanted = key->algorithm == SERVER_RS256 ? JWT_ALG_RS256 : JWT_ALG_ES256;
    jwt_t *jwt = NULL;
    bool good =
        jwt_decode(&jwt, text, (const unsigned char *)key->key.data, (int)key->key.length) == 0 &&
        jwt_get_alg(jwt) == wanted;
    jwt_free(jwt);
    return good;
}

/* Whether both do, asked once for each token. GnuTLS comes first: it has the key ready, where libjwt
 * reads it anew, and forgeries should cost little. */
static bool both_agreed(const struct server_token_keys *keys, const struct server_token_key *key,
                        const struct parts *parts, unsigned char *signature, size_t size)
{
    const char *text = parts->header;
    struct server_token_digest digest;
    bool digested = server_token_digest_of(text, &digest);
    if (digested && server_token_cache_holds(keys->cache, &digest))
        return true;
    if (!gnutls_agrees(key, parts, signature, size) || !libjwt_agrees(key, text))
        return false;
    if (digested)
        server_token_cache_put(keys->cache, &digest);
    return true;
}

static const char *check_signature(const struct server_token_keys *keys,
                                   const struct server_token_key *key, const struct parts *parts)
{
    unsigned char *signature = malloc(parts->signature_length);
    bool good = false;
    size_t size;
    if (!signature)
        return no_memory;
    if (!server_base64url_decode(parts->signature, parts->signature_length, signature, &size)) {
        free(signature);
        return "the token is not spelt in base64url";
    }
    switch (key->algorithm) {
    case SERVER_HS256:
        good = hmac_matches(key, parts, signature, size);
        break;
    case SERVER_RS256:
    case SERVER_ES256:
        good = both_agreed(keys, key, parts, signature, size);
        break;
    }
    free(signature);
    return good ? NULL : "the token's signature is wrong";
}

/* ---- the claims ---- */

/* Reads a time in seconds; absent ones leave *seconds as it is. */
static bool read_time(const cJSON *claims, const char *name, double *seconds)
{
    const cJSON *claim = cJSON_GetObjectItemCaseSensitive(claims, name);
    if (!claim)
        return true;
    if (!cJSON_IsNumber(claim) || !isfinite(claim->valuedouble) || claim->valuedouble < 0 ||
        claim->valuedouble > last_second)
        return false;
    *seconds = claim->valuedouble;
    return true;
}

static const char *check_times(const cJSON *claims, int64_t now)
{
    double expires = -1, begins = 0, issued = 0;
    if (!read_time(claims, "exp", &expires) || !read_time(claims, "nbf", &begins) ||
        !read_time(claims, "iat", &issued))
        return "exp, nbf or iat of the token is not a time in seconds";
    if (expires < 0)
        return "the token has no exp";
    if ((double)now >= expires)
        return "the token has expired";
    if ((double)now + SERVER_TOKEN_LEEWAY < begins)
        return "the token is not valid yet";
    return NULL;
}

static bool is_string(const cJSON *value, const char *wanted)
{
    return cJSON_IsString(value) && strcmp(value->valuestring, wanted) == 0;
}

/* Whether aud is the audience, or an array that holds it. */
static bool is_meant(const cJSON *audience, const char *wanted)
{
    const cJSON *one;
    if (!cJSON_IsArray(audience))
        return is_string(audience, wanted);
    cJSON_ArrayForEach(one, audience) if (is_string(one, wanted)) return true;
    return false;
}

/* The scopes that a claim names, with spaces between them; names that are none of ours are for
 * others. */
static unsigned scopes_of(const char *names)
{
    unsigned scopes = 0;
    while (*names) {
        size_t length = strcspn(names, " ");
        scopes |= server_scope_find(names, length);
        names += length;
        names += strspn(names, " ");
    }
    return scopes;
}

static const char *check_claims(const struct server_token_key *key, const cJSON *claims,
                                int64_t now, struct server_token *token)
{
    const cJSON *subject = cJSON_GetObjectItemCaseSensitive(claims, "sub");
    const cJSON *scope = cJSON_GetObjectItemCaseSensitive(claims, "scope");
    const char *problem = check_times(claims, now);
    if (problem)
        return problem;
    if (!is_string(cJSON_GetObjectItemCaseSensitive(claims, "iss"), key->issuer))
        return "the token is not from the issuer of its key";
    if (!is_meant(cJSON_GetObjectItemCaseSensitive(claims, "aud"), key->audience))
        return "the token is not meant for this server";
    if ((subject && !cJSON_IsString(subject)) || (scope && !cJSON_IsString(scope)))
        return "sub or scope of the token is not a string";
    token->key = key;
    token->subject[0] = '\0';
    if (subject)
        strncat(token->subject, subject->valuestring, sizeof(token->subject) - 1);
    token->scopes = key->grants | (scope ? scopes_of(scope->valuestring) & key->most : 0);
    return NULL;
}

/* ---- tokens ---- */

const char *server_token_check(const struct server_token_keys *keys, const char *text, int64_t now,
                               struct server_token *token)
{
    const struct server_token_key *key = NULL;
    struct parts parts;
    const char *problem = split(text, &parts);
    cJSON *claims;
    if (!problem)
        problem = check_header(keys, &parts, &key);
    if (!problem)
        problem = check_signature(keys, key, &parts);
    if (problem)
        return problem;
    /* nothing is read of what nobody vouches for */
    claims = read_object(parts.payload, parts.payload_length, &problem);
    if (!claims)
        return problem;
    problem = check_claims(key, claims, now, token);
    cJSON_Delete(claims);
    return problem;
}

char *server_token_issue(const struct server_token_keys *keys, const char *subject, int64_t now,
                         int64_t seconds)
{
    const struct server_token_key *key = &keys->keys[0];
    char *text = NULL;
    jwt_t *jwt = NULL;
    if (jwt_new(&jwt))
        return NULL;
    if (jwt_add_grant(jwt, "iss", key->issuer) == 0 &&
        jwt_add_grant(jwt, "aud", key->audience) == 0 && jwt_add_grant(jwt, "sub", subject) == 0 &&
        jwt_add_grant_int(jwt, "iat", now) == 0 &&
        jwt_add_grant_int(jwt, "exp", now + seconds) == 0 &&
        jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)key->key.data,
                    (int)key->key.length) == 0)
        text = jwt_encode_str(jwt);
    jwt_free(jwt);
    return text;
}

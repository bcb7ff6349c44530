/* token_keys.c: the keys of tokens.h, read and judged. */
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/token_cache.h"
#include "server/tokens.h"

enum {
    LEAST_SECRET = 32, /* bytes: a shorter one is weaker than the hash */
    LEAST_RSA = 2048,  /* bits */
    MOST_RSA = 8192    /* beyond which a signature takes long to check */
};

static const char *const algorithms[] = {"HS256", "RS256", "ES256"};

static bool find_algorithm(const char *name, enum server_algorithm *algorithm)
{
    int i;
    for (i = 0; i < 3; i++)
        if (strcmp(name, algorithms[i]) == 0) {
            *algorithm = (enum server_algorithm)i;
            return true;
        }
    return false;
}

/* ---- one key ---- */

static distil_status check_secret(const char *path, const struct server_key_file *key,
                                  distil_error *error)
{
    if (key->length < LEAST_SECRET)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: a secret of %zu bytes, at least %d are expected", path, key->length,
                           LEAST_SECRET);
    /* whoever knows the public key could sign with it */
    if (memmem(key->data, key->length, "-----BEGIN", 10))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: holds a PEM key, which cannot be the secret of HS256", path);
    return DISTIL_OK;
}

/* Whether a public key is one that the algorithm is for. */
static distil_status check_public(const char *path, enum server_algorithm algorithm,
                                  gnutls_pubkey_t key, distil_error *error)
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    unsigned bits = 0;
    int kind = gnutls_pubkey_get_pk_algorithm(key, &bits);
    if (algorithm == SERVER_RS256) {
        if (kind != GNUTLS_PK_RSA)
            return distil_fail(error, DISTIL_FORMAT, "%s: no RSA key, which RS256 needs", path);
        if (bits < LEAST_RSA || bits > MOST_RSA)
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: an RSA key of %u bits, %d to %d are expected", path, bits,
                               LEAST_RSA, MOST_RSA);
        return DISTIL_OK;
    }
    if (kind != GNUTLS_PK_ECDSA || gnutls_pubkey_export_ecc_raw2(key, &curve, NULL, NULL, 0) < 0 ||
        curve != GNUTLS_ECC_CURVE_SECP256R1)
        return distil_fail(error, DISTIL_FORMAT, "%s: no key on the curve P-256, which ES256 needs",
                           path);
    return DISTIL_OK;
}

static distil_status read_pem(const char *path, struct server_token_key *key, distil_error *error)
{
    gnutls_datum_t pem = {.data = (unsigned char *)key->key.data,
                          .size = (unsigned)key->key.length};
    gnutls_pubkey_t public_key;
    if (strstr(key->key.data, "PRIVATE KEY"))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: holds a private key; the server needs the public one alone", path);
    if (gnutls_pubkey_init(&public_key) < 0)
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    key->public_key = public_key;
    if (!strstr(key->key.data, "-----BEGIN PUBLIC KEY-----") ||
        gnutls_pubkey_import(public_key, &pem, GNUTLS_X509_FMT_PEM) < 0)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: no public key in PEM (-----BEGIN PUBLIC KEY-----)", path);
    return check_public(path, key->algorithm, public_key, error);
}

static void free_key(struct server_token_key *key)
{
    server_key_file_free(&key->key);
    if (key->public_key)
        gnutls_pubkey_deinit(key->public_key);
    key->public_key = NULL;
}

static distil_status read_material(const char *path, const struct server_log *log,
                                   struct server_token_key *key, distil_error *error)
{
    distil_status status;
    if (key->algorithm == SERVER_HS256) {
        status = server_secret_read(path, log, &key->key, error);
        return status ? status : check_secret(path, &key->key, error);
    }
    status = server_key_file_read(path, false, log, &key->key, error);
    return status ? status : read_pem(path, key, error);
}

/* ---- the file ---- */

static bool copy_claim(char *to, const char *from)
{
    size_t length = from ? strlen(from) : 0;
    if (length == 0 || length >= SERVER_TOKEN_CLAIM)
        return false;
    memcpy(to, from, length + 1);
    return true;
}

/* What is wrong with a line; NULL where nothing is. Fills in all but the key itself. */
static const char *read_fields(const struct server_key_line *line, struct server_token_key *key)
{
    const char *unknown, *scopes;
    size_t length;
    if (line->count != 6)
        return "KID ALGORITHM FILE iss=ISSUER aud=AUDIENCE scope=SCOPES is expected";
    if (!server_key_name_valid(line->fields[0]))
        return "a kid is 1 to 64 letters, digits, dots, dashes and underscores";
    snprintf(key->name, sizeof(key->name), "%s", line->fields[0]);
    if (!find_algorithm(line->fields[1], &key->algorithm))
        return "the algorithm must be HS256, RS256 or ES256";
    if (!copy_claim(key->issuer, server_key_line_value(line, 3, "iss")) ||
        !copy_claim(key->audience, server_key_line_value(line, 3, "aud")))
        return "iss= and aud= are needed, of 1 to 255 bytes: what the claims of its tokens must be";
    scopes = server_key_line_value(line, 3, "scope");
    if (!scopes || !server_scopes_parse(scopes, ",", &key->most, &unknown, &length))
        return "scope= is needed, of predict, metrics and admin: what its tokens may be granted";
    return NULL;
}

/* The place of a file named in another, from which its name is relative. */
static char *resolve(const char *base, const char *name)
{
    const char *slash = strrchr(base, '/');
    char *path = NULL;
    if (*name == '/' || !slash)
        return strdup(name);
    if (asprintf(&path, "%.*s/%s", (int)(slash - base), base, name) < 0)
        return NULL;
    return path;
}

static distil_status read_key(const char *path, const struct server_key_line *line,
                              const struct server_log *log, struct server_token_key *key,
                              distil_error *error)
{
    const char *problem = read_fields(line, key);
    distil_error reason;
    distil_status status;
    char *material;
    if (problem)
        return distil_fail(error, DISTIL_FORMAT, "%s, line %d: %s", path, line->number, problem);
    material = resolve(path, line->fields[2]);
    if (!material)
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    status = read_material(material, log, key, &reason);
    free(material);
    return status
               ? distil_fail(error, status, "%s, line %d: %s", path, line->number, reason.message)
               : DISTIL_OK;
}

static bool is_known(const struct server_token_keys *keys, const char *name)
{
    int i;
    for (i = 0; i < keys->count; i++)
        if (strcmp(keys->keys[i].name, name) == 0)
            return true;
    return false;
}

static distil_status read_keys(const char *path, char *text, const struct server_log *log,
                               struct server_token_keys *keys, distil_error *error)
{
    struct server_key_line line = {0};
    while (server_key_file_next(&text, &line)) {
        struct server_token_key *key = &keys->keys[keys->count];
        distil_status status;
        if (keys->count == SERVER_TOKEN_KEYS_MOST)
            return distil_fail(error, DISTIL_FORMAT, "%s, line %d: more than %d keys", path,
                               line.number, SERVER_TOKEN_KEYS_MOST);
        if (is_known(keys, line.fields[0]))
            return distil_fail(error, DISTIL_FORMAT, "%s, line %d: the kid %.64s stands twice",
                               path, line.number, line.fields[0]);
        status = read_key(path, &line, log, key, error);
        if (status) {
            free_key(key);
            return status;
        }
        keys->count++;
    }
    if (keys->count == 0)
        return distil_fail(error, DISTIL_FORMAT, "%s: the file holds no key", path);
    return DISTIL_OK;
}

static struct server_token_keys *allocate(int count)
{
    struct server_token_keys *keys = calloc(1, sizeof(*keys));
    if (!keys)
        return NULL;
    keys->keys = calloc((size_t)count, sizeof(*keys->keys));
    keys->cache = server_token_cache_create();
    if (keys->keys && keys->cache)
        return keys;
    server_token_keys_free(keys);
    return NULL;
}

distil_status server_token_keys_open(const char *path, const struct server_log *log,
                                     struct server_token_keys **keys, distil_error *error)
{
    struct server_key_file file;
    struct server_token_keys *made;
    distil_status status = server_key_file_read(path, false, log, &file, error);
    if (status)
        return status;
    made = allocate(SERVER_TOKEN_KEYS_MOST);
    status = made ? read_keys(path, file.data, log, made, error)
                  : distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    server_key_file_free(&file);
    if (status) {
        server_token_keys_free(made);
        return status;
    }
    *keys = made;
    return DISTIL_OK;
}

distil_status server_token_keys_own(const char *secret_path, const char *audience, unsigned grants,
                                    const struct server_log *log, struct server_token_keys **keys,
                                    distil_error *error)
{
    struct server_token_keys *made = allocate(1);
    struct server_token_key *key = made ? &made->keys[0] : NULL;
    distil_status status = DISTIL_OK;
    if (!key)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a key");
    made->count = 1;
    snprintf(key->name, sizeof(key->name), "%s", audience);
    snprintf(key->issuer, sizeof(key->issuer), "distild");
    snprintf(key->audience, sizeof(key->audience), "%s", audience);
    key->algorithm = SERVER_HS256;
    key->grants = grants;
    if (secret_path) {
        status = read_material(secret_path, log, key, error);
    } else {
        key->key.length = LEAST_SECRET;
        key->key.data = calloc(1, LEAST_SECRET + 1);
        if (!key->key.data)
            status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a key");
        else if (gnutls_rnd(GNUTLS_RND_KEY, key->key.data, LEAST_SECRET) < 0)
            status = distil_fail(error, DISTIL_SYSTEM, "no random numbers can be had");
    }
    if (status) {
        server_token_keys_free(made);
        return status;
    }
    *keys = made;
    return DISTIL_OK;
}

void server_token_keys_free(struct server_token_keys *keys)
{
    int i;
    if (!keys)
        return;
    for (i = 0; i < keys->count; i++)
        free_key(&keys->keys[i]);
    server_token_cache_free(keys->cache);
    free(keys->keys);
    free(keys);
}

/* api_keys.c: see api_keys.h. */
#include "server/api_keys.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base64url.h"

enum {
    HASH = 32,
    BASIC_MOST = 1024 /* of Basic credentials, in base64 */
};

static const char key_prefix[] = "distild-";
static const char hash_prefix[] = "sha256:";

static bool read_hash(const char *text, unsigned char *hash)
{
    size_t length = sizeof(hash_prefix) - 1, size = HASH;
    gnutls_datum_t hex;
    union {
        const char *from;
        unsigned char *to;
    } digits;
    if (strncmp(text, hash_prefix, length) != 0 || strlen(text + length) != 2 * (size_t)HASH)
        return false;
    digits.from = text + length;
    hex.data = digits.to; /* which is only read */
    hex.size = 2 * HASH;
    return gnutls_hex_decode(&hex, hash, &size) == 0 && size == HASH;
}

/* ---- reading ---- */

/* What is wrong with the fields from the second on; NULL where nothing is. */
static const char *check_fields(const struct server_key_line *line)
{
    int i, scopes = 0, rates = 0;
    if (line->count < 3)
        return "NAME sha256:HASH scope=SCOPES [rate=RATE] is expected";
    if (line->count > 4)
        return "more fields than NAME sha256:HASH scope=SCOPES [rate=RATE]";
    for (i = 2; i < line->count; i++) {
        scopes += strncmp(line->fields[i], "scope=", 6) == 0;
        rates += strncmp(line->fields[i], "rate=", 5) == 0;
    }
    if (scopes + rates < line->count - 2)
        return "after the hash only scope= and rate= are known";
    if (scopes != 1 || rates > 1)
        return "scope= is needed once, and rate= may stand once";
    return NULL;
}

static const char name_rule[] = "a name is 1 to 64 letters, digits, dots, dashes and underscores";

/* What the key may do, and how often (NULL: as often as it likes). */
static distil_status read_rights(const char *scopes, const char *rate, struct server_api_key *key,
                                 distil_error *error)
{
    const char *unknown;
    size_t length;
    if (!server_scopes_parse(scopes, ",", &key->scopes, &unknown, &length))
        return distil_fail(error, DISTIL_FORMAT,
                           "'%.*s' is no scope: predict, metrics and admin are",
                           length < 40 ? (int)length : 40, unknown);
    if (rate && !server_rate_parse(rate, &key->rate))
        return distil_fail(error, DISTIL_FORMAT, "'%.40s' is no rate such as 50/s or 600/m:20",
                           rate);
    return DISTIL_OK;
}

static distil_status read_key(const char *path, const struct server_key_line *line,
                              struct server_api_key *key, distil_error *error)
{
    const char *problem = check_fields(line);
    distil_error reason;
    if (problem)
        return distil_fail(error, DISTIL_FORMAT, "%s, line %d: %s", path, line->number, problem);
    if (!server_key_name_valid(line->fields[0]))
        return distil_fail(error, DISTIL_FORMAT, "%s, line %d: %s", path, line->number, name_rule);
    snprintf(key->name, sizeof(key->name), "%s", line->fields[0]);
    /* what stands in place of the hash is not shown: it may be a key */
    if (!read_hash(line->fields[1], key->hash))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line %d: %s: sha256: and 64 hexadecimal digits are expected", path,
                           line->number, key->name);
    if (read_rights(server_key_line_value(line, 2, "scope"), server_key_line_value(line, 2, "rate"),
                    key, &reason))
        return distil_fail(error, DISTIL_FORMAT, "%s, line %d: %s: %s", path, line->number,
                           key->name, reason.message);
    return DISTIL_OK;
}

static distil_status check_new(const char *path, int number, const struct server_api_keys *keys,
                               const struct server_api_key *key, distil_error *error)
{
    int i;
    for (i = 0; i < keys->count; i++) {
        if (strcmp(keys->keys[i].name, key->name) == 0)
            return distil_fail(error, DISTIL_FORMAT, "%s, line %d: the name %s stands twice", path,
                               number, key->name);
        if (memcmp(keys->keys[i].hash, key->hash, HASH) == 0)
            return distil_fail(error, DISTIL_FORMAT, "%s, line %d: %s has the key of %s", path,
                               number, key->name, keys->keys[i].name);
    }
    return DISTIL_OK;
}

static distil_status read_keys(const char *path, char *text, struct server_api_keys *keys,
                               distil_error *error)
{
    struct server_key_line line = {0};
    distil_status status = DISTIL_OK;
    while (!status && server_key_file_next(&text, &line)) {
        struct server_api_key *key = &keys->keys[keys->count];
        if (keys->count == SERVER_API_KEYS_MOST)
            return distil_fail(error, DISTIL_FORMAT, "%s, line %d: more than %d keys", path,
                               line.number, SERVER_API_KEYS_MOST);
        status = read_key(path, &line, key, error);
        if (!status)
            status = check_new(path, line.number, keys, key, error);
        if (!status)
            keys->count++;
    }
    return status;
}

distil_status server_api_keys_open(const char *path, const struct server_log *log,
                                   struct server_api_keys **keys, distil_error *error)
{
    struct server_key_file file;
    struct server_api_keys *made = NULL;
    distil_status status = server_key_file_read(path, false, log, &file, error);
    if (status)
        return status;
    made = calloc(1, sizeof(*made));
    if (made)
        made->keys = calloc(SERVER_API_KEYS_MOST, sizeof(*made->keys));
    status = made && made->keys ? read_keys(path, file.data, made, error)
                                : distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    server_key_file_free(&file);
    if (status) {
        server_api_keys_free(made);
        return status;
    }
    *keys = made;
    return DISTIL_OK;
}

void server_api_keys_free(struct server_api_keys *keys)
{
    if (!keys)
        return;
    free(keys->keys);
    free(keys);
}

static void inherit(struct server_api_key *key, const struct server_api_keys *before)
{
    int i;
    for (i = 0; i < before->count; i++) {
        const struct server_api_key *own = &before->keys[i];
        if (memcmp(own->hash, key->hash, HASH) == 0 && own->rate.interval == key->rate.interval &&
            own->rate.depth == key->rate.depth)
            atomic_store_explicit(&key->bucket,
                                  atomic_load_explicit(&own->bucket, memory_order_relaxed),
                                  memory_order_relaxed);
    }
}

void server_api_keys_inherit(struct server_api_keys *keys, const struct server_api_keys *before)
{
    int i;
    for (i = 0; before && i < keys->count; i++)
        if (keys->keys[i].rate.interval)
            inherit(&keys->keys[i], before);
}

/* ---- comparing ---- */

struct server_api_key *server_api_keys_find(struct server_api_keys *keys, const char *text)
{
    unsigned char hash[HASH];
    struct server_api_key *found = NULL;
    int i;
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), hash) < 0)
        return NULL;
    for (i = 0; i < keys->count; i++)
        if (gnutls_memcmp(keys->keys[i].hash, hash, HASH) == 0)
            found = &keys->keys[i];
    return found;
}

struct server_api_key *server_api_keys_find_basic(struct server_api_keys *keys, const char *encoded)
{
    struct server_api_key *found = NULL;
    gnutls_datum_t base64, decoded;
    union {
        const char *from;
        unsigned char *to;
    } text;
    const char *password;
    char key[SERVER_API_KEY_SIZE];
    text.from = encoded;
    base64.data = text.to; /* which is only read */
    base64.size = (unsigned)strnlen(encoded, BASIC_MOST + 1);
    if (base64.size > BASIC_MOST || gnutls_base64_decode2(&base64, &decoded) < 0)
        return NULL;
    password = decoded.data ? memchr(decoded.data, ':', decoded.size) : NULL;
    if (password) {
        size_t length = (size_t)((const char *)decoded.data + decoded.size - ++password);
        if (length < sizeof(key) && !memchr(password, '\0', length)) {
            memcpy(key, password, length);
            key[length] = '\0';
            found = server_api_keys_find(keys, key);
        }
    }
    gnutls_memset(key, 0, sizeof(key));
    gnutls_memset(decoded.data, 0, decoded.size);
    gnutls_free(decoded.data);
    return found;
}

/* ---- making ---- */

distil_status server_api_key_make(const char *name, const char *scopes, const char *rate,
                                  char key[SERVER_API_KEY_SIZE], char line[SERVER_API_KEY_LINE],
                                  distil_error *error)
{
    unsigned char bytes[32], hash[HASH];
    char hex[2 * HASH + 1];
    size_t i;
    struct server_api_key read;
    int length;
    /* what the server would refuse is never written */
    if (!server_key_name_valid(name))
        return distil_fail(error, DISTIL_INVALID, "'%.80s' is no name: %s", name, name_rule);
    if (read_rights(scopes, rate, &read, error))
        return DISTIL_INVALID;
    if (gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes)) < 0)
        return distil_fail(error, DISTIL_SYSTEM, "no random numbers can be had");
    memcpy(key, key_prefix, sizeof(key_prefix) - 1);
    server_base64url_encode(bytes, sizeof(bytes), key + sizeof(key_prefix) - 1);
    gnutls_memset(bytes, 0, sizeof(bytes));
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, key, strlen(key), hash) < 0)
        return distil_fail(error, DISTIL_SYSTEM, "SHA-256 cannot be computed");
    for (i = 0; i < HASH; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    length = snprintf(line, SERVER_API_KEY_LINE, "%s %s%s scope=%s%s%s\n", name, hash_prefix, hex,
                      scopes, rate ? " rate=" : "", rate ? rate : "");
    return length < SERVER_API_KEY_LINE
               ? DISTIL_OK
               : distil_fail(error, DISTIL_INVALID, "the scopes or the rate are too long");
}

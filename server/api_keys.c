/* api_keys.c: see api_keys.h. */
#include "server/api_keys.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base64url.h"

enum { HASH = 32 };

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

static distil_status read_key(const char *path, const struct server_key_line *line,
                              struct server_api_key *key, distil_error *error)
{
    const char *problem = check_fields(line), *rate = server_key_line_value(line, 2, "rate");
    const char *unknown;
    size_t length;
    if (problem)
        return distil_fail(error, DISTIL_FORMAT, "%s, line %d: %s", path, line->number, problem);
    if (!server_key_name_valid(line->fields[0]))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line %d: a name is 1 to 64 letters, digits, dots, dashes and "
                           "underscores",
                           path, line->number);
    snprintf(key->name, sizeof(key->name), "%s", line->fields[0]);
    /* what stands in place of the hash is not shown: it may be a key */
    if (!read_hash(line->fields[1], key->hash))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line %d: %s: sha256: and 64 hexadecimal digits are expected", path,
                           line->number, key->name);
    if (!server_scopes_parse(server_key_line_value(line, 2, "scope"), ",", &key->scopes, &unknown,
                             &length))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line %d: %s: '%.*s' is no scope: predict, metrics and admin are",
                           path, line->number, key->name, length < 40 ? (int)length : 40, unknown);
    if (rate && !server_rate_parse(rate, &key->rate))
        return distil_fail(error, DISTIL_FORMAT,
                           "%s, line %d: %s: '%.40s' is no rate such as 50/s or 600/m:20", path,
                           line->number, key->name, rate);
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

/* ---- making ---- */

distil_status server_api_key_make(const char *name, const char *scopes, const char *rate,
                                  char key[SERVER_API_KEY_SIZE], char line[SERVER_API_KEY_LINE],
                                  distil_error *error)
{
    unsigned char bytes[32], hash[HASH];
    char hex[2 * HASH + 1];
    size_t i;
    struct server_key_line parsed = {0};
    struct server_api_key ignored;
    char copy[SERVER_API_KEY_LINE], *at = copy;
    int length;
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
    if (length >= SERVER_API_KEY_LINE)
        return distil_fail(error, DISTIL_INVALID, "the name, the scopes or the rate are too long");
    /* what the server will read: so that what it would refuse is never written */
    memcpy(copy, line, (size_t)length + 1);
    if (!server_key_file_next(&at, &parsed) || *at)
        return distil_fail(error, DISTIL_INVALID, "the name holds a line end or is a comment");
    return read_key("the new key", &parsed, &ignored, error);
}

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/input.h"
#include "tools/telemetry.h"

enum { SIGNATURE = 64, SIGNATURE_BASE64 = 88 };

static const char before[] = ",\n  \"signature\": {\"algorithm\": \"Ed25519\", \"value\": \"";
static const char after[] = "\"}\n}\n";

struct tool_telemetry_key {
    gnutls_privkey_t private_key;
};

static distil_status failed(int code, const char *what, distil_error *error)
{
    return distil_fail(error, DISTIL_SYSTEM, "%s: %s", what, gnutls_strerror(code));
}

/* ---- keys ---- */

static distil_status save_key(const char *path, gnutls_x509_privkey_t key, distil_error *error)
{
    gnutls_datum_t pem = {0};
    int code =
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem);
    if (code < 0)
        return failed(code, "writing a key", error);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    distil_status status = DISTIL_OK;
    if (fd < 0 || write(fd, pem.data, pem.size) != (ssize_t)pem.size || fsync(fd) != 0)
        status = distil_fail(error, DISTIL_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0) {
        close(fd);
        if (status)
            unlink(path);
    }
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return status;
}

static distil_status load_key(const char *path, gnutls_x509_privkey_t key, distil_error *error)
{
    char *pem;
    size_t length;
    distil_status status = tool_input_all(path, TOOL_KEY_MOST, &pem, &length, error);
    if (status)
        return status;
    gnutls_datum_t data = {(unsigned char *)pem, (unsigned)length};
    int code = gnutls_x509_privkey_import(key, &data, GNUTLS_X509_FMT_PEM);
    gnutls_memset(pem, 0, length);
    free(pem);
    if (code < 0 || gnutls_x509_privkey_get_pk_algorithm(key) != GNUTLS_PK_EDDSA_ED25519)
        return distil_fail(error, DISTIL_FORMAT, "%s: no Ed25519 key in PEM", path);
    return DISTIL_OK;
}

distil_status tool_telemetry_key_open(const char *path, struct tool_telemetry_key **key,
                                      distil_error *error)
{
    gnutls_x509_privkey_t plain = NULL;
    int code = gnutls_x509_privkey_init(&plain);
    *key = calloc(1, sizeof **key);
    if (code < 0 || !*key) {
        free(*key);
        *key = NULL;
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
    }
    distil_status status = load_key(path, plain, error);
    if (status == DISTIL_NOT_FOUND) {
        code = gnutls_x509_privkey_generate(plain, GNUTLS_PK_EDDSA_ED25519, 256, 0);
        status = code < 0 ? failed(code, "making a key", error) : save_key(path, plain, error);
    }
    if (!status) {
        code = gnutls_privkey_init(&(*key)->private_key);
        if (code >= 0)
            code =
                gnutls_privkey_import_x509((*key)->private_key, plain, GNUTLS_PRIVKEY_IMPORT_COPY);
        if (code < 0)
            status = failed(code, path, error);
    }
    gnutls_x509_privkey_deinit(plain);
    if (status) {
        tool_telemetry_key_free(*key);
        *key = NULL;
    }
    return status;
}

void tool_telemetry_key_free(struct tool_telemetry_key *key)
{
    if (!key)
        return;
    if (key->private_key)
        gnutls_privkey_deinit(key->private_key);
    free(key);
}

distil_status tool_telemetry_public(const struct tool_telemetry_key *key, char **pem,
                                    distil_error *error)
{
    gnutls_pubkey_t half = NULL;
    gnutls_datum_t text = {0};
    *pem = NULL;
    int code = gnutls_pubkey_init(&half);
    if (code >= 0)
        code = gnutls_pubkey_import_privkey(half, key->private_key, 0, 0);
    if (code >= 0)
        code = gnutls_pubkey_export2(half, GNUTLS_X509_FMT_PEM, &text);
    if (code >= 0)
        *pem = strndup((const char *)text.data, text.size);
    gnutls_free(text.data);
    if (half)
        gnutls_pubkey_deinit(half);
    return *pem ? DISTIL_OK : failed(code < 0 ? code : GNUTLS_E_MEMORY_ERROR, "a key", error);
}

/* ---- bundles ---- */

distil_status tool_telemetry_sign(const struct tool_telemetry_key *key, char **bundle,
                                  distil_error *error)
{
    gnutls_datum_t data = {(unsigned char *)*bundle, (unsigned)strlen(*bundle)}, signature = {0},
                   text = {0};
    distil_status status = DISTIL_OK;
    int code = gnutls_privkey_sign_data2(key->private_key, GNUTLS_SIGN_EDDSA_ED25519, 0, &data,
                                         &signature);
    if (code >= 0)
        code = gnutls_base64_encode2(&signature, &text);
    if (code < 0) {
        status = failed(code, "signing", error);
    } else {
        size_t length = strlen(*bundle);
        char *longer = realloc(*bundle, length + sizeof before + text.size + sizeof after);
        if (longer) {
            *bundle = longer;
            sprintf(longer + length, "%s%.*s%s", before, (int)text.size, (const char *)text.data,
                    after);
        } else {
            status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
        }
    }
    gnutls_free(text.data);
    gnutls_free(signature.data);
    return status;
}

/* Where the signed bytes end, and the signature; false where a bundle does not end in one. */
static bool split(char *bundle, size_t length, size_t *signed_length,
                  unsigned char signature[SIGNATURE])
{
    size_t head = sizeof before - 1, tail = sizeof after - 1, all = head + SIGNATURE_BASE64 + tail;
    gnutls_datum_t text, bytes = {0};
    if (length < all || memcmp(bundle + length - tail, after, tail) != 0 ||
        memcmp(bundle + length - all, before, head) != 0)
        return false;
    text.data = (unsigned char *)(bundle + length - tail - SIGNATURE_BASE64);
    text.size = SIGNATURE_BASE64;
    if (gnutls_base64_decode2(&text, &bytes) < 0)
        return false;
    bool good = bytes.size == SIGNATURE;
    if (good)
        memcpy(signature, bytes.data, SIGNATURE);
    gnutls_free(bytes.data);
    *signed_length = length - all;
    return good;
}

distil_status tool_telemetry_check(char *bundle, size_t length, char *public_pem,
                                   distil_error *error)
{
    unsigned char bytes[SIGNATURE];
    gnutls_datum_t signature = {bytes, SIGNATURE}, data = {0};
    gnutls_datum_t pem = {(unsigned char *)public_pem, (unsigned)strlen(public_pem)};
    gnutls_pubkey_t key = NULL;
    size_t signed_length;
    if (!split(bundle, length, &signed_length, bytes))
        return distil_fail(error, DISTIL_FORMAT, "it does not end in a signature");
    data.data = (unsigned char *)bundle;
    data.size = (unsigned)signed_length;
    int code = gnutls_pubkey_init(&key);
    if (code >= 0)
        code = gnutls_pubkey_import(key, &pem, GNUTLS_X509_FMT_PEM);
    distil_status status = DISTIL_OK;
    if (code < 0 || gnutls_pubkey_get_pk_algorithm(key, NULL) != GNUTLS_PK_EDDSA_ED25519)
        status = distil_fail(error, DISTIL_FORMAT, "the key is no public Ed25519 key in PEM");
    else if (gnutls_pubkey_verify_data2(key, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &signature) < 0)
        status = distil_fail(error, DISTIL_FORMAT,
                             "the signature is not that of the key: it was signed by another, or "
                             "changed since");
    if (key)
        gnutls_pubkey_deinit(key);
    return status;
}

void tool_telemetry_digest(const char *bytes, size_t length, char digest[TOOL_DIGEST_SIZE])
{
    unsigned char hash[32];
    gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, length, hash);
    for (int i = 0; i < 32; i++)
        sprintf(digest + (size_t)i * 2, "%02x", hash[i]);
}

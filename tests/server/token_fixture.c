/* token_fixture.c: see token_fixture.h. */
#include "tests/server/token_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base64url.h"

static const struct server_log silent = {.fd = -1};

/* Made once: RSA keys take their time. */
static struct folder made;

static void write_file(const struct folder *f, const char *name, const void *content, size_t length)
{
    char path[128];
    int fd;
    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, content, length), (ssize_t)length);
    close(fd);
}

static void write_text(const struct folder *f, const char *name, const char *content)
{
    write_file(f, name, content, strlen(content));
}

static gnutls_privkey_t make_key(const struct folder *f, const char *name,
                                 gnutls_pk_algorithm_t kind, unsigned bits)
{
    gnutls_privkey_t key;
    gnutls_pubkey_t public;
    gnutls_datum_t pem;
    ck_assert_int_eq(gnutls_privkey_init(&key), 0);
    ck_assert_int_eq(gnutls_privkey_generate(key, kind, bits, 0), 0);
    ck_assert_int_eq(gnutls_pubkey_init(&public), 0);
    ck_assert_int_eq(gnutls_pubkey_import_privkey(public, key, 0, 0), 0);
    ck_assert_int_eq(gnutls_pubkey_export2(public, GNUTLS_X509_FMT_PEM, &pem), 0);
    write_file(f, name, pem.data, pem.size);
    gnutls_free(pem.data);
    gnutls_pubkey_deinit(public);
    return key;
}

distil_status open_keys(struct folder *f, const char *lines, distil_error *error)
{
    char path[128];
    write_text(f, "keys", lines);
    snprintf(path, sizeof(path), "%s/keys", f->path);
    f->keys = NULL;
    return server_token_keys_open(path, &silent, &f->keys, error);
}

void make_folder(void)
{
    snprintf(made.path, sizeof(made.path), "/tmp/distild-tokens-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(made.path));
    made.rsa = make_key(&made, "rsa.pem", GNUTLS_PK_RSA, 2048);
    made.ec = make_key(&made, "ec.pem", GNUTLS_PK_ECDSA,
                       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));
    gnutls_privkey_deinit(make_key(&made, "other.pem", GNUTLS_PK_RSA, 2048));
    gnutls_privkey_deinit(make_key(&made, "weak.pem", GNUTLS_PK_RSA, 1024));
    gnutls_privkey_deinit(make_key(&made, "p384.pem", GNUTLS_PK_ECDSA,
                                   GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1)));
    write_text(&made, "secret", SECRET "\n");
    write_text(&made, "short", "0123456789abcdef0123456789abcde\n");
    write_text(&made, "private.pem", "-----BEGIN PRIVATE KEY-----\n");
}

void remove_folder(void)
{
    char command[128];
    gnutls_privkey_deinit(made.rsa);
    gnutls_privkey_deinit(made.ec);
    snprintf(command, sizeof(command), "rm -r %s", made.path);
    ck_assert_int_eq(system(command), 0);
}

void begin_folder(struct folder *f)
{
    distil_error error;
    *f = made;
    ck_assert_msg(open_keys(f,
                            "# three\n"
                            "hs HS256 secret iss=me aud=distild scope=predict\n"
                            "rs RS256 rsa.pem iss=me aud=distild scope=predict,admin\n"
                            "es ES256 ec.pem iss=me aud=distild scope=metrics\n",
                            &error) == DISTIL_OK,
                  "%s", error.message);
}

void end_folder(struct folder *f)
{
    server_token_keys_free(f->keys);
}

void append_encoded(char *token, const void *bytes, size_t size)
{
    server_base64url_encode(bytes, size, token + strlen(token));
}

void sign_hmac(char *token, const void *key, size_t length)
{
    unsigned char digest[32];
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, length, token, strlen(token), digest);
    strcat(token, ".");
    append_encoded(token, digest, sizeof(digest));
}

void sign_with(char *token, gnutls_privkey_t key)
{
    gnutls_datum_t text = {(unsigned char *)token, (unsigned)strlen(token)}, signature, r, s;
    unsigned char raw[64] = {0};
    ck_assert_int_eq(gnutls_privkey_sign_data(key, GNUTLS_DIG_SHA256, 0, &text, &signature), 0);
    strcat(token, ".");
    if (gnutls_privkey_get_pk_algorithm(key, NULL) == GNUTLS_PK_RSA) {
        append_encoded(token, signature.data, signature.size);
    } else {
        ck_assert_int_eq(gnutls_decode_rs_value(&signature, &r, &s), 0);
        memcpy(raw + 32 - (r.size < 32 ? r.size : 32), r.data + (r.size > 32),
               r.size - (r.size > 32));
        memcpy(raw + 64 - (s.size < 32 ? s.size : 32), s.data + (s.size > 32),
               s.size - (s.size > 32));
        append_encoded(token, raw, sizeof(raw));
        gnutls_free(r.data);
        gnutls_free(s.data);
    }
    gnutls_free(signature.data);
}

void unsigned_token(char *token, const char *header, const char *payload)
{
    token[0] = '\0';
    append_encoded(token, header, strlen(header));
    strcat(token, ".");
    append_encoded(token, payload, strlen(payload));
}

const char *hs_token(char *token, const char *header, const char *payload)
{
    unsigned_token(token, header, payload);
    sign_hmac(token, SECRET, strlen(SECRET));
    return token;
}

void change(char *digit)
{
    *digit = *digit == 'A' ? 'B' : 'A';
}

void refuse(const struct folder *f, const char *token, const char *problem)
{
    struct server_token found;
    const char *said = server_token_check(f->keys, token, NOW, &found);
    ck_assert_msg(said && strstr(said, problem), "'%s', not '%s': %.200s", said ? said : "accepted",
                  problem, token);
}

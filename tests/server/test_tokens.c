/* test_tokens.c: JSON Web Tokens, good and forged. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base64url.h"
#include "tests/server/server_fixture.h"
#include "tests/server/token_fixture.h"
#include "tests/suite.h"

static const struct server_log silent = {.fd = -1};

START_TEST(tokens_of_each_algorithm_are_accepted)
{
    struct folder f;
    struct server_token found;
    char token[TOKEN];
    begin_folder(&f);
    hs_token(token, HS, GOOD);
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    ck_assert_str_eq(found.subject, "anna");
    ck_assert_str_eq(found.key->name, "hs");
    /* what the key may grant, of what the token claims */
    ck_assert_uint_eq(found.scopes, SERVER_SCOPE_PREDICT);
    unsigned_token(token, RS, GOOD);
    sign_with(token, f.rsa);
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    ck_assert_uint_eq(found.scopes, SERVER_SCOPE_PREDICT | SERVER_SCOPE_ADMIN);
    unsigned_token(token, ES, GOOD);
    sign_with(token, f.ec);
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    ck_assert_uint_eq(found.scopes, SERVER_SCOPE_METRICS);
    hs_token(token, HS, CLAIMS(",\"exp\":1750000000.5"));
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    ck_assert_str_eq(found.subject, "");
    ck_assert_uint_eq(found.scopes, 0);
    hs_token(token, HS, "{\"iss\":\"me\",\"aud\":[\"x\",\"distild\"],\"exp\":1750000001}");
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    end_folder(&f);
}
END_TEST

START_TEST(unsigned_and_missigned_tokens_are_refused)
{
    struct folder f;
    char token[TOKEN];
    begin_folder(&f);
    /* 33: alg none, however it is spelt, signed or not */
    unsigned_token(token, "{\"alg\":\"none\",\"kid\":\"hs\"}", GOOD);
    refuse(&f, strcat(token, "."), "not signed");
    refuse(&f, hs_token(token, "{\"alg\":\"none\",\"kid\":\"hs\"}", GOOD), "algorithm is not that");
    refuse(&f, hs_token(token, "{\"alg\":\"NoNe\",\"kid\":\"hs\"}", GOOD), "algorithm is not that");
    refuse(&f, hs_token(token, "{\"kid\":\"hs\"}", GOOD), "algorithm is not that");
    refuse(&f, hs_token(token, "{\"alg\":[\"HS256\"],\"kid\":\"hs\"}", GOOD),
           "algorithm is not that");
    refuse(&f, hs_token(token, "{\"alg\":\"hs256\",\"kid\":\"hs\"}", GOOD),
           "algorithm is not that");
    refuse(&f, hs_token(token, "{\"alg\":\"HS512\",\"kid\":\"hs\"}", GOOD),
           "algorithm is not that");
    /* 35: an empty signature */
    unsigned_token(token, HS, GOOD);
    refuse(&f, token, "three parts");
    refuse(&f, strcat(token, "."), "not signed");
    refuse(&f, strcat(token, "AA"), "signature is wrong");
    /* each bit of a signature counts */
    hs_token(token, HS, GOOD);
    change(token + strlen(token) - 20);
    refuse(&f, token, "signature is wrong");
    hs_token(token, HS, GOOD);
    change(token + strlen(HS) * 4 / 3 + 8);
    refuse(&f, token, "signature is wrong");
    unsigned_token(token, RS, GOOD);
    sign_with(token, f.rsa);
    change(token + strlen(token) - 40);
    refuse(&f, token, "signature is wrong");
    unsigned_token(token, ES, GOOD);
    sign_with(token, f.ec);
    change(token + strlen(token) - 40);
    refuse(&f, token, "signature is wrong");
    /* an ES256 signature of zeroes, which some libraries take for any */
    unsigned_token(token, ES, GOOD);
    strcat(token, ".");
    append_encoded(token, (const unsigned char[64]){0}, 64);
    refuse(&f, token, "signature is wrong");
    end_folder(&f);
}
END_TEST

START_TEST(a_token_seen_before_is_still_checked)
{
    struct folder f;
    struct server_token found;
    distil_error error;
    char token[TOKEN], other[TOKEN];
    begin_folder(&f);
    unsigned_token(token, RS, CLAIMS(",\"exp\":1750000001,\"scope\":\"predict\""));
    sign_with(token, f.rsa);
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    ck_assert_uint_eq(found.scopes, SERVER_SCOPE_PREDICT);
    ck_assert_str_eq(server_token_check(f.keys, token, NOW + 1, &found), "the token has expired");
    /* the same token with another signature, and the signature under another text */
    strcpy(other, token);
    change(other + strlen(other) - 40);
    refuse(&f, other, "signature is wrong");
    unsigned_token(other, RS, CLAIMS(",\"exp\":1750000002,\"scope\":\"predict\""));
    strcat(other, strrchr(token, '.'));
    refuse(&f, other, "signature is wrong");
    /* keys read again know nothing of what those of before found good */
    server_token_keys_free(f.keys);
    ck_assert_int_eq(open_keys(&f, "rs RS256 other.pem iss=me aud=distild scope=predict\n", &error),
                     DISTIL_OK);
    refuse(&f, token, "signature is wrong");
    end_folder(&f);
}
END_TEST

START_TEST(algorithms_are_pinned_to_keys)
{
    struct folder f;
    char token[TOKEN], pem[4096], path[128];
    FILE *file;
    size_t length;
    begin_folder(&f);
    snprintf(path, sizeof(path), "%s/rsa.pem", f.path);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    length = fread(pem, 1, sizeof(pem), file);
    fclose(file);
    /* 34: the public key of RS256 as the secret of HS256 */
    unsigned_token(token, "{\"alg\":\"HS256\",\"kid\":\"rs\"}", GOOD);
    sign_hmac(token, pem, length);
    refuse(&f, token, "algorithm is not that");
    unsigned_token(token, RS, GOOD);
    sign_hmac(token, pem, length);
    refuse(&f, token, "signature is wrong");
    /* one algorithm's key under another's name */
    unsigned_token(token, "{\"alg\":\"ES256\",\"kid\":\"rs\"}", GOOD);
    sign_with(token, f.ec);
    refuse(&f, token, "algorithm is not that");
    unsigned_token(token, "{\"alg\":\"RS256\",\"kid\":\"es\"}", GOOD);
    sign_with(token, f.rsa);
    refuse(&f, token, "algorithm is not that");
    /* a DER signature where ES256 has r and s */
    unsigned_token(token, ES, GOOD);
    sign_with(token, f.rsa);
    refuse(&f, token, "signature is wrong");
    end_folder(&f);
}
END_TEST

START_TEST(kid_is_a_name_to_look_up)
{
    /* 39 */
    static const char *const unknown[] = {"\"../secret\"",
                                          "\"/dev/null\"",
                                          "\"hs\\u002f..\"",
                                          "\"\"",
                                          "\"HS\"",
                                          "\"hs \"",
                                          "\"' OR 1=1 --\"",
                                          "null",
                                          "1",
                                          "[\"hs\"]",
                                          "\"secret\""};
    struct folder f;
    struct server_token found;
    distil_error error;
    char token[TOKEN], header[200];
    size_t i;
    begin_folder(&f);
    for (i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":%s}", unknown[i]);
        refuse(&f, hs_token(token, header, GOOD), "key is not known");
    }
    /* without one, only where there is no choice */
    refuse(&f, hs_token(token, "{\"alg\":\"HS256\"}", GOOD), "key is not known");
    server_token_keys_free(f.keys);
    ck_assert_int_eq(open_keys(&f, "hs HS256 secret iss=me aud=distild scope=predict\n", &error),
                     DISTIL_OK);
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    refuse(&f, hs_token(token, "{\"alg\":\"HS256\",\"kid\":\"rs\"}", GOOD), "key is not known");
    refuse(&f, hs_token(token, "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", GOOD), "critical");
    end_folder(&f);
}
END_TEST

START_TEST(tokens_have_one_spelling)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct folder f;
    struct server_token found;
    char token[TOKEN], other[TOKEN], *last;
    begin_folder(&f);
    /* 36: bits beyond the last byte: three other last characters spell the same 32 bytes */
    hs_token(token, HS, GOOD);
    strcpy(other, token);
    last = other + strlen(other) - 1;
    *last = digits[(strchr(digits, *last) - digits) | 1];
    refuse(&f, other, "base64url");
    refuse(&f, strcat(strcpy(other, token), "="), "base64url");
    refuse(&f, strcat(strcpy(other, token), " "), "base64url");
    refuse(&f, strcat(strcpy(other, token), "\n"), "base64url");
    refuse(&f, strcat(strcpy(other, token), "."), "three parts");
    ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    /* the same in a header, which a signature covers as it is spelt */
    token[0] = '\0';
    append_encoded(token, HS " ", strlen(HS) + 1);
    last = token + strlen(token) - 1;
    ck_assert_uint_eq(strlen(token) % 4, 0);
    strcat(token, "==.");
    append_encoded(token, GOOD, strlen(GOOD));
    sign_hmac(token, SECRET, strlen(SECRET));
    refuse(&f, token, "base64url");
    refuse(&f, "", "three parts");
    refuse(&f, "..", "not signed");
    refuse(&f, "..x", "JSON objects");
    refuse(&f, "a.b.c", "base64url");
    end_folder(&f);
}
END_TEST

START_TEST(long_tokens_are_refused_unread)
{
    struct folder f;
    char *token = malloc(1 << 20);
    begin_folder(&f);
    ck_assert_ptr_nonnull(token);
    memset(token, 'A', (1 << 20) - 1);
    token[(1 << 20) - 1] = '\0';
    refuse(&f, token, "too long"); /* 37 */
    token[SERVER_TOKEN_LIMIT + 1] = '\0';
    refuse(&f, token, "too long");
    token[SERVER_TOKEN_LIMIT] = '\0';
    refuse(&f, token, "three parts");
    free(token);
    end_folder(&f);
}
END_TEST

START_TEST(times_are_held_to)
{
    static const struct {
        const char *claims, *problem; /* NULL: accepted */
    } cases[] = {
        {CLAIMS(",\"exp\":1750000001"), NULL},
        {CLAIMS(",\"exp\":1750000000"), "has expired"},
        {CLAIMS(",\"exp\":1"), "has expired"},
        {CLAIMS(""), "has no exp"},
        /* 38 */
        {CLAIMS(",\"exp\":\"1750000100\""), "not a time"},
        {CLAIMS(",\"exp\":NaN"), "JSON objects"},
        {CLAIMS(",\"exp\":Infinity"), "JSON objects"},
        {CLAIMS(",\"exp\":1e999"), "not a time"},
        {CLAIMS(",\"exp\":99999999999999999999999"), "not a time"},
        {CLAIMS(",\"exp\":18446744073709551617"), "not a time"},
        {CLAIMS(",\"exp\":-1"), "not a time"},
        {CLAIMS(",\"exp\":null"), "not a time"},
        {CLAIMS(",\"exp\":true"), "not a time"},
        {CLAIMS(",\"exp\":[1750000100]"), "not a time"},
        {CLAIMS(",\"exp\":1750000100,\"nbf\":1750000030"), NULL},
        {CLAIMS(",\"exp\":1750000100,\"nbf\":1750000031"), "not valid yet"},
        {CLAIMS(",\"exp\":1750000100,\"nbf\":\"0\""), "not a time"},
        {CLAIMS(",\"exp\":1750000100,\"iat\":\"now\""), "not a time"},
    };
    struct folder f;
    struct server_token found;
    char token[TOKEN];
    size_t i;
    begin_folder(&f);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        hs_token(token, HS, cases[i].claims);
        if (cases[i].problem)
            refuse(&f, token, cases[i].problem);
        else
            ck_assert_ptr_null(server_token_check(f.keys, token, NOW, &found));
    }
    end_folder(&f);
}
END_TEST

START_TEST(claims_are_checked)
{
    static const struct {
        const char *claims, *problem;
    } cases[] = {
        {"{\"iss\":\"me\",\"exp\":1750000100}", "not meant"},
        {"{\"iss\":\"me\",\"aud\":\"other\",\"exp\":1750000100}", "not meant"},
        {"{\"iss\":\"me\",\"aud\":[],\"exp\":1750000100}", "not meant"},
        {"{\"iss\":\"me\",\"aud\":[\"distild2\",7],\"exp\":1750000100}", "not meant"},
        {"{\"iss\":\"me\",\"aud\":{\"distild\":1},\"exp\":1750000100}", "not meant"},
        {"{\"aud\":\"distild\",\"exp\":1750000100}", "not from the issuer"},
        {"{\"iss\":\"ME\",\"aud\":\"distild\",\"exp\":1750000100}", "not from the issuer"},
        {"{\"iss\":[\"me\"],\"aud\":\"distild\",\"exp\":1750000100}", "not from the issuer"},
        {CLAIMS(",\"exp\":1750000100,\"scope\":[\"predict\"]"), "not a string"},
        {CLAIMS(",\"exp\":1750000100,\"sub\":7"), "not a string"},
        /* 40: which of two claims counts differs from reader to reader */
        {CLAIMS(",\"exp\":1750000100,\"exp\":1750000200"), "JSON objects"},
        {CLAIMS(",\"exp\":1750000100,\"aud\":\"other\""), "JSON objects"},
        {"[]", "JSON objects"},
        {"\"text\"", "JSON objects"},
        {"", "JSON objects"},
        {GOOD "x", "JSON objects"},
        {"{\"iss\":\"me\\u0000\",\"aud\":\"distild\",\"exp\":1750000100}", "JSON objects"},
    };
    struct folder f;
    char token[TOKEN];
    size_t i;
    begin_folder(&f);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        refuse(&f, hs_token(token, HS, cases[i].claims), cases[i].problem);
    refuse(&f, hs_token(token, "{\"alg\":\"HS256\",\"alg\":\"none\",\"kid\":\"hs\"}", GOOD),
           "JSON objects");
    end_folder(&f);
}
END_TEST

START_TEST(bad_files_of_token_keys_are_refused)
{
    static const struct {
        const char *lines, *message;
    } cases[] = {
        {"# none\n", "holds no key"},
        {"hs HS256 secret\n", "line 1: KID ALGORITHM FILE iss=ISSUER"},
        {"\nhs HS384 secret iss=me aud=d scope=predict\n", "line 2: the algorithm must be"},
        {"hs none secret iss=me aud=d scope=predict\n", "the algorithm must be"},
        {"h/s HS256 secret iss=me aud=d scope=predict\n", "a kid is 1 to 64"},
        {"hs HS256 secret iss= aud=d scope=predict\n", "iss= and aud= are needed"},
        {"hs HS256 secret iss=me iss=d scope=predict\n", "iss= and aud= are needed"},
        {"hs HS256 secret iss=me aud=d scope=all\n", "scope= is needed"},
        {"hs HS256 secret iss=me aud=d scope=session\n", "scope= is needed"},
        {"hs HS256 short iss=me aud=d scope=predict\n", "/short: a secret of 31 bytes"},
        {"hs HS256 rsa.pem iss=me aud=d scope=predict\n", "cannot be the secret"},
        {"hs HS256 missing iss=me aud=d scope=predict\n", "/missing: No such file"},
        {"rs RS256 ec.pem iss=me aud=d scope=predict\n", "no RSA key"},
        {"rs RS256 weak.pem iss=me aud=d scope=predict\n", "an RSA key of 1024 bits"},
        {"rs RS256 secret iss=me aud=d scope=predict\n", "no public key in PEM"},
        {"rs RS256 private.pem iss=me aud=d scope=predict\n", "holds a private key"},
        {"es ES256 rsa.pem iss=me aud=d scope=predict\n", "no key on the curve P-256"},
        {"es ES256 p384.pem iss=me aud=d scope=predict\n", "no key on the curve P-256"},
        {"a HS256 secret iss=me aud=d scope=predict\na HS256 secret iss=x aud=d scope=predict\n",
         "line 2: the kid a stands twice"},
    };
    struct folder f;
    distil_error error;
    size_t i;
    begin_folder(&f);
    server_token_keys_free(f.keys);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ck_assert_int_ne(open_keys(&f, cases[i].lines, &error), DISTIL_OK);
        ck_assert_msg(strstr(error.message, cases[i].message) != NULL, "%s", error.message);
    }
    end_folder(&f);
}
END_TEST

START_TEST(own_tokens_are_accepted_until_they_expire)
{
    struct server_token_keys *keys, *others;
    struct server_token found;
    struct folder f;
    char *token, path[128];
    begin_folder(&f);
    ck_assert_int_eq(
        server_token_keys_own(NULL, "session", SERVER_SCOPE_SESSION, &silent, &keys, NULL),
        DISTIL_OK);
    ck_assert_int_eq(
        server_token_keys_own(NULL, "session", SERVER_SCOPE_SESSION, &silent, &others, NULL),
        DISTIL_OK);
    token = server_token_issue(keys, "session", NOW, 60);
    ck_assert_ptr_nonnull(token);
    ck_assert_ptr_null(server_token_check(keys, token, NOW + 59, &found));
    ck_assert_uint_eq(found.scopes, SERVER_SCOPE_SESSION);
    ck_assert_str_eq(server_token_check(keys, token, NOW + 60, &found), "the token has expired");
    ck_assert_str_eq(server_token_check(others, token, NOW, &found),
                     "the token's signature is wrong");
    refuse(&f, token, "key is not known");
    free(token);
    server_token_keys_free(keys);
    server_token_keys_free(others);
    /* a secret from a file makes replicas accept each other's */
    snprintf(path, sizeof(path), "%s/secret", f.path);
    ck_assert_int_eq(
        server_token_keys_own(path, "session", SERVER_SCOPE_SESSION, &silent, &keys, NULL),
        DISTIL_OK);
    ck_assert_int_eq(
        server_token_keys_own(path, "session", SERVER_SCOPE_SESSION, &silent, &others, NULL),
        DISTIL_OK);
    token = server_token_issue(keys, "session", NOW, 60);
    ck_assert_ptr_null(server_token_check(others, token, NOW, &found));
    free(token);
    server_token_keys_free(keys);
    server_token_keys_free(others);
    end_folder(&f);
}
END_TEST

/* ---- over sockets ---- */

START_TEST(tokens_open_routes)
{
    struct fixture f;
    struct folder folder;
    struct client client;
    struct reply reply;
    char token[TOKEN], path[128], payload[300], header[TOKEN + 100], value[200];
    begin_folder(&folder);
    snprintf(path, sizeof(path), "%s/keys", folder.path);
    prepare(&f, "fake");
    f.options.access.jwt_keys = path;
    launch(&f);
    ck_assert(client_open(&client, f.port));
    snprintf(payload, sizeof(payload), CLAIMS(",\"exp\":%lld,\"scope\":\"predict metrics\""),
             (long long)time(NULL) + 60);
    hs_token(token, HS, payload);
    snprintf(header, sizeof(header),
             "POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
             "Content-Length: 14\r\n\r\n{\"text\":\"sky\"}",
             token);
    client_send_text(&client, header);
    client_read(&client, false, &reply);
    expect_reply(&reply, 200, "sentiment");
    /* the key hs grants no metrics, whatever its tokens claim */
    snprintf(header, sizeof(header),
             "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token);
    client_send_text(&client, header);
    client_read(&client, false, &reply);
    expect_reply(&reply, 403, "jwt:hs may not do this: the scope metrics is needed");
    /* a token is no API key */
    snprintf(header, sizeof(header), "GET / HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\n\r\n", token);
    client_send_text(&client, header);
    client_read(&client, false, &reply);
    expect_reply(&reply, 401, "the credential is not known");
    hs_token(token, HS, CLAIMS(",\"exp\":1750000000"));
    snprintf(header, sizeof(header),
             "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token);
    client_send_text(&client, header);
    client_read(&client, false, &reply);
    expect_reply(&reply, 401, "the token has expired");
    reply_header(&reply, "WWW-Authenticate", value, sizeof(value));
    ck_assert_str_eq(value, "Bearer realm=\"distild\", error=\"invalid_token\"");
    client_close(&client);
    stop(&f);
    end_folder(&folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokens");
    TCase *tcase = tcase_create("tokens");
    tcase_add_unchecked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, tokens_of_each_algorithm_are_accepted);
    tcase_add_test(tcase, unsigned_and_missigned_tokens_are_refused);
    tcase_add_test(tcase, a_token_seen_before_is_still_checked);
    tcase_add_test(tcase, algorithms_are_pinned_to_keys);
    tcase_add_test(tcase, kid_is_a_name_to_look_up);
    tcase_add_test(tcase, tokens_have_one_spelling);
    tcase_add_test(tcase, long_tokens_are_refused_unread);
    tcase_add_test(tcase, times_are_held_to);
    tcase_add_test(tcase, claims_are_checked);
    tcase_add_test(tcase, bad_files_of_token_keys_are_refused);
    tcase_add_test(tcase, own_tokens_are_accepted_until_they_expire);
    tcase_add_test(tcase, tokens_open_routes);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}

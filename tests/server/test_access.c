/* test_access.c: what access follows from: encodings, rates, addresses, files of keys. */
#include <check.h>
#include <string.h>
#include <unistd.h>

#include "server/api_keys.h"
#include "server/base64url.h"
#include "server/client_address.h"
#include "server/rate_limit.h"
#include "tests/server/access_files.h"
#include "tests/server/server_fixture.h"
#include "tests/suite.h"

static const struct server_log silent = {.fd = -1};

/* ---- base64url ---- */

START_TEST(base64url_has_one_spelling_for_each_value)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},        {"Zg", "f"},          {"Zm8", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYmE", "fooba"}, {"-_-_", "\xfb\xff\xbf"}};
    static const char *const bad[] = {"Z",    "Zh",     "Zm9",  "Zm9vY", "Zg==",   "Zm8=",
                                      "Zm 9", "Zm9v\n", "+/+/", "Zm9v.", "Zg\xc3", "="};
    unsigned char bytes[64];
    char text[64];
    size_t i, size;
    for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
        ck_assert(server_base64url_decode(good[i].text, strlen(good[i].text), bytes, &size));
        ck_assert_uint_eq(size, strlen(good[i].bytes));
        ck_assert_mem_eq(bytes, good[i].bytes, size);
        server_base64url_encode(bytes, size, text);
        ck_assert_str_eq(text, good[i].text);
    }
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        ck_assert_msg(!server_base64url_decode(bad[i], strlen(bad[i]), bytes, &size), "%s", bad[i]);
}
END_TEST

/* ---- rates ---- */

START_TEST(rates_are_read)
{
    static const char *const bad[] = {
        "",      "5",     "5/",   "/s",   "0/s",   "5/d",   "-5/s",      "5/s:",
        "5/s:0", "5/s:x", "5 /s", "5/s ", "1.5/s", "5/sec", "1000001/s", "99999999999999999999/s"};
    struct server_rate rate;
    size_t i;
    ck_assert(server_rate_parse("50/s", &rate));
    ck_assert_int_eq(rate.interval, 20000000);
    ck_assert_int_eq(rate.depth, 1000000000);
    ck_assert(server_rate_parse("6/m:2", &rate));
    ck_assert_int_eq(rate.interval, 10 * (int64_t)1000000000);
    ck_assert_int_eq(rate.depth, 20 * (int64_t)1000000000);
    ck_assert(server_rate_parse("1000000/h:1000000", &rate));
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        ck_assert_msg(!server_rate_parse(bad[i], &rate), "%s", bad[i]);
}
END_TEST

START_TEST(a_bucket_gives_its_burst_and_then_its_rate)
{
    struct server_rate rate;
    _Atomic int64_t bucket = 0;
    int64_t now = 1000000000, ms = 1000000;
    int i;
    ck_assert(server_rate_parse("10/s:3", &rate));
    for (i = 0; i < 3; i++)
        ck_assert_int_eq(server_rate_take(&rate, &bucket, now), 0);
    ck_assert_int_eq(server_rate_take(&rate, &bucket, now), 100 * ms);
    ck_assert_int_eq(server_rate_take(&rate, &bucket, now + 60 * ms), 40 * ms);
    /* what was refused was not counted */
    ck_assert_int_eq(server_rate_take(&rate, &bucket, now + 100 * ms), 0);
    ck_assert_int_gt(server_rate_take(&rate, &bucket, now + 100 * ms), 0);
    server_rate_give_back(&rate, &bucket);
    ck_assert_int_eq(server_rate_take(&rate, &bucket, now + 100 * ms), 0);
    /* long after, no more than the burst has gathered */
    now += 3600 * 1000 * ms;
    for (i = 0; i < 3; i++)
        ck_assert_int_eq(server_rate_take(&rate, &bucket, now), 0);
    ck_assert_int_gt(server_rate_take(&rate, &bucket, now), 0);
}
END_TEST

START_TEST(the_table_of_buckets_keeps_its_size)
{
    struct server_rate_table *table = server_rate_table_create();
    struct server_rate rate;
    int64_t now = 1;
    int i, refused = 0;
    ck_assert_ptr_nonnull(table);
    ck_assert(server_rate_parse("1/h:2", &rate));
    ck_assert_int_eq(server_rate_table_take(table, &rate, "a", 1, now), 0);
    ck_assert_int_eq(server_rate_table_take(table, &rate, "b", 1, now), 0);
    ck_assert_int_eq(server_rate_table_take(table, &rate, "a", 1, now), 0);
    ck_assert_int_gt(server_rate_table_take(table, &rate, "a", 1, now), 0);
    ck_assert_int_eq(server_rate_table_take(table, &rate, "b", 1, now), 0);
    /* half a million others, each once: none is refused, whatever place it takes */
    for (i = 0; i < 500000; i++)
        refused += server_rate_table_take(table, &rate, &i, sizeof(i), now) > 0;
    ck_assert_int_eq(refused, 0);
    server_rate_table_free(table);
}
END_TEST

/* ---- addresses ---- */

static struct server_address address_of(const char *text)
{
    struct server_networks one;
    distil_error error;
    ck_assert_msg(server_networks_parse(text, &one, &error) == DISTIL_OK, "%s", error.message);
    return one.list[0].address;
}

START_TEST(networks_hold_what_they_should)
{
    static const char *const bad[] = {
        "",          "10.0.0.0/33",       "10.1.0.0/8", "fd00::1/8", "10.0.0/8",    "x",
        "10.0.0.1,", "10.0.0.1 10.0.0.2", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1", "1.2.3.4/0x8"};
    static const struct {
        const char *networks, *address;
        bool held;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.255", true},
        {"1.2.3.4", "1.2.3.4", true},
        {"1.2.3.4", "1.2.3.5", false},
        {"fd00::/8, 1.2.3.4", "fdff::1", true},
        {"fd00::/8,1.2.3.4", "1.2.3.4", true},
        {"0.0.0.0/0", "fd00::1", false},
        {"0.0.0.0/0", "255.1.1.1", true},
        {"::/0", "1.2.3.4", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
    };
    struct server_networks networks;
    struct server_address address, none = {{0}};
    size_t i;
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        ck_assert_msg(server_networks_parse(bad[i], &networks, NULL) == DISTIL_INVALID, "%s",
                      bad[i]);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ck_assert_int_eq(server_networks_parse(cases[i].networks, &networks, NULL), DISTIL_OK);
        address = address_of(cases[i].address);
        ck_assert_msg(server_networks_hold(&networks, &address) == cases[i].held, "%s in %s",
                      cases[i].address, cases[i].networks);
        ck_assert(!server_networks_hold(&networks, &none) || networks.list[0].bits == 0);
    }
    ck_assert_int_eq(server_networks_parse("unix", &networks, NULL), DISTIL_OK);
    ck_assert(server_networks_hold(&networks, &none));
    address = address_of("127.9.9.9");
    ck_assert(server_address_is_loopback(&address));
    address = address_of("::1");
    ck_assert(server_address_is_loopback(&address));
    address = address_of("128.0.0.1");
    ck_assert(!server_address_is_loopback(&address));
    ck_assert_uint_eq(server_address_significant(&address), 16);
    address = address_of("2001:db8::1");
    ck_assert_uint_eq(server_address_significant(&address), 8);
    address = address_of("::1");
    ck_assert_uint_ne(server_address_significant(&address), server_address_significant(&none));
}
END_TEST

START_TEST(forwarded_hops_are_followed_from_the_right_while_trusted)
{
    static const struct {
        const char *peer, *first, *second, *client; /* second: of another field of the header */
    } cases[] = {
        {"10.0.0.1", "203.0.113.9", NULL, "203.0.113.9"},
        {"10.0.0.1", "6.6.6.6, 203.0.113.9", NULL, "203.0.113.9"},
        {"10.0.0.1", "6.6.6.6, 203.0.113.9,10.0.0.2 , 10.0.0.3", NULL, "203.0.113.9"},
        {"10.0.0.1", "6.6.6.6", "203.0.113.9, 10.0.0.2", "203.0.113.9"},
        {"10.0.0.1", "203.0.113.9", "10.0.0.2", "203.0.113.9"},
        {"198.51.100.1", "203.0.113.9", NULL, "198.51.100.1"},
        {"10.0.0.1", "203.0.113.9, nonsense, 10.0.0.2", NULL, "10.0.0.2"},
        {"10.0.0.1", "203.0.113.9, ", NULL, "10.0.0.1"},
        {"10.0.0.1", "", NULL, "10.0.0.1"},
        {"10.0.0.1", "203.0.113.9:4711", NULL, "203.0.113.9"},
        {"10.0.0.1", "[2001:db8::1]:4711", NULL, "2001:db8::1"},
        {"10.0.0.1", "2001:db8::1", NULL, "2001:db8::1"},
        {"10.0.0.1", "[2001:db8::1", NULL, "10.0.0.1"},
        {"10.0.0.1", "for=192.0.2.60;proto=http;by=203.0.113.43", NULL, "192.0.2.60"},
        {"10.0.0.1", "proto=http; For=\"[2001:db8::17]:4711\"", NULL, "2001:db8::17"},
        {"10.0.0.1", "for=6.6.6.6, for=192.0.2.60;by=10.0.0.9, for=10.0.0.2", NULL, "192.0.2.60"},
        {"10.0.0.1", "for=_hidden", NULL, "10.0.0.1"},
        {"10.0.0.1", "for=\"6.6.6.6, for=192.0.2.60", NULL, "192.0.2.60"},
        {"10.0.0.1", "proto=http", NULL, "10.0.0.1"},
        {"10.0.0.1", "10.0.0.2, 10.0.0.3", NULL, "10.0.0.2"},
        {"10.0.0.1", "6.6.6.6, ::, 10.0.0.2", NULL, "10.0.0.2"},
    };
    struct server_networks trusted;
    char text[SERVER_ADDRESS_TEXT];
    size_t i;
    ck_assert_int_eq(server_networks_parse("10.0.0.0/8", &trusted, NULL), DISTIL_OK);
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct server_address address = address_of(cases[i].peer);
        const char *values[] = {cases[i].first, cases[i].second};
        server_address_forwarded(&address, &trusted, values, cases[i].second ? 2 : 1);
        server_address_print(&address, text);
        ck_assert_msg(strcmp(text, cases[i].client) == 0, "%s: %s, not %s", cases[i].first, text,
                      cases[i].client);
    }
}
END_TEST

/* ---- the file of keys ---- */

START_TEST(keys_are_read_from_their_file)
{
    char path[64];
    struct server_api_keys *keys;
    struct server_api_key *key;
    distil_error error;
    write_text(path, "# the keys\n\n  shop\t" HASH_A "  scope=predict,metrics rate=5/s:7 # 2024\r\n"
                     "ops " HASH_B " scope=admin");
    ck_assert_msg(server_api_keys_open(path, &silent, &keys, &error) == DISTIL_OK, "%s",
                  error.message);
    ck_assert_int_eq(keys->count, 2);
    key = server_api_keys_find(keys, "abc");
    ck_assert_ptr_nonnull(key);
    ck_assert_str_eq(key->name, "shop");
    ck_assert_uint_eq(key->scopes, SERVER_SCOPE_PREDICT | SERVER_SCOPE_METRICS);
    ck_assert_int_eq(key->rate.interval, 200000000);
    key = server_api_keys_find(keys, "def");
    ck_assert_ptr_nonnull(key);
    ck_assert_uint_eq(key->scopes, SERVER_SCOPE_ADMIN);
    ck_assert_int_eq(key->rate.interval, 0);
    ck_assert_ptr_null(server_api_keys_find(keys, "abd"));
    ck_assert_ptr_null(server_api_keys_find(keys, ""));
    server_api_keys_free(keys);
    unlink(path);
}
END_TEST

START_TEST(bad_files_of_keys_are_refused_with_their_line)
{
    static const struct {
        const char *content, *message;
    } cases[] = {
        {"", "the file is empty"},
        {"\nshop\n", "line 2: NAME sha256:HASH scope=SCOPES [rate=RATE] is expected"},
        {"a b c d e f g h i j k\n", "line 1: more fields than NAME"},
        {"shop " HASH_A "\n", "is expected"},
        {"shop secret-key scope=predict\n", "shop: sha256: and 64 hexadecimal digits"},
        {"shop sha256:12 scope=predict\n", "64 hexadecimal digits"},
        {"shop " HASH_A "0 scope=predict\n", "64 hexadecimal digits"},
        {"shop sha256:zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad "
         "scope=predict\n",
         "64 hexadecimal digits"},
        {"sh/op " HASH_A " scope=predict\n", "a name is 1 to 64"},
        {"shop " HASH_A " scope=predict,everything\n", "'everything' is no scope"},
        {"shop " HASH_A " scope=\n", "'' is no scope"},
        {"shop " HASH_A " scope=predict,\n", "'' is no scope"},
        {"shop " HASH_A " scope=session\n", "'session' is no scope"},
        {"shop " HASH_A " scope=predict rate=5\n", "'5' is no rate"},
        {"shop " HASH_A " scope=predict scope=admin\n", "scope= is needed once"},
        {"shop " HASH_A " rate=5/s rate=5/s\n", "scope= is needed once"},
        {"shop " HASH_A " scope=predict expires=never\n", "only scope= and rate= are known"},
        {"shop " HASH_A " scope=predict\nshop " HASH_B " scope=admin\n",
         "line 2: the name shop stands twice"},
        {"shop " HASH_A " scope=predict\nops " HASH_A " scope=admin\n",
         "line 2: ops has the key of shop"},
    };
    struct server_api_keys *keys;
    distil_error error;
    char path[64];
    size_t i;
    for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        write_text(path, cases[i].content);
        ck_assert_int_ne(server_api_keys_open(path, &silent, &keys, &error), DISTIL_OK);
        ck_assert_msg(strstr(error.message, cases[i].message) != NULL, "%s", error.message);
        ck_assert_ptr_nonnull(strstr(error.message, path));
        ck_assert_ptr_null(strstr(error.message, "secret-key"));
        unlink(path);
    }
    ck_assert_int_eq(server_api_keys_open(path, &silent, &keys, &error), DISTIL_NOT_FOUND);
    ck_assert_int_eq(server_api_keys_open("/tmp", &silent, &keys, &error), DISTIL_INVALID);
    ck_assert_int_eq(server_api_keys_open("/dev/zero", &silent, &keys, &error), DISTIL_FORMAT);
    write_file(path, "shop\0x", 6, 0600);
    ck_assert_int_eq(server_api_keys_open(path, &silent, &keys, &error), DISTIL_FORMAT);
    unlink(path);
    write_file(path, "shop", 4, 0620);
    ck_assert_int_eq(server_api_keys_open(path, &silent, &keys, &error), DISTIL_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "mode 620"));
    unlink(path);
}
END_TEST

START_TEST(a_key_that_is_made_is_admitted)
{
    static const struct {
        const char *name, *scopes, *rate;
    } bad[] = {{"", "predict", NULL},     {"a b", "predict", NULL},
               {"a\nb", "predict", NULL}, {"#a", "predict", NULL},
               {"a", "", NULL},           {"a", "predict admin", NULL},
               {"a", "predict", "fast"},  {"a", "predict", "5/s\nb"},
               {"a", "predict\n", NULL}};
    char key[SERVER_API_KEY_SIZE], other[SERVER_API_KEY_SIZE], line[SERVER_API_KEY_LINE], path[64];
    struct server_api_keys *keys;
    distil_error error;
    size_t i;
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        ck_assert_msg(server_api_key_make(bad[i].name, bad[i].scopes, bad[i].rate, key, line,
                                          &error) != DISTIL_OK,
                      "%zu", i);
    ck_assert_int_eq(server_api_key_make("a", "admin", NULL, other, line, &error), DISTIL_OK);
    ck_assert_int_eq(server_api_key_make("a", "predict,metrics", "9/m", key, line, &error),
                     DISTIL_OK);
    ck_assert_str_ne(key, other);
    ck_assert_uint_eq(strlen(key), SERVER_API_KEY_SIZE - 1);
    ck_assert_ptr_null(strstr(line, key));
    write_text(path, line);
    ck_assert_int_eq(server_api_keys_open(path, &silent, &keys, &error), DISTIL_OK);
    ck_assert_ptr_nonnull(server_api_keys_find(keys, key));
    ck_assert_ptr_null(server_api_keys_find(keys, other));
    server_api_keys_free(keys);
    unlink(path);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        base64url_has_one_spelling_for_each_value,
        rates_are_read,
        a_bucket_gives_its_burst_and_then_its_rate,
        the_table_of_buckets_keeps_its_size,
        networks_hold_what_they_should,
        forwarded_hops_are_followed_from_the_right_while_trusted,
        keys_are_read_from_their_file,
        bad_files_of_keys_are_refused_with_their_line,
        a_key_that_is_made_is_admitted,
    };
    return run_tests("access", 30, tests, sizeof(tests) / sizeof(*tests));
}

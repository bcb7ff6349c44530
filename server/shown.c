/* shown.c: see shown.h.
 *
 * An id is base64url of: 1 (the form), the number (12), the time (8), age, gender, occupation and count (1
 * each), of each item its hash (4) and its similarity in steps of 1/16 (1), the code (16). */
#include "server/shown.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <math.h>
#include <string.h>

#include "server/base64url.h"

enum {
    FORM = 1,
    AT_TIME = 1 + SERVER_SHOWN_NUMBER,
    AT_PROFILE = AT_TIME + 8,
    AT_COUNT = AT_PROFILE + 3,
    AT_ITEMS = AT_COUNT + 1,
    ITEM = 5, /* bytes */
    CODE = 16,
    HASH = 32,
    BYTES_MOST = AT_ITEMS + SERVER_SHOWN_MOST * ITEM + CODE
};

_Static_assert(BYTES_MOST * 4 / 3 + 2 <= SERVER_SHOWN_TEXT, "an id must fit its text");

static const int64_t good_for = (int64_t)SERVER_SHOWN_DAYS * 86400;

bool server_shown_begin(struct server_shown *shown)
{
    return gnutls_rnd(GNUTLS_RND_NONCE, shown->number, sizeof(shown->number)) == 0;
}

static void put(unsigned char *to, uint64_t value, int bytes)
{
    int i;
    for (i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get(const unsigned char *from, int bytes)
{
    uint64_t value = 0;
    int i;
    for (i = bytes - 1; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

uint32_t server_shown_hash(const char *item)
{
    unsigned char hash[HASH] = {0};
    gnutls_hash_fast(GNUTLS_DIG_SHA256, item, strlen(item), hash);
    return (uint32_t)get(hash, 4);
}

int server_shown_find(const struct server_shown *shown, const char *item)
{
    uint32_t hash = server_shown_hash(item);
    int i;
    for (i = 0; i < shown->count; i++)
        if (shown->items[i] == hash)
            return i;
    return -1;
}

static bool make_code(const unsigned char *bytes, size_t size,
                      const unsigned char key[SERVER_SHOWN_KEY], unsigned char code[HASH])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, SERVER_SHOWN_KEY, bytes, size, code) == 0;
}

bool server_shown_write(const struct server_shown *shown, const unsigned char key[SERVER_SHOWN_KEY],
                        char text[SERVER_SHOWN_TEXT])
{
    unsigned char bytes[BYTES_MOST], code[HASH];
    size_t size = AT_ITEMS;
    int i;
    bytes[0] = FORM;
    memcpy(bytes + 1, shown->number, SERVER_SHOWN_NUMBER);
    put(bytes + AT_TIME, (uint64_t)shown->at, 8);
    bytes[AT_PROFILE] = (unsigned char)shown->profile.age;
    bytes[AT_PROFILE + 1] = (unsigned char)shown->profile.gender;
    bytes[AT_PROFILE + 2] = (unsigned char)shown->profile.occupation;
    bytes[AT_COUNT] = (unsigned char)shown->count;
    for (i = 0; i < shown->count; i++, size += ITEM) {
        put(bytes + size, shown->items[i], 4);
        bytes[size + 4] = (unsigned char)(128 + lrintf(16 * shown->similarities[i]));
    }
    if (!make_code(bytes, size, key, code))
        return false;
    memcpy(bytes + size, code, CODE);
    server_base64url_encode(bytes, size + CODE, text);
    return true;
}

/* Whether the bytes before the code are a list; a good code says that they are one of ours. */
static bool is_list(const unsigned char *bytes, size_t size)
{
    return bytes[0] == FORM && bytes[AT_PROFILE] <= SERVER_AGE_MOST &&
           bytes[AT_PROFILE + 1] < SERVER_GENDERS && bytes[AT_PROFILE + 2] < SERVER_OCCUPATIONS &&
           bytes[AT_COUNT] <= SERVER_SHOWN_MOST &&
           size == AT_ITEMS + (size_t)bytes[AT_COUNT] * ITEM;
}

const char *server_shown_read(const char *text, const unsigned char key[SERVER_SHOWN_KEY],
                              int64_t now, struct server_shown *shown)
{
    static const char unknown[] = "is none that was given out here";
    unsigned char bytes[SERVER_SHOWN_TEXT * 3 / 4], code[HASH]; /* of any text that is let in */
    size_t length = strlen(text), size;
    int i;
    if (length >= SERVER_SHOWN_TEXT || !server_base64url_decode(text, length, bytes, &size) ||
        size < AT_ITEMS + CODE)
        return unknown;
    size -= CODE;
    if (!make_code(bytes, size, key, code) || gnutls_memcmp(bytes + size, code, CODE) != 0 ||
        !is_list(bytes, size))
        return unknown;
    memcpy(shown->number, bytes + 1, SERVER_SHOWN_NUMBER);
    shown->at = (int64_t)get(bytes + AT_TIME, 8);
    shown->profile = (struct server_profile){.age = bytes[AT_PROFILE],
                                             .gender = bytes[AT_PROFILE + 1],
                                             .occupation = bytes[AT_PROFILE + 2]};
    shown->count = bytes[AT_COUNT];
    for (i = 0; i < shown->count; i++) {
        const unsigned char *item = bytes + AT_ITEMS + (size_t)i * ITEM;
        shown->items[i] = (uint32_t)get(item, 4);
        shown->similarities[i] = (float)(item[4] - 128) / 16;
    }
    return now - shown->at > good_for ? "has expired: it was good for a week" : NULL;
}

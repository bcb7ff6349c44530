/* base64url.c: see base64url.h. */
#include "server/base64url.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool server_base64url_decode(const char *text, size_t length, unsigned char *bytes, size_t *size)
{
    unsigned held = 0;
    int bits = 0;
    size_t i, count = 0;
    if (length % 4 == 1)
        return false;
    for (i = 0; i < length; i++) {
        int value = value_of(text[i]);
        if (value < 0)
            return false;
        held = held << 6 | (unsigned)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes[count++] = (unsigned char)(held >> bits);
            held &= (1U << bits) - 1U;
        }
    }
    *size = count;
    return held == 0;
}

void server_base64url_encode(const unsigned char *bytes, size_t size, char *text)
{
    unsigned held = 0;
    int bits = 0;
    size_t i;
    for (i = 0; i < size; i++) {
        held = (held << 8 | bytes[i]) & 0xFFFFU;
        bits += 8;
        while (bits >= 6) {
            bits -= 6;
            *text++ = digits[held >> bits & 63U];
        }
    }
    if (bits > 0)
        *text++ = digits[held << (6 - bits) & 63U];
    *text = '\0';
}

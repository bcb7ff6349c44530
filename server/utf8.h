/* utf8.h: well-formed UTF-8, as table 3-7 of the Unicode standard has it. */
#ifndef SERVER_UTF8_H
#define SERVER_UTF8_H

#include <stddef.h>

/* Bytes of the well-formed sequence at text, 1 to 4; 0 where the first of length >= 1 bytes begins
 * none. */
static inline size_t server_utf8_sequence(const unsigned char *text, size_t length)
{
    unsigned char lead = text[0], low = 0x80, high = 0xBF;
    size_t need, i;
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    need = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length < need)
        return 0;
    if (lead == 0xE0)
        low = 0xA0; /* shorter forms exist below */
    else if (lead == 0xED)
        high = 0x9F; /* surrogates above */
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F; /* beyond U+10FFFF */
    if (text[1] < low || text[1] > high)
        return 0;
    for (i = 2; i < need; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    return need;
}

#endif

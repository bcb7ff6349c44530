/* uuid.c: see uuid.h. */
#include "server/uuid.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "server/timestamp.h"

enum { DIGITS = 32 };

void server_uuid_make(char uuid[SERVER_UUID])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t ms = (uint64_t)(server_clock() / 1000000);
    unsigned char bytes[DIGITS / 2];
    int i, length = 0;
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        memset(bytes, 0, sizeof(bytes)); /* never so for 16 bytes, once the system has started */
    for (i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(ms >> (40 - 8 * i));
    bytes[6] = (unsigned char)(0x70 | (bytes[6] & 0x0F));
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3F));
    for (i = 0; i < DIGITS; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            uuid[length++] = '-';
        uuid[length++] = digits[bytes[i / 2] >> (i % 2 ? 0 : 4) & 0x0F];
    }
    uuid[length] = '\0';
}

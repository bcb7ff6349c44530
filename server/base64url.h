/* base64url.h: the base64url of RFC 7515, without padding. */
#ifndef SERVER_BASE64URL_H
#define SERVER_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>

/* Decodes length characters to *size bytes at most 3/4 as many. False for what no encoder writes:
 * other characters, padding, a length no bytes have, bits beyond the last byte. So that each value
 * has one spelling, and a token cannot be changed and stay valid. */
bool server_base64url_decode(const char *text, size_t length, unsigned char *bytes, size_t *size);
/* Encodes, with a NUL; text has room for size * 4 / 3 + 2 characters. */
void server_base64url_encode(const unsigned char *bytes, size_t size, char *text);

#endif

/* uuid.h: names for things that nobody else gives, and nobody can foresee. */
#ifndef SERVER_UUID_H
#define SERVER_UUID_H

enum { SERVER_UUID = 37 /* characters of one, with its NUL */ };

/* A UUID of version 7 (RFC 9562): of the time in milliseconds and 74 random bits, so that those made
 * later sort behind. */
void server_uuid_make(char uuid[SERVER_UUID]);

#endif

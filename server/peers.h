/* peers.h: how many connections each address has open, for a limit on them. */
#ifndef SERVER_PEERS_H
#define SERVER_PEERS_H

#include <stdbool.h>
#include <sys/socket.h>

struct server_peers;

/* For at most so many addresses at a time; NULL when memory runs out. */
struct server_peers *server_peers_create(int addresses);
void server_peers_free(struct server_peers *peers);

/* Counts a connection, unless its address has limit of them. An IPv6 network of 64 bits, which is
 * what one client is given, is one address; connections that have none are not limited. */
bool server_peers_enter(struct server_peers *peers, const struct sockaddr *address, int limit);
/* Takes back one that was counted. */
void server_peers_leave(struct server_peers *peers, const struct sockaddr *address);

#endif

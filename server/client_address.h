/* client_address.h: whom a connection belongs to: its peer, or whom a trusted proxy says that it
 * speaks for. */
#ifndef SERVER_CLIENT_ADDRESS_H
#define SERVER_CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "weights/distil_status.h"

enum {
    SERVER_ADDRESS_TEXT = 46, /* of an address as text, with its NUL */
    SERVER_TRUSTED_NETWORKS = 64
};

/* An IPv6 address, or an IPv4 one mapped into IPv6; all zero where the peer has none, as on a
 * Unix-domain socket. */
struct server_address {
    uint8_t bytes[16];
};

struct server_network {
    struct server_address address;
    int bits; /* of the prefix, 0 to 128 */
};

struct server_networks {
    int count;
    bool unix_socket; /* peers on a Unix-domain socket belong to them too */
    struct server_network list[SERVER_TRUSTED_NETWORKS];
};

/* Reads networks with commas between them: 10.0.0.0/8, fd00::/8, single addresses, and `unix`.
 * DISTIL_INVALID names the one that is none, or whose address has bits beyond its prefix. */
distil_status server_networks_parse(const char *text, struct server_networks *networks,
                                    distil_error *error);
bool server_networks_hold(const struct server_networks *networks,
                          const struct server_address *address);

struct server_address server_address_of(const struct sockaddr *peer);
/* Whether it is of this machine alone: 127.0.0.0/8 or ::1. */
bool server_address_is_loopback(const struct server_address *address);
/* Bytes of an address that tell clients apart: of IPv6 the first half, as the rest is the client's
 * own to choose. Who comes through a Unix-domain socket is told apart from ::1. */
size_t server_address_significant(const struct server_address *address);
void server_address_print(const struct server_address *address, char text[SERVER_ADDRESS_TEXT]);

/* Follows the hops that X-Forwarded-For or Forwarded name from the right, as long as who named them
 * is trusted: sets *address, first the peer's, to the last one so reached. A hop that is no address
 * ends it. values are the header's fields in order. */
void server_address_forwarded(struct server_address *address, const struct server_networks *trusted,
                              const char *const *values, int count);

#endif

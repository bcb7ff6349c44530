/* client_address.c: see client_address.h. */
#include "server/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

enum { MAX_HOPS = 32, MAX_HOP = 64 };

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

static bool is_ipv4(const struct server_address *address)
{
    return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

/* Whether it is what a peer has that came through a Unix-domain socket. */
static bool is_none(const struct server_address *address)
{
    static const struct server_address none;
    return memcmp(address, &none, sizeof(none)) == 0;
}

/* Reads an IPv4 or IPv6 address. */
static bool read_address(const char *text, struct server_address *address)
{
    if (inet_pton(AF_INET, text, address->bytes + 12) == 1) {
        memcpy(address->bytes, mapped, sizeof(mapped));
        return true;
    }
    return inet_pton(AF_INET6, text, address->bytes) == 1;
}

/* ---- networks ---- */

static bool matches(const struct server_network *network, const struct server_address *address)
{
    size_t bytes = (size_t)network->bits / 8;
    unsigned rest = (unsigned)network->bits % 8;
    unsigned mask = 0xFFU & (0xFF00U >> rest);
    if (memcmp(network->address.bytes, address->bytes, bytes) != 0)
        return false;
    return !rest || !((network->address.bytes[bytes] ^ address->bytes[bytes]) & mask);
}

/* Whether an address has no bit beyond a prefix: 10.1.0.0/8 is a slip of the pen. */
static bool is_network(const struct server_network *network)
{
    struct server_network whole = *network;
    struct server_address zero = {{0}};
    size_t bytes = (size_t)network->bits / 8, i;
    memcpy(zero.bytes, network->address.bytes, bytes);
    if (network->bits % 8)
        zero.bytes[bytes] =
            (uint8_t)(network->address.bytes[bytes] & (0xFF00U >> (unsigned)(network->bits % 8)));
    for (i = 0; i < sizeof(zero.bytes); i++)
        if (zero.bytes[i] != whole.address.bytes[i])
            return false;
    return true;
}

static bool read_network(char *text, struct server_network *network)
{
    char *slash = strchr(text, '/');
    int most, bits = 0;
    if (slash)
        *slash = '\0';
    if (!read_address(text, &network->address))
        return false;
    most = strchr(text, ':') ? 128 : 32;
    if (slash) {
        const char *digits = slash + 1;
        if (!*digits || strlen(digits) > 3)
            return false;
        for (; *digits; digits++) {
            if (*digits < '0' || *digits > '9')
                return false;
            bits = bits * 10 + (*digits - '0');
        }
        if (bits > most)
            return false;
    } else {
        bits = most;
    }
    network->bits = bits + 128 - most;
    return is_network(network);
}

distil_status server_networks_parse(const char *text, struct server_networks *networks,
                                    distil_error *error)
{
    memset(networks, 0, sizeof(*networks));
    for (;;) {
        char one[64];
        size_t length;
        text += strspn(text, " ");
        length = strcspn(text, ", ");
        if (networks->count == SERVER_TRUSTED_NETWORKS)
            return distil_fail(error, DISTIL_INVALID, "at most %d networks can be listed",
                               SERVER_TRUSTED_NETWORKS);
        if (length == 0 || length >= sizeof(one))
            return distil_fail(error, DISTIL_INVALID, "'%.60s' is no address or network", text);
        memcpy(one, text, length);
        one[length] = '\0';
        if (strcmp(one, "unix") == 0)
            networks->unix_socket = true;
        else if (read_network(one, &networks->list[networks->count]))
            networks->count++;
        else
            return distil_fail(error, DISTIL_INVALID,
                               "'%.*s' is no address or network such as 10.0.0.0/8 or fd00::/8",
                               (int)length, text);
        text += length;
        text += strspn(text, " ");
        if (!*text)
            return DISTIL_OK;
        if (*text++ != ',')
            return distil_fail(error, DISTIL_INVALID, "a comma is expected before '%.60s'",
                               text - 1);
    }
}

bool server_networks_hold(const struct server_networks *networks,
                          const struct server_address *address)
{
    int i;
    if (is_none(address))
        return networks->unix_socket;
    for (i = 0; i < networks->count; i++)
        if (matches(&networks->list[i], address))
            return true;
    return false;
}

/* ---- addresses ---- */

struct server_address server_address_of(const struct sockaddr *peer)
{
    struct server_address address = {{0}};
    if (peer && peer->sa_family == AF_INET) {
        memcpy(address.bytes, mapped, sizeof(mapped));
        memcpy(address.bytes + 12, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
    } else if (peer && peer->sa_family == AF_INET6) {
        memcpy(address.bytes, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
    }
    return address;
}

bool server_address_is_loopback(const struct server_address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    if (is_ipv4(address))
        return address->bytes[12] == 127;
    return memcmp(address->bytes, one, sizeof(one)) == 0;
}

size_t server_address_significant(const struct server_address *address)
{
    return is_ipv4(address) || is_none(address) ? 16 : 8;
}

void server_address_print(const struct server_address *address, char text[SERVER_ADDRESS_TEXT])
{
    if (is_none(address))
        memcpy(text, "unix", 5);
    else if (is_ipv4(address))
        inet_ntop(AF_INET, address->bytes + 12, text, SERVER_ADDRESS_TEXT);
    else
        inet_ntop(AF_INET6, address->bytes, text, SERVER_ADDRESS_TEXT);
}

/* ---- forwarded requests ---- */

/* Reads a hop: an address, an IPv4 address with a port, or an IPv6 address in brackets with or
 * without one. */
static bool read_hop(const char *text, size_t length, struct server_address *address)
{
    char host[MAX_HOP];
    size_t colons = 0, i;
    if (length > 1 && text[0] == '[') {
        const char *end = memchr(text, ']', length);
        if (!end || (end + 1 < text + length && end[1] != ':'))
            return false;
        text++;
        length = (size_t)(end - text);
    } else {
        for (i = 0; i < length; i++)
            colons += text[i] == ':';
        if (colons == 1)
            length = (size_t)((const char *)memchr(text, ':', length) - text);
    }
    if (length == 0 || length >= sizeof(host))
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    return read_address(host, address);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* An element of the header, without the white space around it, as an address: the parameter `for` of
 * Forwarded, else the whole of it. */
static bool read_element(const char *text, size_t length, struct server_address *address)
{
    while (length > 0 && is_space(text[length - 1]))
        length--;
    while (length > 0 && is_space(*text)) {
        text++;
        length--;
    }
    if (!memchr(text, '=', length))
        return read_hop(text, length, address);
    while (length > 4) {
        const char *end = memchr(text, ';', length);
        size_t part = end ? (size_t)(end - text) : length;
        if (strncasecmp(text, "for=", 4) == 0) {
            text += 4;
            part -= 4;
            if (part >= 2 && text[0] == '"' && text[part - 1] == '"')
                return read_hop(text + 1, part - 2, address);
            return read_hop(text, part, address);
        }
        part += end ? 1U : 0U;
        text += part;
        length -= part;
        while (length > 0 && is_space(*text)) {
            text++;
            length--;
        }
    }
    return false;
}

void server_address_forwarded(struct server_address *address, const struct server_networks *trusted,
                              const char *const *values, int count)
{
    int hops = 0;
    while (count-- > 0) {
        const char *value = values[count], *end = value + strlen(value);
        for (;;) {
            const char *start = end;
            struct server_address hop;
            if (!server_networks_hold(trusted, address) || hops++ == MAX_HOPS)
                return;
            while (start > value && start[-1] != ',')
                start--;
            /* :: is nobody's address, and stands for a Unix-domain socket here, which no header may */
            if (!read_element(start, (size_t)(end - start), &hop) || is_none(&hop))
                return;
            *address = hop;
            if (start == value)
                break;
            end = start - 1;
        }
    }
}

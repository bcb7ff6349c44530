/* test_peers.c: the connections of each address, counted. */
#include <check.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "server/peers.h"
#include "tests/suite.h"

static struct sockaddr_storage address_number(int i)
{
    struct sockaddr_storage storage = {0};
    if (i % 2) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&storage;
        v4->sin_family = AF_INET;
        v4->sin_addr.s_addr = htonl(0x0A000000U + (unsigned)i);
    } else {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&storage;
        v6->sin6_family = AF_INET6;
        v6->sin6_addr.s6_addr[0] = 0xFD;
        v6->sin6_addr.s6_addr[7] = (unsigned char)i;
    }
    return storage;
}

/* Against plain counters, with few enough places that addresses share them. */
START_TEST(peers_are_counted)
{
    enum { ADDRESSES = 100, STEPS = 200000, LIMIT = 5 };
    struct server_peers *peers = server_peers_create(ADDRESSES);
    struct sockaddr_storage a, b;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&b;
    int counts[ADDRESSES] = {0}, step;
    unsigned random = 1;
    ck_assert_ptr_nonnull(peers);
    for (step = 0; step < STEPS; step++) {
        int i = (int)((random = random * 1103515245U + 12345U) >> 16) % ADDRESSES;
        a = address_number(i);
        if (random & 0x8000) {
            bool enters = server_peers_enter(peers, (struct sockaddr *)&a, LIMIT);
            ck_assert_int_eq(enters, counts[i] < LIMIT);
            counts[i] += enters;
        } else if (counts[i] > 0) {
            server_peers_leave(peers, (struct sockaddr *)&a);
            counts[i]--;
        }
    }
    server_peers_free(peers);
    /* the second half of an IPv6 address is its owner's to choose; a mapped address is its IPv4 one */
    peers = server_peers_create(2);
    a = b = address_number(0);
    v6->sin6_addr.s6_addr[15] = 9;
    ck_assert(server_peers_enter(peers, (struct sockaddr *)&a, 1));
    ck_assert(!server_peers_enter(peers, (struct sockaddr *)&b, 1));
    memset(&v6->sin6_addr, 0, sizeof(v6->sin6_addr));
    memset(v6->sin6_addr.s6_addr + 10, 0xFF, 2);
    v6->sin6_addr.s6_addr[12] = 10;
    v6->sin6_addr.s6_addr[15] = 1;
    a = address_number(1);
    ck_assert(server_peers_enter(peers, (struct sockaddr *)&a, 1));
    ck_assert(!server_peers_enter(peers, (struct sockaddr *)&b, 1));
    a.ss_family = AF_UNIX;
    ck_assert(server_peers_enter(peers, (struct sockaddr *)&a, 0));
    server_peers_free(peers);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        peers_are_counted,
    };
    return run_tests("peers", 40, tests, sizeof(tests) / sizeof(*tests));
}

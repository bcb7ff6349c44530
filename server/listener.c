/* listener.c: see listener.h. */
#include "server/listener.h"

#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/access.h"
#include "server/client_address.h"
#include "server/http.h"
#include "server/internal.h"
#include "server/peers.h"
#include "server/prediction_log.h"
#include "server/unix_socket.h"

enum {
    BACKLOG = 4096,
    MAX_LINGERING = 64,
    LINGER_BYTES = 16 * 1024 * 1024,
    ACCEPTED_AT_ONCE = 32,
    LINGER_MS = 100, /* between looks at sockets that are read off */
    SWEEP_MS = 250,  /* between looks at connections that take too long */
    RETRY_MS = 20,   /* after which a full server looks for free descriptors or connections again */
    HANDSHAKE_MS =
        50, /* in which a connection comes to stand that was begun before the listener ends */
    LEAVING_MS = 1, /* the same while a connection is about to end */
    /* that a connection has been idle before it has to make room: those in use are not to be closed in turn */
    LEAST_IDLE_MS = 1000
};

static const int64_t linger_ns = 2000000000;

struct lingering {
    int fd;
    int64_t deadline;
    size_t bytes; /* read off so far */
};

struct server_listener {
    struct server *server;
    int max_connections;
    int fd, wake, port;
    struct server_unix_socket unix_socket;
    int64_t swept;
    bool started, stopped;
    bool full; /* out of descriptors or connections: wait before accepting more */
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    bool stopping;
    struct lingering lingering[MAX_LINGERING];
    int lingering_count;
};

/* ---- sockets that are read off ---- */

/* Reads what there is; true when the socket is done with. */
static bool read_off(struct lingering *l, int64_t now)
{
    char sink[16384];
    ssize_t got;
    while ((got = recv(l->fd, sink, sizeof(sink), MSG_DONTWAIT)) > 0) {
        l->bytes += (size_t)got;
        if (l->bytes > LINGER_BYTES)
            return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return now > l->deadline;
    return true;
}

static void serve_lingering(struct server_listener *listener)
{
    int64_t now = server_now();
    int i;
    pthread_mutex_lock(&listener->lock);
    for (i = 0; i < listener->lingering_count;) {
        if (read_off(&listener->lingering[i], now)) {
            close(listener->lingering[i].fd);
            listener->lingering[i] = listener->lingering[--listener->lingering_count];
        } else {
            i++;
        }
    }
    pthread_mutex_unlock(&listener->lock);
}

static void wake(const struct server_listener *listener)
{
    uint64_t one = 1;
    ssize_t written = write(listener->wake, &one, sizeof(one));
    (void)written;
}

void server_listener_linger(struct server_listener *listener, int fd)
{
    bool taken = false;
    shutdown(fd, SHUT_WR);
    pthread_mutex_lock(&listener->lock);
    if (!listener->stopping && listener->lingering_count < MAX_LINGERING) {
        struct lingering *l = &listener->lingering[listener->lingering_count++];
        l->fd = fd;
        l->deadline = server_now() + linger_ns;
        l->bytes = 0;
        taken = true;
    }
    pthread_mutex_unlock(&listener->lock);
    if (taken)
        wake(listener);
    else
        close(fd);
}

/* ---- accepting ---- */

/* Hands a connection on, unless its address has too many already. */
static void take(const struct server_listener *listener, int fd, const struct sockaddr *address,
                 socklen_t length)
{
    struct server *server = listener->server;
    int limit = server->options.max_connections_per_address;
    char host[NI_MAXHOST] = "?";
    if (!server->peers || server_peers_enter(server->peers, address, limit)) {
        server_count(server_common_meter(server), SERVER_COUNT_CONNECTIONS, 1);
        server_http_add(server->http, fd, address, length);
        return;
    }
    close(fd);
    server_count(server_common_meter(server), SERVER_COUNT_CLOSED_ADDRESS, 1);
    getnameinfo(address, length, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    server_log_printf(&server->options.log, SERVER_LOG_WARN,
                      "%s has %d connections open, and may have no more", host, limit);
}

static void sweep(struct server_listener *listener)
{
    int64_t now = server_now();
    if (now - listener->swept < (int64_t)SWEEP_MS * 1000000)
        return;
    listener->swept = now;
    server_http_sweep(listener->server->http);
    if (listener->server->predictions)
        server_prediction_log_sweep(listener->server->predictions);
}

/* Accepts up to count connections; false when there was none left, or no room for one. */
static bool accept_some(struct server_listener *listener, int count)
{
    struct server *server = listener->server;
    int room = listener->max_connections - atomic_load(&server->connections);
    if (room <= 0)
        return false;
    if (count > room)
        count = room;
    while (count-- > 0) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(listener, fd, (struct sockaddr *)&address, length);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (!listener->full)
                server_log_printf(&server->options.log, SERVER_LOG_WARN,
                                  "connections have to wait: %s", strerror(errno));
            listener->full = true;
            return false;
        } else if (errno == EAGAIN) {
            return false;
        } /* else the client has gone again */
    }
    return true;
}

static int fill_poll(struct server_listener *listener, struct pollfd *fds, bool accepting)
{
    int count = 0, i;
    fds[count++] = (struct pollfd){.fd = listener->wake, .events = POLLIN};
    fds[count++] = (struct pollfd){.fd = accepting ? listener->fd : -1, .events = POLLIN};
    pthread_mutex_lock(&listener->lock);
    for (i = 0; i < listener->lingering_count; i++)
        fds[count++] = (struct pollfd){.fd = listener->lingering[i].fd, .events = POLLIN};
    pthread_mutex_unlock(&listener->lock);
    return count;
}

/* At the limit of connections: lets an idle one end where another waits to be accepted. Whether one is
 * about to end. */
static bool make_room(const struct server_listener *listener)
{
    struct pollfd waiting = {.fd = listener->fd, .events = POLLIN};
    return poll(&waiting, 1, 0) > 0 && server_http_make_room(listener->server->http, LEAST_IDLE_MS);
}

/* Closing a listening socket resets the connections that the kernel has made but that are not accepted yet. So first none
 * is begun any more: segments with SYN are dropped, and their senders try again later, when they are refused, or find
 * another server. Handshakes under way end within HANDSHAKE_MS, or are the ones that closing still resets. */
static void accept_the_last(struct server_listener *listener)
{
    enum { TCP_FLAGS_AT = 13 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog filter = {.len = sizeof(code) / sizeof(*code), .filter = code};
    struct pollfd waiting = {.fd = listener->fd, .events = POLLIN};
    int64_t end = server_now();
    if (listener->port > 0 &&
        setsockopt(listener->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0)
        end += (int64_t)HANDSHAKE_MS * 1000000;
    server_unix_remove(&listener->unix_socket);
    for (;;) {
        int64_t left = end - server_now();
        while (accept_some(listener, ACCEPTED_AT_ONCE))
            continue;
        if (left <= 0)
            return;
        poll(&waiting, 1, (int)(left / 1000000) + 1);
    }
}

static bool is_stopping(struct server_listener *listener)
{
    bool stopping;
    pthread_mutex_lock(&listener->lock);
    stopping = listener->stopping;
    pthread_mutex_unlock(&listener->lock);
    return stopping;
}

static void *run(void *argument)
{
    struct server_listener *listener = argument;
    struct pollfd fds[2 + MAX_LINGERING];
    while (!is_stopping(listener)) {
        int connections = atomic_load(&listener->server->connections);
        bool room = connections < listener->max_connections;
        bool accepting = !listener->full && room;
        bool leaving = !room && make_room(listener);
        int count = fill_poll(listener, fds, accepting);
        int timeout = leaving           ? LEAVING_MS
                      : !accepting      ? RETRY_MS
                      : count > 2       ? LINGER_MS
                      : connections > 0 ? SWEEP_MS
                                        : -1;
        listener->full = false;
        if (poll(fds, (nfds_t)count, timeout) < 0)
            continue;
        if (fds[0].revents) {
            uint64_t drained;
            ssize_t got = read(listener->wake, &drained, sizeof(drained));
            (void)got;
        }
        if (fds[1].revents)
            accept_some(listener, ACCEPTED_AT_ONCE);
        if (count > 2)
            serve_lingering(listener);
        sweep(listener);
    }
    accept_the_last(listener);
    return NULL;
}

/* ---- lifecycle ---- */

static int open_socket(const struct addrinfo *info)
{
    int one = 1, zero = 0;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    info->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    one = errno;
    close(fd);
    errno = one;
    return -1;
}

/* Refuses addresses that other machines reach where nothing is asked of those who call. */
static distil_status check_reach(const struct server *server, const struct addrinfo *found,
                                 distil_error *error)
{
    if (server_access_may_be_reached(server->access))
        return DISTIL_OK;
    for (; found; found = found->ai_next) {
        struct server_address address = server_address_of(found->ai_addr);
        if (!server_address_is_loopback(&address))
            return distil_fail(error, DISTIL_INVALID,
                               "host %s can be reached from other machines and no credential is "
                               "configured: give --api-keys or --jwt-keys, or "
                               "--allow-anonymous to serve everyone who can reach it",
                               server->options.host);
    }
    return DISTIL_OK;
}

static distil_status listen_on(struct server_listener *listener, distil_error *error)
{
    const struct server_options *options = &listener->server->options;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL, *info;
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    char port[8];
    distil_status status;
    int failure;
    snprintf(port, sizeof(port), "%u", options->port);
    failure = getaddrinfo(options->host, port, &hints, &found);
    if (failure)
        return distil_fail(error, DISTIL_SYSTEM, "host %s: %s", options->host,
                           gai_strerror(failure));
    status = check_reach(listener->server, found, error);
    for (info = found; info && !status && listener->fd < 0; info = info->ai_next)
        listener->fd = open_socket(info);
    failure = errno;
    freeaddrinfo(found);
    if (status)
        return status;
    if (listener->fd < 0)
        return distil_fail(error, DISTIL_SYSTEM, "cannot listen on %s port %u: %s", options->host,
                           options->port, strerror(failure));
    if (getsockname(listener->fd, (struct sockaddr *)&address, &length) ||
        getnameinfo((struct sockaddr *)&address, length, NULL, 0, port, sizeof(port),
                    NI_NUMERICSERV))
        return distil_fail(error, DISTIL_SYSTEM, "the port listened on is unknown");
    listener->port = (int)strtol(port, NULL, 10);
    return DISTIL_OK;
}

distil_status server_listener_start(struct server *server, int max_connections,
                                    struct server_listener **listener, distil_error *error)
{
    struct server_listener *made = calloc(1, sizeof(*made));
    const struct server_options *options = &server->options;
    distil_status status;
    if (!made)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for the listener");
    made->server = server;
    made->max_connections = max_connections;
    made->fd = -1;
    pthread_mutex_init(&made->lock, NULL);
    made->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *listener = made; /* before the first connection, whose callbacks look for it */
    if (made->wake < 0)
        status = distil_fail(error, DISTIL_SYSTEM, "eventfd: %s", strerror(errno));
    else if (options->uds)
        status = server_unix_listen(options->uds, (mode_t)options->uds_mode, BACKLOG,
                                    &made->unix_socket, &made->fd, error);
    else
        status = listen_on(made, error);
    if (!status && pthread_create(&made->thread, NULL, run, made))
        status = distil_fail(error, DISTIL_SYSTEM, "the listener's thread could not be started");
    if (status) {
        server_listener_free(made);
        *listener = NULL;
        return status;
    }
    made->started = true;
    return DISTIL_OK;
}

int server_listener_port(const struct server_listener *listener)
{
    return listener->port;
}

void server_listener_stop(struct server_listener *listener)
{
    if (!listener || listener->stopped)
        return;
    listener->stopped = true;
    pthread_mutex_lock(&listener->lock);
    listener->stopping = true;
    pthread_mutex_unlock(&listener->lock);
    if (listener->started) {
        wake(listener);
        pthread_join(listener->thread, NULL);
    }
    server_unix_remove(&listener->unix_socket);
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}

void server_listener_free(struct server_listener *listener)
{
    int i;
    if (!listener)
        return;
    server_listener_stop(listener);
    for (i = 0; i < listener->lingering_count; i++)
        close(listener->lingering[i].fd);
    if (listener->wake >= 0)
        close(listener->wake);
    pthread_mutex_destroy(&listener->lock);
    free(listener);
}

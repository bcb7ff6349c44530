/* notify.c: see notify.h. What cannot be sent is not: a manager that does not listen must not hold up
 * the server, and has timeouts of its own. */
#include "server/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* How long a change of state waits for room in the manager's queue. A sign of life does not: the next
 * one follows. */
static const struct timeval patience = {.tv_sec = 2};

static void send_state(const char *state, int flags)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    int fd;
    if (length == 0 || length >= sizeof(address.sun_path) || (*path != '/' && *path != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = '\0'; /* a name that is in no file system */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | flags, (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}

void server_notify_ready(void)
{
    send_state("READY=1", 0);
}

void server_notify_reloading(void)
{
    char state[80];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    send_state(state, 0);
}

void server_notify_stopping(void)
{
    send_state("STOPPING=1", 0);
}

int64_t server_notify_period(void)
{
    const char *period = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
    long long microseconds = period ? strtoll(period, NULL, 10) : 0;
    if (process && strtoll(process, NULL, 10) != getpid())
        return 0;
    if (microseconds <= 0)
        return 0;
    return microseconds / 2000 > 0 ? microseconds / 2000 : 1;
}

void server_notify_alive(void)
{
    send_state("WATCHDOG=1", MSG_DONTWAIT);
}

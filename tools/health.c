#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/stream.h"

struct health_settings {
    const char *host, *uds, *url, *tls_cert;
    long port;
    double timeout;
};

static const struct tool_option options[] = {
    {.name = "host",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct health_settings, host),
     .value = "HOST",
     .fallback = "127.0.0.1",
     .help = "Where the server listens"},
    {.name = "port",
     .letter = 'p',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct health_settings, port),
     .value = "PORT",
     .fallback = "8080",
     .low = 1,
     .high = 65535,
     .help = "Its port"},
    {.name = "uds",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct health_settings, uds),
     .value = "PATH",
     .help = "Its Unix-domain socket, instead of --host and --port"},
    {.name = "url",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct health_settings, url),
     .value = "URL",
     .help = "http://HOST:PORT/PATH, or https:, instead of all these; without a path, "
             "/health"},
    {.name = "tls-cert",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct health_settings, tls_cert),
     .value = "FILE",
     .help = "As serve has it, where it speaks TLS: ask by TLS too. No certificate is verified"},
    {.name = "timeout",
     .kind = TOOL_REAL,
     .offset = offsetof(struct health_settings, timeout),
     .value = "SECONDS",
     .fallback = "3",
     .low = 0.001,
     .high = 3600,
     .help = "How long the whole question may take"},
    TOOL_END_OPTIONS};

struct target {
    char host[256], port[8], path[1024];
    char name[300];  /* in messages */
    const char *uds; /* path of a Unix-domain socket to connect to instead; NULL: none */
    bool bracketed;  /* an IPv6 address, which a Host header has in brackets */
    bool tls;
    double deadline;
};

static distil_status check_plain(const char *text, const char *what, distil_error *error)
{
    for (const char *s = text; *s; s++) {
        if ((unsigned char)*s <= ' ' || *s == 0x7F)
            return distil_fail(error, DISTIL_INVALID,
                               "%s: a space or control character in '%.100s'", what, text);
    }
    return DISTIL_OK;
}

/* Splits http://HOST[:PORT][/PATH], or the same with https. */
static distil_status parse_url(const char *url, struct target *target, distil_error *error)
{
    target->tls = strncmp(url, "https://", 8) == 0;
    if (!target->tls && strncmp(url, "http://", 7) != 0)
        return distil_fail(error, DISTIL_INVALID,
                           "--url: '%.100s' does not start with http:// or https://", url);
    const char *host = url + (target->tls ? 8 : 7);
    const char *path = host + strcspn(host, "/");
    target->bracketed = *host == '[';
    const char *end = target->bracketed ? strchr(host, ']') : host + strcspn(host, ":/");
    if (!end || end > path || strlen(path) >= sizeof target->path)
        return distil_fail(error, DISTIL_INVALID, "--url: '%.100s' has no host that could be asked",
                           url);
    const char *colon = end + target->bracketed;
    host += target->bracketed;
    if (end == host || (size_t)(end - host) >= sizeof target->host ||
        (colon < path && *colon != ':'))
        return distil_fail(error, DISTIL_INVALID, "--url: '%.100s' has no host that could be asked",
                           url);
    snprintf(target->host, sizeof target->host, "%.*s", (int)(end - host), host);
    snprintf(target->port, sizeof target->port, target->tls ? "443" : "80");
    if (colon < path) {
        char *rest;
        long port = strtol(colon + 1, &rest, 10);
        if (rest != path || rest == colon + 1 || port < 1 || port > 65535)
            return distil_fail(error, DISTIL_INVALID,
                               "--url: the port in '%.100s' is not from 1 to 65535", url);
        snprintf(target->port, sizeof target->port, "%ld", port);
    }
    snprintf(target->path, sizeof target->path, "%s", *path ? path : "/health");
    return check_plain(url, "--url", error);
}

static distil_status find_target(const struct health_settings *settings, struct target *target,
                                 distil_error *error)
{
    if (settings->url)
        return parse_url(settings->url, target, error);
    if (strlen(settings->host) >= sizeof target->host)
        return distil_fail(error, DISTIL_INVALID, "--host: the name is too long");
    target->uds = settings->uds;
    snprintf(target->host, sizeof target->host, "%s", settings->uds ? "localhost" : settings->host);
    snprintf(target->port, sizeof target->port, "%ld", settings->port);
    snprintf(target->path, sizeof target->path, "/health");
    target->tls = settings->tls_cert != NULL;
    target->bracketed = strchr(settings->host, ':') != NULL;
    return check_plain(settings->host, "--host", error);
}

static int connect_one(const struct addrinfo *address, double deadline)
{
    int failure = 0;
    socklen_t size = sizeof failure;
    int found = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                       address->ai_protocol);
    if (found < 0)
        return -1;
    if (connect(found, address->ai_addr, address->ai_addrlen) == 0)
        return found;
    const struct tool_stream stream = {.socket = found, .deadline = deadline};
    if (errno == EINPROGRESS && tool_stream_wait(&stream, POLLOUT)) {
        if (getsockopt(found, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0)
            return found;
        errno = failure ? failure : errno;
    }
    failure = errno;
    close(found);
    errno = failure;
    return -1;
}

static distil_status connect_unix(const struct target *target, int *socket_, distil_error *error)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    struct addrinfo address = {.ai_family = AF_UNIX,
                               .ai_socktype = SOCK_STREAM,
                               .ai_addr = (struct sockaddr *)&place,
                               .ai_addrlen = sizeof place};
    size_t length = strlen(target->uds);
    if (length >= sizeof place.sun_path)
        return distil_fail(error, DISTIL_INVALID, "--uds: the path is longer than %zu bytes",
                           sizeof place.sun_path - 1);
    memcpy(place.sun_path, target->uds, length + 1);
    *socket_ = connect_one(&address, target->deadline);
    if (*socket_ < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", target->name, strerror(errno));
    return DISTIL_OK;
}

static distil_status connect_any(const struct target *target, int *socket_, distil_error *error)
{
    if (target->uds)
        return connect_unix(target, socket_, error);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int code = getaddrinfo(target->host, target->port, &hints, &list);
    *socket_ = -1;
    if (code != 0)
        return distil_fail(error, DISTIL_NOT_FOUND, "%s: %s", target->host, gai_strerror(code));
    for (const struct addrinfo *address = list; address && *socket_ < 0; address = address->ai_next)
        *socket_ = connect_one(address, target->deadline);
    int reason = errno;
    freeaddrinfo(list);
    if (*socket_ < 0)
        return distil_fail(error, DISTIL_IO, "%s: %s", target->name, strerror(reason));
    return DISTIL_OK;
}

/* The status of an HTTP/1 answer; 0 where it is none. */
static int status_code(const char *answer)
{
    static const char version[] = "HTTP/1.";
    const char *digits = answer + sizeof version + 1;
    if (strncmp(answer, version, sizeof version - 1) != 0 || strlen(answer) < sizeof version + 4 ||
        digits[-1] != ' ')
        return 0;
    int code = 0;
    for (int i = 0; i < 3; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        code = code * 10 + digits[i] - '0';
    }
    return code;
}

/* Sends the request and reads the answer, at most size - 1 bytes of it. */
static distil_status exchange(const struct tool_stream *stream, const struct target *target,
                              char *answer, size_t size, distil_error *error)
{
    char request[1500];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nConnection: close\r\n\r\n",
                          target->path, target->bracketed ? "[" : "", target->host,
                          target->bracketed ? "]" : "", target->port);
    size_t sent = 0, got = 0;
    while (sent < (size_t)length) {
        ssize_t n = tool_stream_send(stream, request + sent, (size_t)length - sent);
        if (n < 0)
            return distil_fail(error, DISTIL_IO, "%s: %s", target->name, strerror(errno));
        sent += (size_t)n;
    }
    for (ssize_t n = 1; n > 0 && got + 1 < size; got += (size_t)n) {
        n = tool_stream_receive(stream, answer + got, size - 1 - got);
        if (n < 0)
            return distil_fail(error, DISTIL_IO, "%s: no whole answer: %s", target->name,
                               strerror(errno));
    }
    answer[got] = '\0';
    return DISTIL_OK;
}

static distil_status ask(const struct health_settings *settings, distil_error *error)
{
    struct target target = {.deadline = tool_now() + settings->timeout};
    char answer[16384] = "";
    struct tool_stream stream = {.socket = -1, .deadline = target.deadline};
    distil_status status = find_target(settings, &target, error);
    if (target.uds)
        snprintf(target.name, sizeof target.name, "%s", target.uds);
    else
        snprintf(target.name, sizeof target.name, "%s port %s", target.host, target.port);
    if (!status)
        status = connect_any(&target, &stream.socket, error);
    if (!status && target.tls)
        status = tool_stream_secure(&stream, target.host, error);
    if (!status)
        status = exchange(&stream, &target, answer, sizeof answer, error);
    tool_stream_close(&stream);
    if (status)
        return status;
    int code = status_code(answer);
    if (code == 0)
        return distil_fail(error, DISTIL_FORMAT, "%s: %s", target.name,
                           answer[0] ? "the answer is not HTTP"
                                     : "closed without an answer, which is not HTTP; does it "
                                       "speak TLS? (--tls-cert)");
    const char *body = strstr(answer, "\r\n\r\n");
    body = body ? body + 4 : "";
    if (code != 200)
        return distil_fail(error, DISTIL_BUSY, "%s: status %d: %.200s", target.name, code, body);
    tool_plain_text(stdout, body, strcspn(body, "\n"), 1000);
    fputc('\n', stdout);
    return tool_flush(stdout, error);
}

static int run_health(const void *given, int count, char **operands)
{
    distil_error error;
    (void)count;
    (void)operands;
    distil_status status = ask(given, &error);
    if (status == DISTIL_INVALID)
        return tool_misused("health", error.message);
    return status ? tool_failed("health", &error) : TOOL_OK;
}

const struct tool_command tool_health = {.name = "health",
                                         .summary = "Ask a running server whether it is healthy",
                                         .operands = "",
                                         .description =
                                             "Sends GET /health and succeeds when the answer is "
                                             "200: for a container's health check and for scripts.",
                                         .options = options,
                                         .least_operands = 0,
                                         .most_operands = 0,
                                         .run = run_health,
                                         .settings_size = sizeof(struct health_settings)};

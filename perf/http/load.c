/* load.c: asks a server over HTTP and measures how it answers.
 *
 * With --rate it is an open loop: requests are due at times that do not depend on the answers, and
 * a latency counts from then, whether or not there was a connection free to send it on. So a server
 * that stalls is charged for every request that its users would have made meanwhile. Without --rate
 * it is a closed loop: each connection sends as soon as it has its answer. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "connection.h"
#include "requests.h"

enum { STATUSES = 600, EVENTS = 256 };

static const double second = 1e9;

struct settings {
    struct requests_options requests;
    const char *port;
    int connections;
    double rate, seconds, warm_up, patience;
    double tick_ms; /* between looks at what is due and what has come; 0: none is waited for */
    bool constant;  /* arrivals at even distances, instead of a Poisson process */
};

struct load {
    struct settings settings;
    struct requests requests;
    struct sockaddr_storage address;
    socklen_t address_length;
    int epoll;
    struct connection *connections;
    int *idle; /* the free connections in the order in which they became free, in a ring */
    int idle_first, idle_count;
    uint64_t random;
    int next_request;
    int64_t began, measured_from, ends;
    double next_due;
    uint64_t due, sent, failed, reopened;
    uint64_t by_status[STATUSES];
    uint32_t *latencies; /* of answers with success, in microseconds */
    size_t latency_count, latency_room;
    uint64_t in_time; /* answers with success that came within the time measured */
    double other_us;  /* sum of the latencies of other answers */
    double cpu_from,
        cpu_to; /* seconds of its own when what is measured began and ended; -1: not yet */
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* CPU time that this process has taken, in seconds. */
static double cpu_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / second;
}

static double uniform(struct load *load)
{
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return ((double)(load->random >> 11) + 0.5) / 9007199254740992.0;
}

static double distance(struct load *load)
{
    double mean = second / load->settings.rate;
    return load->settings.constant ? mean : -log(uniform(load)) * mean;
}

/* ---- connections ---- */

static void watch(struct load *load, int i)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)i};
    epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->connections[i].fd, &event);
}

static void reopen(struct load *load, int i)
{
    connection_close(&load->connections[i]);
    load->reopened++;
    if (connection_open(&load->connections[i], (struct sockaddr *)&load->address,
                        load->address_length))
        watch(load, i);
}

static void free_connection(struct load *load, int i)
{
    load->idle[(load->idle_first + load->idle_count++) % load->settings.connections] = i;
}

/* The connection that has been free longest: each is one user, who asks in turn. */
static int take_connection(struct load *load)
{
    int i = load->idle[load->idle_first];
    load->idle_first = (load->idle_first + 1) % load->settings.connections;
    load->idle_count--;
    return i;
}

static void record(struct load *load, const struct connection *connection, int64_t now)
{
    double us = (double)(now - connection->due) / 1e3;
    bool success = connection->status >= 200 && connection->status <= 299;
    /* a rate is of what came while it was measured, a latency of what was due then */
    load->in_time += success && now >= load->measured_from && now < load->ends;
    if (connection->due < load->measured_from)
        return;
    load->by_status[connection->status < STATUSES ? connection->status : 0]++;
    if (!success) {
        load->other_us += us;
        return;
    }
    if (load->latency_count == load->latency_room) {
        size_t room = load->latency_room ? load->latency_room * 2 : 65536;
        uint32_t *more = realloc(load->latencies, room * sizeof(*more));
        if (!more)
            return;
        load->latencies = more;
        load->latency_room = room;
    }
    load->latencies[load->latency_count++] = us < 4e9 ? (uint32_t)us : UINT32_MAX;
}

static void fail(struct load *load, int i)
{
    if (load->connections[i].busy && load->connections[i].due >= load->measured_from)
        load->failed++;
    reopen(load, i);
}

static void send_on(struct load *load, int i, int64_t due)
{
    struct connection *connection = &load->connections[i];
    int k = load->next_request++ % load->requests.count;
    if (connection->fd < 0)
        reopen(load, i);
    connection->due = due;
    if (due >= load->measured_from)
        load->sent++;
    if (connection->fd < 0 || connection_send(connection, load->requests.texts[k],
                                              load->requests.lengths[k]) == CONNECTION_FAILED) {
        connection->busy = true;
        fail(load, i);
        free_connection(load, i);
    }
}

static void go_on(struct load *load, int i)
{
    struct connection *connection = &load->connections[i];
    bool was_busy = connection->busy;
    enum connection_event event = connection_go_on(connection);
    if (event == CONNECTION_ANSWERED && was_busy) {
        record(load, connection, now_ns());
        if (connection->closing)
            reopen(load, i);
    } else if (event == CONNECTION_FAILED) {
        fail(load, i);
    } else {
        return;
    }
    if (was_busy)
        free_connection(load, i);
}

/* ---- the loop ---- */

/* Sends what is due as far as there are connections; returns when the next is due, at most until. */
static int64_t send_due(struct load *load, int64_t now, int64_t until)
{
    bool open_loop = load->settings.rate > 0;
    while (load->idle_count > 0 && now < load->ends &&
           (!open_loop || load->next_due <= (double)now)) {
        int64_t due = open_loop ? (int64_t)load->next_due : now;
        if (open_loop)
            load->next_due += distance(load);
        send_on(load, take_connection(load), due);
        if (!open_loop)
            now = now_ns();
    }
    if (open_loop && load->idle_count > 0 && load->next_due < (double)until)
        return (int64_t)load->next_due;
    return until;
}

/* Notes the CPU time at both ends of the time measured. */
static void note_cpu(struct load *load, int64_t now)
{
    if (load->cpu_from < 0 && now >= load->measured_from)
        load->cpu_from = cpu_seconds();
    if (load->cpu_to < 0 && now >= load->ends)
        load->cpu_to = cpu_seconds();
}

/* Sleeps to the next tick. What is due and what comes meanwhile waits for it, which counts as the server's time: a latency is from when a
 * request was due to when its answer is seen. */
static void sleep_to_tick(const struct load *load)
{
    const int64_t tick = (int64_t)(load->settings.tick_ms * 1e6);
    const int64_t at = (now_ns() / tick + 1) * tick;
    const struct timespec time = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static void run(struct load *load)
{
    struct epoll_event events[EVENTS];
    int64_t last = load->ends + (int64_t)(load->settings.patience * second);
    for (;;) {
        int64_t now = now_ns(), until, wait;
        struct timespec timeout;
        int count, i;
        note_cpu(load, now);
        if (now >= last || (now >= load->ends && load->idle_count == load->settings.connections))
            return;
        until = send_due(load, now, now < load->ends ? load->ends : last);
        if (load->settings.tick_ms > 0)
            sleep_to_tick(load);
        wait = load->settings.tick_ms > 0 ? 0 : until - now_ns();
        timeout.tv_sec = wait > 0 ? wait / 1000000000 : 0;
        timeout.tv_nsec = wait > 0 ? wait % 1000000000 : 0;
        /* all that has happened before anything is sent: the server may have closed many that were idle */
        do {
            count = epoll_pwait2(load->epoll, events, EVENTS, &timeout, NULL);
            for (i = 0; i < count; i++)
                go_on(load, (int)events[i].data.u32);
            timeout = (struct timespec){0};
        } while (count == EVENTS);
    }
}

static bool start(struct load *load)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int i, failure = getaddrinfo(load->settings.requests.host, load->settings.port, &hints, &found);
    if (failure) {
        fprintf(stderr, "%s: %s\n", load->settings.requests.host, gai_strerror(failure));
        return false;
    }
    memcpy(&load->address, found->ai_addr, found->ai_addrlen);
    load->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->connections = calloc((size_t)load->settings.connections, sizeof(*load->connections));
    load->idle = calloc((size_t)load->settings.connections, sizeof(*load->idle));
    if (load->epoll < 0 || !load->connections || !load->idle)
        return false;
    for (i = 0; i < load->settings.connections; i++) {
        if (!connection_open(&load->connections[i], (struct sockaddr *)&load->address,
                             load->address_length)) {
            fprintf(stderr, "cannot connect: %s\n", strerror(errno));
            return false;
        }
        watch(load, i);
        free_connection(load, i);
    }
    load->random = 88172645463325252U;
    load->began = now_ns();
    load->measured_from = load->began + (int64_t)(load->settings.warm_up * second);
    load->ends = load->measured_from + (int64_t)(load->settings.seconds * second);
    load->next_due = (double)load->began;
    load->cpu_from = load->cpu_to = -1;
    return true;
}

/* ---- the report ---- */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile(const struct load *load, double share)
{
    size_t i = (size_t)(share * (double)load->latency_count);
    if (load->latency_count == 0)
        return 0;
    return load->latencies[i < load->latency_count ? i : load->latency_count - 1] / 1e3;
}

/* Requests that were due within the time measured and never sent. */
static double unsent(struct load *load)
{
    double count = 0;
    while (load->settings.rate > 0 && load->next_due < (double)load->ends) {
        count += load->next_due >= (double)load->measured_from;
        load->next_due += distance(load);
    }
    return count;
}

static void report(struct load *load)
{
    const struct settings *settings = &load->settings;
    double sum = 0, seconds = settings->seconds;
    uint64_t answered = 0;
    const char *comma = "";
    size_t i;
    int waiting = settings->connections - load->idle_count;
    qsort(load->latencies, load->latency_count, sizeof(*load->latencies), compare);
    for (i = 0; i < load->latency_count; i++)
        sum += load->latencies[i] / 1e3;
    for (i = 0; i < STATUSES; i++)
        answered += load->by_status[i];
    printf("{\"loop\":\"%s\",\"connections\":%d,\"rate\":%.1f,\"seconds\":%.3f,\"sent\":%llu,"
           "\"answered\":%llu,\"succeeded\":%zu,\"failed\":%llu,\"unanswered\":%d,\"unsent\":%.0f,",
           settings->rate > 0 ? "open" : "closed", settings->connections, settings->rate, seconds,
           (unsigned long long)load->sent, (unsigned long long)answered, load->latency_count,
           (unsigned long long)load->failed, waiting, unsent(load));
    printf("\"per_second\":%.1f,\"mean_ms\":%.3f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p95_ms\":%.3f,"
           "\"p99_ms\":%.3f,"
           "\"p999_ms\":%.3f,\"max_ms\":%.3f,\"other_mean_ms\":%.3f,\"by_status\":{",
           (double)load->in_time / seconds,
           load->latency_count ? sum / (double)load->latency_count : 0, percentile(load, 0.5),
           percentile(load, 0.9), percentile(load, 0.95), percentile(load, 0.99),
           percentile(load, 0.999), percentile(load, 1),
           answered > load->latency_count
               ? load->other_us / 1e3 / (double)(answered - load->latency_count)
               : 0);
    for (i = 0; i < STATUSES; i++)
        if (load->by_status[i]) {
            printf("%s\"%zu\":%llu", comma, i, (unsigned long long)load->by_status[i]);
            comma = ",";
        }
    printf("},\"reopened\":%llu,\"cpu_seconds\":%.3f,\"measured_cpu_seconds\":%.3f}\n",
           (unsigned long long)load->reopened, cpu_seconds(), load->cpu_to - load->cpu_from);
}

/* ---- options ---- */

static const char usage[] =
    "usage: perf_load [OPTION...]\n"
    "  --host HOST --port PORT    where the server is (127.0.0.1, 8080)\n"
    "  --connections N            (64)\n"
    "  --rate R                   requests a second, whatever the answers; without it, each\n"
    "                             connection sends when it has its answer\n"
    "  --constant                 at even distances instead of random ones\n"
    "  --tick MS                  send and receive only so often, which costs less CPU; latencies\n"
    "                             are longer by up to that (0: at once)\n"
    "  --seconds S --warm-up S    measured, and before that (5, 1)\n"
    "  --patience S               for the last answers (10)\n"
    "  --method M --path P        (POST, /predict)\n"
    "  --tsv FILE                 texts: the first column of each line after the first\n"
    "  --words LEAST-MOST         random texts of so many words (10-10)\n"
    "  --fields JSON              further members of each text's object, without braces\n"
    "  --body JSON                the same body for all\n"
    "  --header 'NAME: VALUE'     with each request\n"
    "  --help                     this text\n";

enum {
    HOST = 1,
    PORT,
    CONNECTIONS,
    RATE,
    CONSTANT,
    TICK,
    SECONDS,
    WARM_UP,
    PATIENCE,
    METHOD,
    PATH,
    TSV,
    WORDS,
    FIELDS,
    BODY,
    HEADER,
    HELP
};

static bool take_option(struct settings *s, int option, char *value, char *headers, size_t room)
{
    switch (option) {
    case HOST:
        s->requests.host = value;
        break;
    case PORT:
        s->port = value;
        break;
    case CONNECTIONS:
        s->connections = atoi(value);
        break;
    case RATE:
        s->rate = atof(value);
        break;
    case CONSTANT:
        s->constant = true;
        break;
    case TICK:
        s->tick_ms = atof(value);
        break;
    case SECONDS:
        s->seconds = atof(value);
        break;
    case WARM_UP:
        s->warm_up = atof(value);
        break;
    case PATIENCE:
        s->patience = atof(value);
        break;
    case METHOD:
        s->requests.method = value;
        break;
    case PATH:
        s->requests.path = value;
        break;
    case TSV:
        s->requests.tsv = value;
        break;
    case FIELDS:
        s->requests.fields = value;
        break;
    case BODY:
        s->requests.body = value;
        break;
    case HEADER:
        snprintf(headers + strlen(headers), room - strlen(headers), "%s\r\n", value);
        s->requests.headers = headers;
        break;
    case WORDS:
        return sscanf(value, "%d-%d", &s->requests.least_words, &s->requests.most_words) == 2 &&
               s->requests.least_words > 0 && s->requests.most_words >= s->requests.least_words;
    default:
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"host", required_argument, NULL, HOST},
                                            {"port", required_argument, NULL, PORT},
                                            {"connections", required_argument, NULL, CONNECTIONS},
                                            {"rate", required_argument, NULL, RATE},
                                            {"constant", no_argument, NULL, CONSTANT},
                                            {"tick", required_argument, NULL, TICK},
                                            {"seconds", required_argument, NULL, SECONDS},
                                            {"warm-up", required_argument, NULL, WARM_UP},
                                            {"patience", required_argument, NULL, PATIENCE},
                                            {"method", required_argument, NULL, METHOD},
                                            {"path", required_argument, NULL, PATH},
                                            {"tsv", required_argument, NULL, TSV},
                                            {"words", required_argument, NULL, WORDS},
                                            {"fields", required_argument, NULL, FIELDS},
                                            {"body", required_argument, NULL, BODY},
                                            {"header", required_argument, NULL, HEADER},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    static struct load load = {.settings = {.requests = {.host = "127.0.0.1",
                                                         .method = "POST",
                                                         .path = "/predict",
                                                         .least_words = 10,
                                                         .most_words = 10},
                                            .port = "8080",
                                            .connections = 64,
                                            .seconds = 5,
                                            .warm_up = 1,
                                            .patience = 10}};
    char headers[4096] = "";
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == HELP) {
            fputs(usage, stdout);
            return 0;
        }
        if (!take_option(&load.settings, option, optarg, headers, sizeof(headers))) {
            fputs(usage, stderr);
            return 2;
        }
    }
    if (optind < argc || load.settings.connections < 1 || load.settings.seconds <= 0 ||
        load.settings.tick_ms < 0) {
        fputs(usage, stderr);
        return 2;
    }
    if (!requests_make(&load.settings.requests, &load.requests) || !start(&load))
        return 1;
    run(&load);
    report(&load);
    return 0;
}

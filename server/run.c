/* run.c: server_run, the life of the process: signals, announcement, drain. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/log_writer.h"

static const char *const task_names[] = {"no task", "classification", "token classification",
                                         "question answering"};

static void announce(const struct server *server)
{
    const struct server_options *options = &server->options;
    const struct server_model *model = &server->models[0];
    bool ipv6 = strchr(options->host, ':') != NULL;
    char where[512];
    if (options->uds)
        snprintf(where, sizeof(where), "unix:%s", options->uds);
    else
        snprintf(where, sizeof(where), "http%s://%s%s%s:%d", options->tls_certificate ? "s" : "",
                 ipv6 ? "[" : "", options->host, ipv6 ? "]" : "", server_port(server));
    server_log_announce(
        &options->log,
        "distild listening on %s (model %s, %s, %s on %s, %d thread%s, up to %d batch%s at once)",
        where, model->info->path, task_names[model->info->task], model->info->precision,
        model->info->cpu, options->threads, options->threads == 1 ? "" : "s", options->workers,
        options->workers == 1 ? "" : "es");
}

/* The signal that arrived within milliseconds; 0 when none did. */
static int wait_signal(const sigset_t *signals, long milliseconds)
{
    struct timespec timeout = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    int found;
    do
        found = sigtimedwait(signals, NULL, &timeout);
    while (found < 0 && errno == EINTR);
    return found < 0 ? 0 : found;
}

/* Waits until accepted requests are answered, for as long as the options allow. DISTIL_BUSY when
 * some were not by then, or at another signal, which sets *interrupted. */
static distil_status drain(struct server *server, const sigset_t *signals, bool *interrupted,
                           distil_error *error)
{
    const struct server_options *options = &server->options;
    int number;
    int64_t deadline = server_now() + (int64_t)options->drain_timeout_seconds * 1000000000;
    server_drain(server);
    while (!server_drained(server)) {
        int left = server_in_flight(server);
        if (left > 0 && server_now() > deadline) {
            server_log_printf(&options->log, SERVER_LOG_WARN,
                              "%d requests were left unanswered after draining for %d s", left,
                              options->drain_timeout_seconds);
            return distil_fail(error, DISTIL_BUSY, "%d requests were left unanswered", left);
        }
        number = wait_signal(signals, 5);
        *interrupted = number != 0 && number != SIGHUP;
        if (*interrupted)
            return distil_fail(error, DISTIL_BUSY,
                               "ended by a second signal with %d requests unanswered",
                               server_in_flight(server));
    }
    return DISTIL_OK;
}

/* Waits for the signal to end; at SIGHUP it reads again what it can. */
static int wait_end(struct server *server, const sigset_t *signals)
{
    int number;
    while ((number = wait_signal(signals, 3600000)) == 0 || number == SIGHUP)
        if (number == SIGHUP)
            server_reload(server);
    return number;
}

static distil_status serve(struct server *server, const sigset_t *signals, bool *interrupted,
                           distil_error *error)
{
    int number;
    distil_status status = server_load(server, error);
    if (status)
        return status;
    announce(server);
    number = wait_end(server, signals);
    server_log_printf(&server->options.log, SERVER_LOG_INFO, "%s: draining, %d requests in flight",
                      number == SIGINT ? "SIGINT" : "SIGTERM", server_in_flight(server));
    return drain(server, signals, interrupted, error);
}

/* For a thread that is none of ours and blocks nothing, as OpenBLAS starts one before main: while
 * the main thread is not waiting, the kernel may hand it a signal, whose default is to end the
 * process. It blocks the signal from here on and leaves it to the main thread. */
static void pass_on(int number, siginfo_t *info, void *context)
{
    int kept = errno;
    (void)info;
    sigaddset(&((ucontext_t *)context)->uc_sigmask, number);
    kill(getpid(), number);
    errno = kept;
}

distil_status server_run(const struct server_options *options, distil_error *error)
{
    struct server *server;
    struct sigaction passing = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction term_before, int_before, hup_before;
    sigset_t signals, before;
    bool interrupted = false;
    distil_status status;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    passing.sa_mask = signals;
    sigaction(SIGTERM, &passing, &term_before);
    sigaction(SIGINT, &passing, &int_before);
    sigaction(SIGHUP, &passing, &hup_before);
    /* blocked in every thread that starts from here on, and taken by sigtimedwait alone */
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    signal(SIGPIPE, SIG_IGN);
    status = server_start(options, &server, error);
    if (!status) {
        status = serve(server, &signals, &interrupted, error);
        if (interrupted) {
            server_log_writer_flush(server->options.log.writer);
            return status;
        }
        server_free(server);
    }
    if (!status)
        server_log_printf(&options->log, SERVER_LOG_INFO, "drained, ended");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGTERM, &term_before, NULL);
    sigaction(SIGINT, &int_before, NULL);
    sigaction(SIGHUP, &hup_before, NULL);
    return status;
}

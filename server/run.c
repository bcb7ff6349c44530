/* run.c: server_run, the life of the process: signals, announcement, drain. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "server/internal.h"
#include "server/log_writer.h"
#include "server/notify.h"

static const int64_t second = 1000000000; /* in nanoseconds */

static const char *const task_names[] = {"embedding", "classification", "token classification",
                                         "question answering"};

static void announce(const struct server *server)
{
    const struct server_options *options = &server->options;
    struct server_model *model = server_models_use_at(server->models, 0);
    int others = options->model_count - 1;
    bool ipv6 = strchr(options->host, ':') != NULL;
    char where[512], more[40] = "";
    if (others > 0)
        snprintf(more, sizeof(more), ", %d more model%s", others, others == 1 ? "" : "s");
    if (options->uds)
        snprintf(where, sizeof(where), "unix:%s", options->uds);
    else
        snprintf(where, sizeof(where), "http%s://%s%s%s:%d", options->tls_certificate ? "s" : "",
                 ipv6 ? "[" : "", options->host, ipv6 ? "]" : "", server_port(server));
    server_log_announce(
        &options->log,
        "distild listening on %s (model %s, %s, %s on %s%s, %d thread%s, up to %d batch%s at once)",
        where, model->info->path, task_names[model->info->task], model->info->precision,
        model->info->cpu, more, options->threads, options->threads == 1 ? "" : "s",
        options->workers, options->workers == 1 ? "" : "es");
    server_models_leave(server->models, model);
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

/* Waits for a signal that ends the server, until then at most; 0 when none came. Gives the service
 * manager its signs of life, and reloads at SIGHUP unless the server is ending. */
static int wait_end(struct server *server, const sigset_t *signals, int64_t until)
{
    int64_t period = server_notify_period(), now;
    while ((now = server_now()) < until) {
        int64_t left = (until - now) / 1000000 + 1;
        int number = wait_signal(signals, (long)(period > 0 && period < left ? period : left));
        if (number == SIGHUP && server_get_state(server) == SERVER_READY)
            server_reload(server);
        else if (number && number != SIGHUP)
            return number;
        if (period > 0 && (now = server_now()) - server->seen_alive >= period * 1000000) {
            server_notify_alive();
            server->seen_alive = now;
        }
    }
    return 0;
}

static distil_status interrupted_by(struct server *server, bool *interrupted, distil_error *error)
{
    *interrupted = true;
    return distil_fail(error, DISTIL_BUSY, "ended by a second signal with %d requests unanswered",
                       server_in_flight(server));
}

/* At the end of the drain timeout. A request that never came whole was not accepted. */
static distil_status give_up(const struct server *server, distil_error *error)
{
    const struct server_options *options = &server->options;
    int arriving = server_arriving(server), left = server_in_flight(server);
    if (arriving > 0)
        server_log_printf(&options->log, SERVER_LOG_WARN,
                          "%d requests had not come whole after draining for %d s, and are cut",
                          arriving, options->drain_timeout_seconds);
    if (left == 0)
        return DISTIL_OK;
    server_log_printf(&options->log, SERVER_LOG_WARN,
                      "%d requests were left unanswered after draining for %d s", left,
                      options->drain_timeout_seconds);
    return distil_fail(error, DISTIL_BUSY, "%d requests were left unanswered", left);
}

/* Takes no more connections, and waits until accepted requests are received and answered, for as long as the
 * options allow. DISTIL_BUSY when some were not answered by then, or at another signal, which sets
 * *interrupted. */
static distil_status finish(struct server *server, const sigset_t *signals, bool *interrupted,
                            distil_error *error)
{
    int64_t deadline = server_now() + server->options.drain_timeout_seconds * second;
    server_drain(server);
    while (!server_drained(server)) {
        if (server_now() > deadline && server_arriving(server) + server_in_flight(server) > 0)
            return give_up(server, error);
        if (wait_end(server, signals, server_now() + 5000000))
            return interrupted_by(server, interrupted, error);
    }
    return DISTIL_OK;
}

/* Goes on serving for the drain delay, while /health says that no more should come; then finishes. */
static distil_status drain(struct server *server, const sigset_t *signals, bool *interrupted,
                           distil_error *error)
{
    server_retire(server);
    if (wait_end(server, signals, server_now() + server->options.drain_delay_seconds * second))
        return interrupted_by(server, interrupted, error);
    return finish(server, signals, interrupted, error);
}

static const char *name_of(int number)
{
    return number == SIGINT ? "SIGINT" : "SIGTERM";
}

/* ---- loading ---- */

struct loading {
    struct server *server;
    distil_status status;
    distil_error error;
    atomic_bool done;
};

static void *run_loading(void *argument)
{
    struct loading *loading = argument;
    loading->status = server_load(loading->server, &loading->error);
    atomic_store_explicit(&loading->done, true, memory_order_release);
    return NULL;
}

/* Loads the models, on a thread of its own so that a signal need not wait for that. *number is set to one that
 * came meanwhile, after which the thread goes on until the process ends. SIGHUP waits. */
static distil_status load(struct server *server, const sigset_t *signals, int *number,
                          distil_error *error)
{
    struct loading *loading = calloc(1, sizeof(*loading));
    sigset_t ends = *signals;
    distil_status status;
    pthread_t thread;
    if (!loading)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for loading models");
    loading->server = server;
    if (pthread_create(&thread, NULL, run_loading, loading)) {
        free(loading);
        return distil_fail(error, DISTIL_SYSTEM, "the thread that loads could not be started");
    }
    sigdelset(&ends, SIGHUP);
    while (!atomic_load_explicit(&loading->done, memory_order_acquire)) {
        *number = wait_signal(&ends, 1);
        if (*number) {
            pthread_detach(thread);
            return DISTIL_OK;
        }
    }
    pthread_join(thread, NULL);
    status = loading->status;
    if (status)
        *error = loading->error;
    free(loading);
    return status;
}

/* Ends a server that loads. Requests are answered nonetheless, if only with 503. */
static distil_status end_loading(struct server *server, const sigset_t *signals, int number,
                                 bool *interrupted, distil_error *error)
{
    *interrupted = true;
    server_notify_stopping();
    server_log_printf(&server->options.log, SERVER_LOG_INFO,
                      "%s: ended while models were being loaded", name_of(number));
    if (server->options.listen_when_ready)
        return DISTIL_OK; /* nobody could ask anything, and who listens is the other thread's */
    return finish(server, signals, interrupted, error);
}

/* *interrupted is set where threads may still be at work when it returns. */
static distil_status serve(struct server *server, const sigset_t *signals, bool *interrupted,
                           distil_error *error)
{
    int number = 0;
    distil_status status = load(server, signals, &number, error);
    if (status)
        return status;
    if (number)
        return end_loading(server, signals, number, interrupted, error);
    announce(server);
    server_notify_ready();
    while (!number)
        number = wait_end(server, signals, server_now() + 3600 * second);
    server_notify_stopping();
    server_log_printf(&server->options.log, SERVER_LOG_INFO, "%s: draining, %d requests in flight",
                      name_of(number), server_in_flight(server));
    return drain(server, signals, interrupted, error);
}

/* ---- signals ---- */

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

/* Everything is answered: while threads end, which may take one that reloads a while, another signal ends the
 * process as it does any other. */
static void let_signals_end(void)
{
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaction(SIGTERM, &usual, NULL);
    sigaction(SIGINT, &usual, NULL);
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
}

distil_status server_run(const struct server_options *options, bool *busy, distil_error *error)
{
    struct server *server;
    struct sigaction passing = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction term_before, int_before, hup_before;
    sigset_t signals, before;
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
    *busy = false;
    status = server_start(options, &server, error);
    if (!status) {
        status = serve(server, &signals, busy, error);
        if (*busy) {
            server_log_writer_flush(server->options.log.writer);
            return status;
        }
        let_signals_end();
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

#include "engine/team.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_THREADS = 1024, SPINS = 3000, CACHE_LINE = 64 };

/* A number that threads wait to see change. Alone on its cache line. */
struct signal_word {
    _Alignas(CACHE_LINE) atomic_int value;
    atomic_int sleepers;
};

struct engine_team {
    int threads;
    int started; /* threads that exist beside the caller */
    bool stop;
    void (*task)(void *context, int thread);
    void *context;
    pthread_t *handles;
    struct member *members;
    struct signal_word run;  /* counts runs: the others wait for it between runs */
    struct signal_word step; /* counts barriers */
    _Alignas(CACHE_LINE) atomic_int arrived;
    _Alignas(CACHE_LINE) atomic_long tickets;
};

struct member {
    struct engine_team *team;
    int thread;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns once word differs from seen. */
static void wait_for_change(struct signal_word *word, int seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&word->value, memory_order_acquire) != seen)
            return;
        relax();
    }
    /* sleepers is raised before the kernel compares the value, and the other side changes the value
     * before it reads sleepers (both sequentially consistent): one of the two sees the other, so no
     * wake-up is lost. */
    atomic_fetch_add(&word->sleepers, 1);
    while (atomic_load(&word->value) == seen)
        syscall(SYS_futex, &word->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    atomic_fetch_sub(&word->sleepers, 1);
}

static void change(struct signal_word *word)
{
    atomic_fetch_add(&word->value, 1);
    if (atomic_load(&word->sleepers))
        syscall(SYS_futex, &word->value, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void engine_team_barrier(struct engine_team *team)
{
    int step = atomic_load_explicit(&team->step.value, memory_order_relaxed);
    if (atomic_fetch_add(&team->arrived, 1) + 1 < team->threads) {
        wait_for_change(&team->step, step);
        return;
    }
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&team->tickets, 0, memory_order_relaxed);
    change(&team->step);
}

long engine_team_ticket(struct engine_team *team)
{
    return atomic_fetch_add_explicit(&team->tickets, 1, memory_order_relaxed);
}

static void *member_main(void *argument)
{
    const struct member *member = argument;
    struct engine_team *team = member->team;
    int seen = 0;
    for (;;) {
        wait_for_change(&team->run, seen);
        seen = atomic_load_explicit(&team->run.value, memory_order_acquire);
        if (team->stop)
            return NULL;
        team->task(team->context, member->thread);
        engine_team_barrier(team);
    }
}

void engine_team_run(struct engine_team *team, void (*task)(void *context, int thread),
                     void *context)
{
    team->task = task;
    team->context = context;
    change(&team->run);
    task(context, 0);
    engine_team_barrier(team);
}

int engine_team_threads(const struct engine_team *team)
{
    return team->threads;
}

distil_status engine_team_create(struct engine_team **out, int threads, distil_error *error)
{
    struct engine_team *team = NULL;
    sigset_t all, before;
    int failure = 0;

    *out = NULL;
    if (threads < 1 || threads > MAX_THREADS)
        return distil_fail(error, DISTIL_INVALID, "threads: expected 1 to %d, found %d",
                           MAX_THREADS, threads);
    team = aligned_alloc(CACHE_LINE, sizeof *team);
    if (!team)
        goto no_memory;
    memset(team, 0, sizeof *team);
    team->threads = threads;
    team->handles = calloc((size_t)threads, sizeof *team->handles);
    team->members = calloc((size_t)threads, sizeof *team->members);
    if (!team->handles || !team->members)
        goto no_memory;

    /* Signals belong to the program's own threads. */
    sigfillset(&all);
    /* But for what a thread raises itself: blocked, SIGBUS of a mapped file that was cut would kill the
     * process past the program's handler. */
    static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    for (int i = 1; i < threads && !failure; i++) {
        team->members[i] = (struct member){team, i};
        failure = pthread_create(&team->handles[i], NULL, member_main, &team->members[i]);
        team->started += !failure;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure) {
        distil_fail(error, DISTIL_SYSTEM, "thread %d of %d could not be started: %s",
                    team->started + 1, threads, strerror(failure));
        engine_team_free(team);
        return DISTIL_SYSTEM;
    }
    *out = team;
    return DISTIL_OK;

no_memory:
    engine_team_free(team);
    return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a team of %d threads", threads);
}

void engine_team_free(struct engine_team *team)
{
    if (!team)
        return;
    team->stop = true;
    change(&team->run);
    for (int i = 1; i <= team->started; i++)
        pthread_join(team->handles[i], NULL);
    free(team->handles);
    free(team->members);
    free(team);
}

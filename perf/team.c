/* team.c: what it costs to wake a team of threads, to meet at a barrier, and to join, in microseconds of the wall clock. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/team.h"

enum { RUNS = 2000, SLEEPS = 200, BARRIERS = 1000, MAX_THREADS = 256 };

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e6 * (double)now.tv_sec + 1e-3 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *what, int threads, double *us, int count)
{
    qsort(us, (size_t)count, sizeof *us, compare);
    printf("%-44s %3d threads: median %7.2f us, 99%% under %7.2f us\n", what, threads,
           us[count / 2], us[count * 99 / 100]);
}

static void nothing(void *context, int thread)
{
    (void)context;
    (void)thread;
}

static void meet(void *context, int thread)
{
    (void)thread;
    for (int i = 0; i < BARRIERS; i++)
        engine_team_barrier(context);
}

/* A run of an empty task is a wake and a join. */
static void time_runs(struct engine_team *team, long pause_us, const char *what, int count)
{
    static double us[RUNS];
    const struct timespec pause = {0, pause_us * 1000};
    for (int i = 0; i < count; i++) {
        if (pause_us)
            nanosleep(&pause, NULL);
        const double start = now_us();
        engine_team_run(team, nothing, NULL);
        us[i] = now_us() - start;
    }
    print(what, engine_team_threads(team), us, count);
}

static void time_barriers(struct engine_team *team)
{
    enum { ROUNDS = 50 };
    double us[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        const double start = now_us();
        engine_team_run(team, meet, team);
        us[i] = (now_us() - start) / BARRIERS;
    }
    print("a barrier", engine_team_threads(team), us, ROUNDS);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 2;
    struct engine_team *team;
    distil_error error;
    if (argc > 2 || threads < 1 || threads > MAX_THREADS) {
        fprintf(stderr, "Usage: perf_team [THREADS]\n");
        return 2;
    }
    if (engine_team_create(&team, threads, &error)) {
        fprintf(stderr, "perf_team: %s\n", error.message);
        return 1;
    }
    time_runs(team, 0, "wake and join, threads still spinning", RUNS);
    time_runs(team, 5000, "wake and join, threads asleep for 5 ms", SLEEPS);
    time_barriers(team);
    engine_team_free(team);
    return 0;
}

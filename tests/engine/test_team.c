/* The team of threads: every thread runs, barriers order memory, tickets are given once, sleeping
 * teams wake. */
#include <check.h>
#include <stdlib.h>
#include <time.h>

#include "engine/cpus.h"
#include "engine/team.h"
#include "tests/suite.h"

enum { STEPS = 200, MOST_THREADS = 8 };

struct rounds {
    struct engine_team *team;
    int threads;
    int values[MOST_THREADS]; /* written by one thread, read by all after a barrier */
    int wrong;
    long taken[MOST_THREADS];
};

/* Each thread publishes its step, meets the others, and must see theirs; tickets of a step must add
 * up. */
static void publish_and_check(void *context, int thread)
{
    struct rounds *rounds = context;
    for (int step = 1; step <= STEPS; step++) {
        rounds->values[thread] = step;
        while (engine_team_ticket(rounds->team) < 10)
            rounds->taken[thread]++;
        engine_team_barrier(rounds->team);
        for (int i = 0; i < rounds->threads; i++)
            if (rounds->values[i] != step)
                __atomic_store_n(&rounds->wrong, 1, __ATOMIC_RELAXED);
        engine_team_barrier(rounds->team);
    }
}

START_TEST(test_barriers_and_tickets)
{
    distil_error error;
    struct rounds rounds = {.threads = _i};
    ck_assert_int_eq(engine_team_create(&rounds.team, _i, &error), DISTIL_OK);
    ck_assert_int_eq(engine_team_threads(rounds.team), _i);
    for (int run = 0; run < 5; run++) {
        /* Long enough asleep that the threads wait in the kernel. */
        nanosleep(&(struct timespec){.tv_nsec = run * 2000000L}, NULL);
        engine_team_run(rounds.team, publish_and_check, &rounds);
    }
    ck_assert_int_eq(rounds.wrong, 0);
    long taken = 0;
    for (int i = 0; i < _i; i++)
        taken += rounds.taken[i];
    ck_assert_int_eq(taken, 5L * STEPS * 10);
    engine_team_free(rounds.team);
}
END_TEST

START_TEST(test_bad_counts)
{
    struct engine_team *team;
    distil_error error;
    ck_assert_int_eq(engine_team_create(&team, 0, &error), DISTIL_INVALID);
    ck_assert_ptr_null(team);
    ck_assert_int_eq(engine_team_create(&team, 100000, &error), DISTIL_INVALID);
    ck_assert_str_eq(error.message, "threads: expected 1 to 1024, found 100000");
    engine_team_free(NULL);
}
END_TEST

START_TEST(test_cpu_count)
{
    int cpus = engine_cpu_count();
    ck_assert_int_ge(cpus, 1);
    ck_assert_int_le(cpus, 1 << 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("team");
    TCase *tests = tcase_create("team");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_barriers_and_tickets, 1, MOST_THREADS + 1);
    tcase_add_test(tests, test_bad_counts);
    tcase_add_test(tests, test_cpu_count);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}

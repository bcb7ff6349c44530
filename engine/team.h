/* team.h: threads that run one function together, in step.
 *
 * The function runs on every thread of the team at once, the caller's among them, and the threads
 * meet at barriers between its steps. They wait by spinning briefly, then sleep in the kernel, so
 * an idle team costs nothing.
 */
#ifndef ENGINE_TEAM_H
#define ENGINE_TEAM_H

#include "weights/distil_status.h"

struct engine_team;

/* threads: 1..1024, the caller of engine_team_run included. */
distil_status engine_team_create(struct engine_team **team, int threads, distil_error *error);
void engine_team_free(struct engine_team *team);
int engine_team_threads(const struct engine_team *team);

/* Calls task(context, thread) for thread 0..threads-1 at once and returns when all have returned.
 * Thread 0 is the caller. Only one run at a time. */
void engine_team_run(struct engine_team *team, void (*task)(void *context, int thread),
                     void *context);

/* To be called by every thread of a running task: returns when all have arrived. What they wrote
 * before is visible after. */
void engine_team_barrier(struct engine_team *team);

/* A ticket from 0 upward, each given once between two barriers, to share uneven work out as threads
 * become free. */
long engine_team_ticket(struct engine_team *team);

#endif

/* handover.c: see handover.h. */
#include "server/handover.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

void server_handover_init(struct server_handover *handover, int most)
{
    pthread_condattr_t attributes;
    *handover = (struct server_handover){.most = most};
    pthread_condattr_init(&attributes); /* none of these can fail on Linux */
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&handover->lock, NULL);
    pthread_cond_init(&handover->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void server_handover_destroy(struct server_handover *handover)
{
    pthread_cond_destroy(&handover->changed);
    pthread_mutex_destroy(&handover->lock);
}

bool server_handover_push(struct server_handover *handover, struct server_handed *handed)
{
    bool taken = false;
    handed->next = NULL;
    pthread_mutex_lock(&handover->lock);
    if (handover->stopping) {
        handed->outcome = SERVER_OUTCOME_STOPPED;
    } else if (handover->waiting >= handover->most) {
        handed->outcome = SERVER_OUTCOME_FULL;
    } else {
        if (handover->first)
            handover->last->next = handed;
        else
            handover->first = handed;
        handover->last = handed;
        handover->waiting++;
        taken = true;
        pthread_cond_signal(&handover->changed);
    }
    pthread_mutex_unlock(&handover->lock);
    return taken;
}

/* With the lock held: until there is something to take, it is woken, or the end or the time has come. */
static void wait_until(struct server_handover *handover, int64_t until)
{
    const struct timespec at = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
    int waited = 0;
    if (until == SERVER_HANDOVER_AT_ONCE)
        return;
    while (!handover->first && !handover->stopping && !handover->woken && waited != ETIMEDOUT) {
        if (until == SERVER_HANDOVER_NEVER)
            pthread_cond_wait(&handover->changed, &handover->lock);
        else
            waited = pthread_cond_timedwait(&handover->changed, &handover->lock, &at);
    }
    if (!handover->first)
        handover->woken = false;
}

struct server_handed *server_handover_take(struct server_handover *handover, int most,
                                           int64_t until)
{
    struct server_handed *first, *last;
    int count = 1;
    pthread_mutex_lock(&handover->lock);
    wait_until(handover, until);
    first = last = handover->stopping ? NULL : handover->first;
    if (first) {
        for (; last->next && count < most; count++)
            last = last->next;
        handover->first = last->next;
        handover->waiting -= count;
        last->next = NULL;
    }
    pthread_mutex_unlock(&handover->lock);
    return first;
}

void server_handover_wake(struct server_handover *handover)
{
    pthread_mutex_lock(&handover->lock);
    handover->woken = true;
    pthread_cond_signal(&handover->changed);
    pthread_mutex_unlock(&handover->lock);
}

void server_handover_stop(struct server_handover *handover)
{
    pthread_mutex_lock(&handover->lock);
    handover->stopping = true;
    pthread_cond_signal(&handover->changed);
    pthread_mutex_unlock(&handover->lock);
}

bool server_handover_is_stopped(struct server_handover *handover)
{
    bool stopped;
    pthread_mutex_lock(&handover->lock);
    stopped = handover->stopping;
    pthread_mutex_unlock(&handover->lock);
    return stopped;
}

void server_handover_finish(struct server_handover *handover)
{
    struct server_handed *rest = handover->first;
    handover->first = NULL;
    handover->waiting = 0;
    server_handed_end(rest, SERVER_OUTCOME_STOPPED);
}

void server_handed_end(struct server_handed *first, enum server_outcome outcome)
{
    while (first) {
        struct server_handed *handed = first;
        first = first->next; /* once it is done it may be gone */
        handed->outcome = outcome;
        handed->done(handed);
    }
}

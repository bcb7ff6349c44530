/* handover.c: see handover.h. */
#include "server/handover.h"

#include <stddef.h>

void server_handover_init(struct server_handover *handover, int most)
{
    *handover = (struct server_handover){.most = most};
    pthread_mutex_init(&handover->lock, NULL); /* neither can fail on Linux */
    pthread_cond_init(&handover->changed, NULL);
}

void server_handover_destroy(struct server_handover *handover)
{
    pthread_cond_destroy(&handover->changed);
    pthread_mutex_destroy(&handover->lock);
}

enum server_handing server_handover_push(struct server_handover *handover,
                                         struct server_handed *handed)
{
    enum server_handing outcome = SERVER_HANDED;
    handed->next = NULL;
    pthread_mutex_lock(&handover->lock);
    if (handover->stopping) {
        outcome = SERVER_HANDED_STOPPED;
    } else if (handover->waiting >= handover->most) {
        outcome = SERVER_HANDED_FULL;
    } else {
        if (handover->first)
            handover->last->next = handed;
        else
            handover->first = handed;
        handover->last = handed;
        handover->waiting++;
        pthread_cond_signal(&handover->changed);
    }
    pthread_mutex_unlock(&handover->lock);
    return outcome;
}

struct server_handed *server_handover_take(struct server_handover *handover, int most, bool wait)
{
    struct server_handed *first, *last;
    int count = 1;
    pthread_mutex_lock(&handover->lock);
    while (wait && !handover->first && !handover->stopping && !handover->woken)
        pthread_cond_wait(&handover->changed, &handover->lock);
    if (wait && !handover->first)
        handover->woken = false;
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

struct server_handed *server_handover_rest(struct server_handover *handover)
{
    struct server_handed *rest = handover->first;
    handover->first = NULL;
    return rest;
}

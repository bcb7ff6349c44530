/* queue.h: texts waiting to be computed, and the batches cut from them.
 *
 * A request is a job of one or more encoded texts for one model. Jobs wait in flows, two for each
 * model: one of short jobs, one of long ones. Flows take turns, a batch each, and a flow is served
 * in order of arrival, so a short text waits for one long batch at most, and a long one is not
 * overtaken for ever. A job larger than a batch is split and answered whole; between its batches the
 * jobs behind it have theirs. Whenever a job arrives or a batch ends, idle cores are given what waits: on
 * how many of them a batch is computed, and how large it is, follow from what it is expected to
 * take. Nobody waits for a batch to fill. docs/scheduling.md has the reasons. */
#ifndef SERVER_QUEUE_H
#define SERVER_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/distil.h"
#include "server/lanes.h"

struct server_model;
struct server_queue;

/* Why a job was not computed. */
enum server_fate {
    SERVER_COMPUTED,
    SERVER_ABANDONED, /* nobody waits for the answer any more */
    SERVER_EXPIRED,   /* its deadline passed */
    SERVER_STOPPED    /* the server ended */
};

/* A request that has waited no longer is not asked whether it is gone: that would cost a system call for each, and a client that
 * has closed one direction of its connection may still want its answer. */
#define SERVER_PATIENCE_NS INT64_C(50000000)

struct server_job {
    struct server_model *model;
    int count;
    distil_tokens **texts; /* (count) */
    float **
        outputs; /* (count): what the model makes of each text, server_model_width floats; written by the workers */
    bool raw;         /* embeddings are left as pooled where the model normalises */
    int tokens;       /* of all texts */
    int64_t deadline; /* monotonic nanoseconds; 0: none */
    void (*done)(struct server_job *job); /* called when the last text is computed or given up */
    /* Whether nobody waits for the answer any more; called while the job waits, after SERVER_PATIENCE_NS, with the
       queue locked. NULL: somebody always does. */
    bool (*gone)(struct server_job *job);

    /* Set when done. */
    distil_status status; /* of the computation; DISTIL_BUSY where fate is not SERVER_COMPUTED */
    enum server_fate fate;
    bool begun; /* where fate is not SERVER_COMPUTED: some of its texts were taken before */
    int64_t queued, taken,
        ended;       /* monotonic nanoseconds: pushed, first text taken, last computed */
    int batch_texts; /* texts in the batch that finished the job */

    /* The queue's own. */
    int next;      /* the first text not yet taken */
    int completed; /* texts computed or given up */
    struct server_job *link;
};

/* Jobs of one model that are alike in length, in the order in which they are served. The queue's
 * own. */
struct server_flow {
    struct server_model *model;
    struct server_job *head, *tail;
    int texts, tokens;        /* not yet taken */
    double squares;           /* of the lengths of those */
    bool waits;               /* for its turn: it is in the queue's ring */
    struct server_flow *next; /* in the ring */
};

enum { SERVER_SHORT, SERVER_LONG, SERVER_FLOWS };

struct server_batch {
    struct server_model *model;
    int count, tokens;
    double squares;
    const distil_tokens **texts; /* (count) */
    float **outputs;             /* (count): where what the model makes of each text goes */
    struct server_job **jobs;    /* (count) */
};

struct server_queue_options {
    int max_texts, max_tokens; /* that may wait */
    int64_t max_wait;          /* nanoseconds that a job may be expected to wait; 0: any */
    int max_batch_tokens;      /* of a batch of several texts */
    int64_t max_batch_time;    /* nanoseconds, the same */
};

enum server_room {
    SERVER_ROOM,      /* it was reserved */
    SERVER_ROOM_FULL, /* as many texts or tokens wait as may */
    SERVER_ROOM_SLOW, /* it would wait longer than may be */
    SERVER_ROOM_LATE  /* it would wait beyond its deadline */
};

/* Monotonic nanoseconds. */
int64_t server_now(void);

/* The most texts of a batch. */
static inline int server_batch_texts(int max_batch_tokens)
{
    return max_batch_tokens / DISTIL_EMPTY_TOKENS + 1;
}

/* The lanes must outlive the queue. NULL when memory runs out. */
struct server_queue *server_queue_create(const struct server_queue_options *options,
                                         const struct server_lanes *lanes);
void server_queue_free(struct server_queue *queue);

/* What server_queue_reserve would at best say to a job, as far as can be told before its texts are known: without its model,
 * or else with that and the most tokens that it may have, as a short job does not wait behind long ones. */
enum server_room server_queue_foresee(struct server_queue *queue, const struct server_model *model,
                                      int64_t most_tokens, int64_t deadline, int64_t *wait);
/* Takes room for a job, whose model, texts, tokens and deadline are set. Room is given back as texts
 * are taken. A job of more than the queue holds fits an empty queue. *wait is set to the
 * nanoseconds that it is, or would be, expected to wait. */
enum server_room server_queue_reserve(struct server_queue *queue, const struct server_job *job,
                                      int64_t *wait);
/* Adds a job for which room was reserved. After server_queue_close it is done at once with
 * SERVER_STOPPED. */
void server_queue_push(struct server_queue *queue, struct server_job *job);
/* Texts waiting, and their tokens. */
int server_queue_waiting(struct server_queue *queue, int *tokens);
/* Nanoseconds until all that waits is computed, as far as can be told. */
int64_t server_queue_drain_time(struct server_queue *queue);

/* Lets a model that replaces another of its size begin with what is known of the other's costs. */
void server_queue_inherit(struct server_queue *queue, struct server_model *model,
                          const struct server_model *before);

/* Waits for a batch for a lane and returns it; NULL when the queue is closed and empty. Each lane is
 * waited on by one thread. */
struct server_batch *server_queue_take(struct server_queue *queue, int lane);
/* Tells the jobs of the lane's batch how it went, and calls those that are done. */
void server_queue_finish(struct server_queue *queue, int lane, distil_status status);
/* Waits until the deadline of a job that waits has passed, and gives such jobs up; false when the queue
 * is closed. For one thread, which calls it again and again: jobs whose turn comes are looked at
 * without it, but one that waits long learns of its end in time only by it. */
bool server_queue_expire(struct server_queue *queue);
/* Gives up what waits, with SERVER_STOPPED, and lets the workers end. */
void server_queue_close(struct server_queue *queue);

#endif

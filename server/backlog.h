/* backlog.h: what waits to be computed, and how batches are cut from it: the queue without its locks
 * and lanes. */
#ifndef SERVER_BACKLOG_H
#define SERVER_BACKLOG_H

#include "server/queue.h"
#include "server/schedule.h"

struct server_backlog {
    struct server_flow *head,
        *tail; /* the ring: flows in which jobs wait, in the order of their turns */
    int waiting, waiting_tokens; /* of texts reserved and not yet taken */
    int short_tokens;            /* of the longest short job */
    int batch_texts;             /* most texts of a batch */
};

/* Where a job waits. */
struct server_flow *server_backlog_flow(const struct server_backlog *backlog,
                                        const struct server_job *job);
/* Adds a job whose room is counted already. */
void server_backlog_add(struct server_backlog *backlog, struct server_job *job);
/* What waits, as if it were all of the flow whose turn it is. There must be one. */
struct server_waiting server_backlog_sum(const struct server_backlog *backlog);
/* Cuts a batch of up to max_tokens, or of one text, from the flow whose turn it is, and lets the
 * next flow have its turn. Jobs that are not worth computing are given up: those that are done by it
 * join *done, and the batch may be left empty. */
void server_backlog_cut(struct server_backlog *backlog, struct server_batch *batch, int max_tokens,
                        int64_t now, struct server_job **done);
/* Gives up the jobs whose deadline has passed. Returns the earliest deadline of those that are left; 0
 * where none has one. */
int64_t server_backlog_expire(struct server_backlog *backlog, int64_t now,
                              struct server_job **done);
/* Takes the texts whose deadline has passed out of a batch that is not computed yet. */
void server_batch_expire(struct server_batch *batch, int64_t now, struct server_job **done);
/* Gives up all that waits, with SERVER_STOPPED. */
void server_backlog_clear(struct server_backlog *backlog, int64_t now, struct server_job **done);

/* Counts texts of a job as completed. A job of which they were the last joins *done. */
void server_job_complete(struct server_job *job, int count, int64_t now, struct server_job **done);

#endif

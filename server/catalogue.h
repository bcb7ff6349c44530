/* catalogue.h: the catalogue that the server answers from, and who searches it.
 *
 * A small one is searched where the question is, in less time than handing it over takes. A large one is searched by a thread
 * of its own with a team of threads, one question at a time, so that HTTP threads never wait for it. */
#ifndef SERVER_CATALOGUE_H
#define SERVER_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/distil_catalogue.h"
#include "server/handover.h"
#include "server/models.h"
#include "server/options.h"

struct server_catalogue;

/* A question, filled in by whoever asks it. */
struct server_search {
    struct server_handed handed;
    float *vector;         /* (width) */
    int limit;             /* 1..items */
    distil_match *matches; /* (limit) */
    int count;             /* of the matches found */
    int64_t deadline;      /* as server_job.deadline; 0: none */
    distil_status status;  /* where it was looked into */
    distil_error error;
};

/* threads: of the team for a large catalogue. verify: the file is read whole, and refused where it is damaged. */
distil_status server_catalogue_open(const char *path, int threads, bool verify,
                                    struct server_catalogue **catalogue, distil_error *error);
/* Warns in the log where the first encoder that is served is another than the one that made the vectors. */
void server_catalogue_check_encoder(const struct server_catalogue *catalogue,
                                    struct server_models *models, const struct server_log *log);
/* Ends the thread; questions that wait, and those to come, end as stopped. NULL is ignored. */
void server_catalogue_stop(struct server_catalogue *catalogue);
/* Stops and frees; no question may come any more. */
void server_catalogue_free(struct server_catalogue *catalogue);

/* The items. */
const distil_catalogue *server_catalogue_items(const struct server_catalogue *catalogue);
/* Whether a question is to be handed over, and not answered in place by server_catalogue_search. */
bool server_catalogue_is_large(const struct server_catalogue *catalogue);
/* Answers a question in place; done is not called. */
void server_catalogue_search(const struct server_catalogue *catalogue,
                             struct server_search *search);
/* Hands a question over to the thread, for which 256 may wait. */
void server_catalogue_push(struct server_catalogue *catalogue, struct server_search *search);

#endif

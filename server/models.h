/* models.h: the models that requests are answered with, by name.
 *
 * A model can be replaced while requests use it: a request keeps the one it began with, and the old
 * model is freed when the last such request has ended. */
#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include "server/lanes.h"
#include "server/model.h"
#include "server/options.h"
#include "server/queue.h"

struct server_models;

/* The options and lanes must outlive the models. DISTIL_INVALID for a name that is empty or given
 * twice. */
distil_status server_models_create(const struct server_options *options,
                                   const struct server_lanes *lanes, struct server_models **models,
                                   distil_error *error);
/* To be called when no model is in use any more. NULL is ignored. */
void server_models_free(struct server_models *models);

/* Opens all models, and verifies them where the options ask for it. After an error none may be used. */
distil_status server_models_load(struct server_models *models, distil_error *error);

enum server_swap { SERVER_SWAPPED, SERVER_UNCHANGED };
/* Opens model i anew, verifies it, puts it in the place of the one before, and returns when nobody
 * uses that any more and it is freed. The file that the model there was opened from is not taken
 * (*swap is SERVER_UNCHANGED), unless it was written to since. After an error everything is as it was. One call at a time. */
distil_status server_models_swap(struct server_models *models, int i, struct server_queue *queue,
                                 enum server_swap *swap, distil_error *error);

int server_models_count(const struct server_models *models);
/* The model of a name, the first one of a task, and the one in a place; NULL where there is none. To be given back with
 * server_models_leave. */
struct server_model *server_models_use(struct server_models *models, const char *name);
struct server_model *server_models_use_task(struct server_models *models, distil_task task);
struct server_model *server_models_use_at(struct server_models *models, int i);
/* NULL is ignored. */
void server_models_leave(struct server_models *models, struct server_model *model);

#endif

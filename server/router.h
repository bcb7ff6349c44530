/* router.h: which handler answers a method and a path. */
#ifndef SERVER_ROUTER_H
#define SERVER_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/distil.h"
#include "server/scopes.h"

struct server_exchange;

struct server_route {
    const char *method; /* GET answers HEAD as well */
    const char *path;
    void (*handle)(struct server_exchange *exchange);
    bool json_body;      /* the body must be of type application/json, where one is given */
    bool needs_model;    /* answered 503 while the models are loaded */
    distil_task task;    /* of the model, where the request always computes a text */
    bool may_skip_queue; /* it is read while the queue is full: it may compute no text */
    unsigned needs;      /* enum server_scope, of which a caller must have one; 0: nothing */
    bool unlimited;      /* no rate limit applies */
};

/* NULL where there is none; *allow is then set to the methods the path has, or to NULL where it has
 * none. */
const struct server_route *server_route_find(const char *method, const char *path,
                                             const char **allow);
/* All routes, for pages that list them. */
const struct server_route *server_routes(size_t *count);

#endif

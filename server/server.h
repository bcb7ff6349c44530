/* server.h: models served over HTTP.
 *
 * server_run is what the `serve` command calls: it starts, announces itself, waits for SIGTERM or
 * SIGINT, drains and returns; SIGHUP makes it reload. The other calls are its parts, for tests and for programs with a main
 * loop of their own. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdbool.h>

#include "engine/distil.h"
#include "server/options.h"

struct server;

/* Serves until SIGTERM or SIGINT, then answers what was accepted and returns DISTIL_OK. SIGHUP is
 * server_reload. Writes the
 * line `distild listening on http://HOST:PORT ...` once requests are answered. DISTIL_BUSY when
 * requests were left unanswered at the end of the drain timeout, or at a second signal. A signal while models are
 * being loaded ends that too. *busy is set where threads may still be at work, so that the caller should end by
 * _exit. DISTIL_INVALID names a bad option, among them an address that other machines reach where no
 * credential is configured; DISTIL_SYSTEM an address that cannot be listened on;
 * the errors of distil_model_open. To be called before other threads start, as it blocks the
 * signals it waits for. */
distil_status server_run(const struct server_options *options, bool *busy, distil_error *error);

/* Checks the options and listens; answers 503 until server_load has loaded the models and started
 * the workers. */
distil_status server_start(const struct server_options *options, struct server **server,
                           distil_error *error);
distil_status server_load(struct server *server, distil_error *error);
/* Reads the files that say who may ask, and the certificate, again, and says in the log what came of
 * it; after an error those of before go on to be used. Then has the models read again from where they
 * lie, and returns; what happens to them is logged. Requests are answered all the while, each by the
 * model it began with. */
void server_reload(struct server *server);
/* The port listened on. */
int server_port(const struct server *server);

/* Says at /health that no more requests should come, and goes on answering them. */
void server_retire(struct server *server);
/* Does so, and stops listening; requests on open connections are still answered. */
void server_drain(struct server *server);
/* Requests received whole and not yet fully answered. */
int server_in_flight(const struct server *server);
/* Requests whose headers have come and whose body is on its way. */
int server_arriving(const struct server *server);
/* Whether a drained server has nothing left to answer. To be asked several times a second, as it closes the
 * connections of clients that take too long. */
bool server_drained(struct server *server);
/* Ends: drains if that has not been done, answers what still waits with 503, stops the threads,
 * frees. NULL is ignored. */
void server_free(struct server *server);

#endif

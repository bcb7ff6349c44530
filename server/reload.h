/* reload.h: replaces models by what their paths hold now, while requests are answered, on a thread of
 * its own. */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include "server/models.h"

struct server_reloader;

/* Called when a reload has ended: how many models were replaced, and how many could not be. */
typedef void server_reload_done(void *context, int swapped, int failed);

/* All of them must outlive the reloader. */
distil_status server_reloader_start(struct server_models *models, struct server_queue *queue,
                                    const struct server_log *log, struct server_reloader **reloader,
                                    distil_error *error);
/* Asks for a reload, from any thread, and returns at once. While one is under way, however often it
 * is asked for, one more follows. done, where not NULL, is called when the reload that begins after
 * this call has ended; DISTIL_NO_MEMORY. */
distil_status server_reloader_ask(struct server_reloader *reloader, server_reload_done *done,
                                  void *context, distil_error *error);
/* Ends after the reload that is under way. NULL is ignored. */
void server_reloader_free(struct server_reloader *reloader);

#endif

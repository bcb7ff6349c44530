/* reload.h: replaces models by what their paths hold now, while requests are answered, on a thread of
 * its own; and what is remembered of how reloading went. */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "server/models.h"

struct server_reloader;

/* What is reloaded. */
enum server_reloadable {
    SERVER_RELOAD_KEYS,
    SERVER_RELOAD_CERTIFICATE,
    SERVER_RELOAD_MODELS,
    SERVER_RELOADABLE
};

/* How often that went well or not, and how and when it did last. All zero where it never was tried. */
struct server_reload_record {
    atomic_ullong succeeded, failed;
    atomic_llong at; /* nanoseconds since 1970 */
    atomic_bool last_failed;
};

void server_reload_note(struct server_reload_record *record, bool succeeded);

/* How a reload went, in models. */
struct server_reload_outcome {
    int swapped, unchanged, failed;
    distil_error error; /* of the first that failed */
};

/* Called when a reload has ended, by its thread. */
typedef void server_reload_done(void *context, const struct server_reload_outcome *outcome);

/* All of them must outlive the reloader, which notes its reloads in the record. */
distil_status server_reloader_start(struct server_models *models, struct server_queue *queue,
                                    const struct server_log *log,
                                    struct server_reload_record *record,
                                    struct server_reloader **reloader, distil_error *error);
/* Asks for a reload, from any thread, and returns at once. While one is under way, however often it
 * is asked for, one more follows. done, where not NULL, is called when the reload that begins after
 * this call has ended; DISTIL_NO_MEMORY. */
distil_status server_reloader_ask(struct server_reloader *reloader, server_reload_done *done,
                                  void *context, distil_error *error);
/* Ends after the reload that is under way. NULL is ignored. */
void server_reloader_free(struct server_reloader *reloader);

#endif

/* reload.h: replaces models and the catalogue by what their paths hold now, while requests are answered, on a thread of
 * its own; and what is remembered of how reloading went. */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "server/handover.h"
#include "server/models.h"
#include "server/offers.h"

struct server_reloader;

/* What is reloaded. */
enum server_reloadable {
    SERVER_RELOAD_KEYS,
    SERVER_RELOAD_CERTIFICATE,
    SERVER_RELOAD_MODELS,
    SERVER_RELOAD_CATALOGUE,
    SERVER_RELOADABLE
};

/* How often that went well or not, and how and when it did last. All zero where it never was tried. */
struct server_reload_record {
    atomic_ullong succeeded, failed;
    atomic_llong at; /* nanoseconds since 1970 */
    atomic_bool last_failed;
};

void server_reload_note(struct server_reload_record *record, bool succeeded);

/* How a reload went: of so many models, and of the catalogue where there is one. */
struct server_reload_outcome {
    int swapped, unchanged, failed;
    enum {
        SERVER_NO_CATALOGUE,
        SERVER_CATALOGUE_SWAPPED,
        SERVER_CATALOGUE_UNCHANGED,
        SERVER_CATALOGUE_FAILED
    } catalogue;
    distil_error error; /* of the first that failed */
};

/* Asks for a reload; filled in by whoever asks. */
struct server_reload_request {
    struct server_handed handed;
    struct server_reload_outcome outcome; /* where handed's is DONE */
};

/* What is reloaded, and where it is noted. All that they point to must outlive the reloader. */
struct server_reload_settings {
    struct server_models *models;
    struct server_queue *queue;
    const char *catalogue;                  /* its path */
    int threads;                            /* that search it */
    struct server_offers *offers;           /* NULL: there is no catalogue */
    struct server_recommender *recommender; /* NULL: nothing is recommended */
    const struct server_log *log;
    struct server_reload_record *records; /* (SERVER_RELOADABLE) */
};

distil_status server_reloader_start(const struct server_reload_settings *settings,
                                    struct server_reloader **reloader, distil_error *error);
/* Hands a request over: done is called when the reload that begins after this call has ended. However many
 * are handed over while one is under way, up to 64, one more follows. */
void server_reloader_ask(struct server_reloader *reloader, struct server_reload_request *request);
/* Ends after the reload that is under way; requests that wait, and those to come, end as stopped. NULL is
 * ignored. */
void server_reloader_stop(struct server_reloader *reloader);
/* Stops and frees; nobody may ask any more. NULL is ignored. */
void server_reloader_free(struct server_reloader *reloader);

#endif

/* options.h: what a server is told before it starts. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/distil.h"
#include "server/log.h"

struct server_model_options {
    const char *name; /* by which requests ask for it; NULL: "default" */
    const char *path; /* model file or HuggingFace directory; NULL: the bundled model */
    distil_options engine;
    bool verify; /* the file is read whole and compared with its digest before it is served */
};

/* Who may ask, and how often; see access.h. All NULL and false: everybody, but for admin routes. */
struct server_access_options {
    const char *api_keys; /* file of keys, see api_keys.h */
    const char *jwt_keys; /* file of keys of tokens, see tokens.h */
    /* Networks of the proxies whose word on who asks is taken, with commas between them. */
    const char *trusted_proxies;
    bool forwarded;           /* they write Forwarded, and not X-Forwarded-For */
    const char *cors_origins; /* origins whose pages may ask, or "*" */
    bool allow_anonymous;     /* on any address, and beside credentials */
    /* Of each credential and of each address without one, such as "50/s:100". */
    const char *rate_limit;
    /* For POST /api/login, from a file or as text, which is wiped once it is hashed; neither, or an
     * empty text: nobody can log in. */
    const char *session_password_file;
    char *session_password;
    /* What signs the tokens it gives, so that replicas take each other's; NULL: random bytes. */
    const char *session_key_file;
    int session_seconds; /* for which such a token is good */
};

/* What the log of predictions keeps of a text. */
enum server_prediction_text {
    SERVER_PREDICTION_TEXT_FULL,
    SERVER_PREDICTION_TEXT_HASH, /* a hash by a key of this state directory's own */
    SERVER_PREDICTION_TEXT_NONE
};

/* Of the log of predictions in the state directory, see prediction_log.h. */
struct server_prediction_options {
    bool enabled;
    enum server_prediction_text text;
    int days;          /* that predictions are kept; 0: for ever */
    int64_t max_bytes; /* that they may take on disk; 0: any */
};

/* Start from server_options_default(). Strings are not copied: they must outlive the server. */
struct server_options {
    const char *host;       /* address or name to listen on; an IPv6 address without brackets */
    uint16_t port;          /* 0: any free port, see server_port */
    const char *uds;        /* path of a Unix-domain socket to listen on instead; NULL: none */
    unsigned uds_mode;      /* its permissions */
    bool listen_when_ready; /* takes no connection before the models are loaded */
    const struct server_model_options
        *models;          /* the first one answers where a request names none */
    int model_count;      /* 0: the bundled model alone */
    int threads;          /* that compute; 0: one for every CPU the process may use */
    int workers;          /* most batches computed at once; 0: as many as threads */
    int http_threads;     /* that read and write HTTP; 0: one per CPU, 1 to 4 */
    int max_queue;        /* texts waiting to be computed, beyond which a request is answered 503 */
    int max_queue_tokens; /* the same of their tokens together */
    int max_queue_ms;     /* the same of the time a request is expected to wait; 0: any */
    int max_batch_tokens; /* of the texts computed together */
    int max_batch_ms;     /* the same of the time they are expected to take */
    int request_timeout_ms;     /* from a request's headers until it is computed; 0: any */
    int max_request_timeout_ms; /* that a request may ask for instead */
    int max_client_batch;       /* texts of one request */
    int max_windows;            /* that the context of one question may be read in */
    size_t max_body;            /* bytes of a request's body */
    size_t max_bodies;   /* the same of all large ones together, or max_body where that is more */
    int max_connections; /* 0: as many as the limit of open files allows, at most 16384 */
    int max_connections_per_address; /* 0: any number */
    int header_timeout_seconds;      /* that a request's headers may take */
    int body_timeout_seconds;        /* that its body may take, and the client to take its answer */
    int min_rate;                    /* bytes a second that a body must come with; 0: any */
    int idle_timeout_seconds;        /* after which a silent connection is closed */
    int drain_delay_seconds;   /* that it goes on serving after SIGTERM though /health fails */
    int drain_timeout_seconds; /* that accepted requests then have to finish in */
    bool access_log;           /* a line for each request */
    const char *state_dir; /* of what outlives the server, see state_dir.h; NULL: nothing does */
    bool state_required;   /* does not start without it; else it warns and keeps nothing */
    struct server_prediction_options predictions;
    const char
        *drift_window; /* of the predictions that are compared with the reference, such as "1d" */
    int drift_interval_seconds;   /* between comparisons; 0: only when asked */
    int drift_min_rows;           /* predictions that a comparison takes at least */
    const char *catalogue;        /* file of items to find and to recommend; NULL: none */
    const char *profile_template; /* file, see recommender.h; NULL: the usual words */
    bool verify;                  /* every model and the catalogue, as at each reload */
    struct server_access_options access;
    const char *tls_certificate, *tls_key; /* PEM files; NULL: plain HTTP */
    struct server_log log;
};

/* 127.0.0.1:8080, the bundled model on all CPUs, up to a batch for each, 1024 texts, 65536 tokens or
 * 10 s waiting, 2048 tokens or 50 ms a batch, no deadline but what requests ask for, up to 10
 * minutes, 32 texts or 128 windows a request, bodies to 2,000,000 bytes, 75 s idle, 30 s to drain,
 * 30 s for headers, 60 s for a body, which must come with 200 bytes a second, the log at info
 * on standard error as text. */
struct server_options server_options_default(void);

/* DISTIL_INVALID names the first number that is not within its bounds, and these. */
distil_status server_options_check(const struct server_options *options, distil_error *error);
/* Puts what this process may use in the place of each 0 that leaves it to the server, and the bundled
 * model where none is named. */
void server_options_complete(struct server_options *options);

#endif

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/distil_catalogue.h"
#include "server/journal.h"
#include "server/server.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/served.h"
#include "tools/state.h"

struct serve_settings {
    struct tool_list models;
    bool bundled;
    struct tool_model_settings model; /* its path is not used */
    const char *host, *uds, *uds_mode, *log_level, *log_journal, *log_tag;
    long port, workers, http_threads, max_queue, max_queue_tokens, max_queue_ms, max_batch_tokens,
        max_batch_ms, max_client_batch, max_windows, max_body, max_connections,
        max_connections_per_address;
    const char *catalogue, *profile_template;
    bool verify;
    long request_timeout_ms, max_request_timeout_ms;
    long header_timeout, body_timeout, min_rate, idle_timeout, drain_delay, drain_timeout;
    bool log_json, access_log;
    const char *api_keys, *jwt_keys, *rate_limit, *session_password_file, *session_key_file;
    const char *tls_cert, *tls_key;
    long session_seconds;
    const char *trusted_proxies, *forwarded_header, *cors_origins;
    bool allow_anonymous, listen_when_ready;
    const char *state_dir, *log_text;
    bool prediction_log;
    long log_days, log_max_bytes;
    const char *drift_window;
    long drift_interval, drift_min_rows;
};

#define NUMBER(member_, name_, value_, low_, high_, fallback_, help_)                              \
    {                                                                                              \
        .name = name_, .kind = TOOL_INTEGER, .offset = offsetof(struct serve_settings, member_),   \
        .value = value_, .low = low_, .high = high_, .fallback = fallback_, .help = help_          \
    }

static const struct tool_option options[] = {
    {.name = "host",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, host),
     .value = "HOST",
     .fallback = "127.0.0.1",
     .help = "Address or name to listen on; 0.0.0.0 or :: for every one"},
    {.name = "port",
     .letter = 'p',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct serve_settings, port),
     .value = "PORT",
     .low = 0,
     .high = 65535,
     .fallback = "8080",
     .help = "Port to listen on; 0 takes a free one, which the first line on standard error names"},
    {.name = "listen-when-ready",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct serve_settings, listen_when_ready),
     .help = "Take no connection before the models are loaded, instead of answering 503 meanwhile: "
             "for a proxy that asks another server where it gets none"},
    {.name = "uds",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, uds),
     .value = "PATH",
     .help = "Listen on a Unix-domain socket instead"},
    {.name = "uds-mode",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct serve_settings, uds_mode),
     .value = "MODE",
     .choices = "600|660|666",
     .fallback = "660",
     .help = "Who may connect: 600 its owner, 660 its group too, 666 everybody"},
    {.name = "model",
     .letter = 'm',
     .kind = TOOL_LIST,
     .offset = offsetof(struct serve_settings, models),
     .value = "[NAME=]PATH",
     .also = TOOL_MODEL_VARIABLE,
     .help = "A converted file or a HuggingFace directory; without one, the bundled models: a "
             "sentiment classifier, a sentence encoder and a question answerer. Given several "
             "times, with a name for each, requests choose by their field `model`, and the first "
             "of its task answers those that name none"},
    {.name = "bundled",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct serve_settings, bundled),
     .help =
         "Beside those of --model, serve the bundled models of the tasks that none of them has"},
    TOOL_COMPUTE_OPTIONS(serve_settings),
    NUMBER(workers, "workers", "N", 0, 1024, "0",
           "Most batches computed at once; the threads are divided among them. 0 allows one for "
           "each thread, up to 64"),
    NUMBER(max_queue, "max-queue", "N", 1, 1000000, "1024",
           "Texts waiting to be computed, beyond which a request is answered 503"),
    NUMBER(max_queue_tokens, "max-queue-tokens", "N", 1, 1000000000, "65536",
           "Tokens of the texts waiting, beyond which a request is answered 503"),
    NUMBER(max_queue_ms, "max-queue-ms", "MS", 0, 86400000, "10000",
           "Time that a request is expected to wait, beyond which it is answered 503; 0 for any"),
    NUMBER(max_batch_tokens, "max-batch-tokens", "N", 1, 1000000, "2048",
           "Most tokens of the texts computed together"),
    NUMBER(max_batch_ms, "max-batch-ms", "MS", 1, 86400000, "50",
           "Most time that the texts computed together are expected to take, unless one alone "
           "takes longer"),
    NUMBER(request_timeout_ms, "request-timeout-ms", "MS", 0, 86400000, "0",
           "Deadline of requests without the header X-Request-Timeout-Ms, after which they are "
           "not computed but answered 504; 0 for none"),
    NUMBER(max_request_timeout_ms, "max-request-timeout-ms", "MS", 1, 86400000, "600000",
           "Most that X-Request-Timeout-Ms counts for"),
    NUMBER(max_client_batch, "max-client-batch", "N", 1, 100000, "32", "Texts of one request"),
    NUMBER(max_windows, "max-windows", "N", 1, 100000, "128",
           "Windows that the context of one question may be read in"),
    NUMBER(max_body, "max-body", "BYTES", 1024, 1073741824, "2000000", "Size of a request's body"),
    NUMBER(max_connections, "max-connections", "N", 0, 1000000, "0",
           "Open connections; 0 takes what the limit of open files allows"),
    NUMBER(max_connections_per_address, "max-connections-per-address", "N", 0, 1000000, "0",
           "Open connections of one address, or of one IPv6 network of 64 bits; 0 is any number"),
    NUMBER(http_threads, "http-threads", "N", 0, 256, "0",
           "Threads that read and write HTTP; 0 takes one for each CPU, up to 4"),
    NUMBER(header_timeout, "header-timeout", "SECONDS", 1, 86400, "30",
           "That a request's headers may take"),
    NUMBER(body_timeout, "body-timeout", "SECONDS", 1, 86400, "60",
           "That a request's body may take, and the client to take its answer"),
    NUMBER(min_rate, "min-rate", "BYTES", 0, 1000000000, "200",
           "Bytes a second that a body must come with; 0 takes any rate"),
    NUMBER(idle_timeout, "idle-timeout", "SECONDS", 1, 86400, "75",
           "After which a silent connection is closed"),
    NUMBER(
        drain_delay, "drain-delay", "SECONDS", 0, 86400, "0",
        "That it goes on serving after SIGTERM while GET /health answers 503, for load balancers "
        "to notice"),
    NUMBER(drain_timeout, "drain-timeout", "SECONDS", 0, 86400, "30",
           "That accepted requests then have to finish in"),
    TOOL_STATE_OPTION(struct serve_settings,
                      "Directory of what outlives the server, for it alone; it is made where there "
                      "is none. Without it, $XDG_STATE_HOME/distild or ~/.local/state/distild, "
                      "which the server does without where it cannot be written"),
    {.name = "prediction-log",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct serve_settings, prediction_log),
     .fallback = "yes",
     .help = "Keep every prediction and its text in the directory of state; --prediction-log=no "
             "keeps none"},
    {.name = "log-text",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct serve_settings, log_text),
     .value = "WHAT",
     .choices = "full|hash|none",
     .fallback = "full",
     .help = "full, hash or none: what that log keeps of a text"},
    NUMBER(log_days, "log-days", "DAYS", 0, 36500, "30",
           "That it keeps predictions; 0 keeps them for ever"),
    NUMBER(log_max_bytes, "log-max-bytes", "BYTES", 0, 1e15, "1073741824",
           "That they may take on disk, beyond which the oldest are deleted; 0 for any"),
    {.name = "drift-window",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, drift_window),
     .value = "RANGE",
     .fallback = "1d",
     .help = "Predictions that GET /drift and the gauges compare with the reference: the last 36h, "
             "7d and the like"},
    NUMBER(drift_interval, "drift-interval", "SECONDS", 0, 31536000, "3600",
           "Between such comparisons in the background; 0 for none but those asked for"),
    NUMBER(drift_min_rows, "drift-min-rows", "N", 1, 100000000, "200",
           "Predictions that one takes at least"),
    {.name = "catalogue",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, catalogue),
     .value = "FILE",
     .help = "Items that POST /api/similar and POST /api/recommend choose from, as 'distild "
             "catalogue build' writes them; without it, a sample"},
    {.name = "profile-template",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, profile_template),
     .value = "FILE",
     .help = "Line in which POST /api/recommend tells the encoder of a profile, with {age}, "
             "{gender} and {occupation}"},
    {.name = "verify",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct serve_settings, verify),
     .help =
         "Read every model file and the catalogue whole before they are served, and do not start "
         "where one is not what its digest says, as is done at every reload"},
    {.name = "log-level",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct serve_settings, log_level),
     .value = "LEVEL",
     .choices = "error|warn|info|debug",
     .fallback = "info",
     .help = "error, warn, info or debug: from which on to write"},
    {.name = "log-json",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct serve_settings, log_json),
     .help = "Write the log as JSON, one object a line"},
    {.name = "log-journal",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, log_journal),
     .value = "SOCKET",
     .help =
         "Write the log to systemd's journal through its socket /run/systemd/journal/stdout, as "
         "a container does that has it mounted, instead of standard error"},
    {.name = "log-tag",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, log_tag),
     .value = "NAME",
     .fallback = "distild",
     .help = "The name of its lines there, for journalctl -t NAME"},
    {.name = "access-log",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct serve_settings, access_log),
     .help = "Write a line for each request, whatever the level"},
    {.name = "tls-cert",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, tls_cert),
     .value = "FILE",
     .help = "Speak TLS with this certificate and its chain, in PEM"},
    {.name = "tls-key",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, tls_key),
     .value = "FILE",
     .help = "Its private key, in PEM"},
    {.name = "api-keys",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, api_keys),
     .value = "FILE",
     .help = "File of the API keys that may call; 'distild keys new' makes one"},
    {.name = "jwt-keys",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, jwt_keys),
     .value = "FILE",
     .help = "File of the keys whose JSON Web Tokens may call"},
    {.name = "session-password-file",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, session_password_file),
     .value = "FILE",
     .help =
         "File with the password of POST /api/login; without it, the variable SESSION_PASSWORD"},
    {.name = "session-key-file",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, session_key_file),
     .value = "FILE",
     .help = "File with the secret that signs its tokens, so that replicas accept each other's; "
             "without it, one made at the start"},
    NUMBER(session_seconds, "session-seconds", "SECONDS", 1, 31536000, "43200",
           "For which such a token is good"),
    {.name = "allow-anonymous",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct serve_settings, allow_anonymous),
     .help = "Answer everyone who can reach the address, without a credential"},
    {.name = "rate-limit",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, rate_limit),
     .value = "RATE",
     .help = "Requests of each key, and of each address without one: 50/s, 600/m:20 (bursts of "
             "20); over it they are answered 429"},
    {.name = "trusted-proxies",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, trusted_proxies),
     .value = "NETWORKS",
     .help =
         "Proxies that are believed when they say who asks, such as 10.0.0.0/8,fd00::/8; 'unix' "
         "is whoever comes through a Unix-domain socket"},
    {.name = "forwarded-header",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct serve_settings, forwarded_header),
     .value = "NAME",
     .choices = "x-forwarded-for|forwarded",
     .fallback = "x-forwarded-for",
     .help = "The header in which they say it"},
    {.name = "cors-allow-origin",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct serve_settings, cors_origins),
     .value = "ORIGINS",
     .help = "Origins whose web pages may ask, such as https://app.example.com, or *"},
    TOOL_END_OPTIONS};

/* Standard error, or the journal, whose stream then lasts as long as the program. */
static distil_status open_log(const struct serve_settings *settings, struct server_log *log,
                              distil_error *error)
{
    log->fd = STDERR_FILENO;
    log->json = settings->log_json;
    server_log_level_parse(settings->log_level, &log->level);
    log->journal =
        settings->log_journal || server_log_is_journal(STDERR_FILENO, getenv("JOURNAL_STREAM"));
    return settings->log_journal
               ? server_journal_open(settings->log_journal, settings->log_tag, &log->fd, error)
               : DISTIL_OK;
}

/* Where it listens, and how much it takes on. */
static void set_limits(const struct serve_settings *settings, struct server_options *server)
{
    server->host = settings->host;
    server->port = (uint16_t)settings->port;
    server->uds = settings->uds;
    server->listen_when_ready = settings->listen_when_ready;
    server->uds_mode = (unsigned)strtoul(settings->uds_mode, NULL, 8);
    server->workers = (int)settings->workers;
    server->threads = (int)settings->model.threads;
    server->http_threads = (int)settings->http_threads;
    server->max_queue = (int)settings->max_queue;
    server->max_queue_tokens = (int)settings->max_queue_tokens;
    server->max_queue_ms = (int)settings->max_queue_ms;
    server->max_batch_tokens = (int)settings->max_batch_tokens;
    server->max_batch_ms = (int)settings->max_batch_ms;
    server->request_timeout_ms = (int)settings->request_timeout_ms;
    server->max_request_timeout_ms = (int)settings->max_request_timeout_ms;
    server->max_client_batch = (int)settings->max_client_batch;
    server->max_windows = (int)settings->max_windows;
    server->max_body = (size_t)settings->max_body;
    server->catalogue = settings->catalogue;
    server->profile_template = settings->profile_template;
    server->verify = settings->verify;
    server->max_connections = (int)settings->max_connections;
    server->max_connections_per_address = (int)settings->max_connections_per_address;
    server->header_timeout_seconds = (int)settings->header_timeout;
    server->body_timeout_seconds = (int)settings->body_timeout;
    server->min_rate = (int)settings->min_rate;
    server->idle_timeout_seconds = (int)settings->idle_timeout;
    server->drain_delay_seconds = (int)settings->drain_delay;
    server->drain_timeout_seconds = (int)settings->drain_timeout;
}

static void set_access(const struct serve_settings *settings, struct server_options *server)
{
    server->access = (struct server_access_options){
        .api_keys = settings->api_keys,
        .jwt_keys = settings->jwt_keys,
        .session_password = getenv("SESSION_PASSWORD"),
        .session_password_file = settings->session_password_file,
        .session_key_file = settings->session_key_file,
        .session_seconds = (int)settings->session_seconds,
        .rate_limit = settings->rate_limit,
        .allow_anonymous = settings->allow_anonymous,
        .trusted_proxies = settings->trusted_proxies,
        .forwarded = strcmp(settings->forwarded_header, "forwarded") == 0,
        .cors_origins = settings->cors_origins,
    };
    server->tls_certificate = settings->tls_cert;
    server->tls_key = settings->tls_key;
}

/* What is kept and watched. state: the directory of it. */
static void set_records(const struct serve_settings *settings, const char *state,
                        struct server_options *server)
{
    server->state_dir = state;
    server->state_required = settings->state_dir != NULL;
    server->predictions = (struct server_prediction_options){
        .enabled = settings->prediction_log,
        .text = strcmp(settings->log_text, "none") == 0   ? SERVER_PREDICTION_TEXT_NONE
                : strcmp(settings->log_text, "hash") == 0 ? SERVER_PREDICTION_TEXT_HASH
                                                          : SERVER_PREDICTION_TEXT_FULL,
        .days = (int)settings->log_days,
        .max_bytes = settings->log_max_bytes,
    };
    server->drift_window = settings->drift_window;
    server->drift_interval_seconds = (int)settings->drift_interval;
    server->drift_min_rows = (int)settings->drift_min_rows;
    server->access_log = settings->access_log;
}

/* What keeps it from serving, for whoever reads its log: in the journal with its priority, or as JSON. */
static int failed(const struct server_log *log, const distil_error *error)
{
    if (!log->json && !log->journal)
        return tool_failed("serve", error);
    server_log_event(log, SERVER_LOG_ERROR, error->message, NULL, 0);
    return TOOL_FAILURE;
}

static int run_serve(const void *given, int count, char **operands)
{
    const struct serve_settings *settings = given;
    (void)count;
    (void)operands;
    const distil_options engine = {.precision = settings->model.precision,
                                   .cpu = settings->model.cpu};
    struct server_options server = server_options_default();
    struct tool_served *models = calloc(1, sizeof *models);
    char state[TOOL_PATH];
    distil_error error;
    if (!models) {
        distil_fail(&error, DISTIL_NO_MEMORY, "out of memory");
        return tool_failed("serve", &error);
    }
    if (tool_served_read(&settings->models, &engine, models, &error) ||
        open_log(settings, &server.log, &error)) {
        bool misused = error.code == DISTIL_INVALID;
        free(models);
        return misused ? tool_misused("serve", error.message) : tool_failed("serve", &error);
    }
    if ((models->count == 0 || settings->bundled) &&
        tool_served_add_bundled(&engine, models, &error)) {
        free(models);
        return failed(&server.log, &error);
    }
    server.models = models->each;
    server.model_count = models->count;
    set_limits(settings, &server);
    set_access(settings, &server);
    tool_state_dir(settings->state_dir, state);
    set_records(settings, state, &server);
    /* A client that closes early must not end the server. */
    signal(SIGPIPE, SIG_IGN);
    char *bundled = NULL;
    if (!server.catalogue && !distil_catalogue_bundled(&bundled, &error))
        server.catalogue = bundled;
    bool busy;
    distil_status status = server_run(&server, &busy, &error);
    if (busy)
        _exit(status ? failed(&server.log, &error) : TOOL_OK);
    free(models);
    free(bundled);
    return status ? failed(&server.log, &error) : TOOL_OK;
}

const struct tool_command tool_serve = {
    .name = "serve",
    .summary = "Answer requests over HTTP",
    .operands = "",
    .description =
        "Serves models over HTTP and writes a line on standard error once it "
        "answers. GET /health says whether it "
        "does; POST /predict classifies, POST /embed embeds.\n\n"
        "SIGTERM and SIGINT stop it: what was accepted is answered, then it exits with "
        "status 0. A second signal ends it at once. SIGHUP reads the models and the catalogue "
        "again and replaces those that have changed, while requests are answered.",
    .options = options,
    .least_operands = 0,
    .most_operands = 0,
    .run = run_serve,
    .settings_size = sizeof(struct serve_settings)};

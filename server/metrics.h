/* metrics.h: what the server counts, in the text format of Prometheus.
 *
 * A meter holds the counters of one thread, on cache lines of its own: counting is a relaxed
 * addition to memory that no other core writes. Meters are summed when they are read. Any thread may
 * add to any meter, it only costs more; a meter that is NULL counts nothing. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "server/recent.h"

struct server_meter;
struct server_metrics;

/* In the order of the table in metrics.c, where their names stand. */
enum server_counter {
    SERVER_COUNT_SHED_QUEUE,       /* requests answered 503: the queue was full */
    SERVER_COUNT_SHED_RATE,        /* 429: the client was over its own limit */
    SERVER_COUNT_SHED_LOADING,     /* 503: the model was being loaded */
    SERVER_COUNT_SHED_STOPPING,    /* 503: the server stopped first */
    SERVER_COUNT_EXPIRED_QUEUED,   /* requests whose deadline would be over before their turn */
    SERVER_COUNT_EXPIRED_TAKEN,    /* while they waited */
    SERVER_COUNT_EXPIRED_COMPUTED, /* before the rest of their texts was computed */
    SERVER_COUNT_ABANDONED,        /* requests whose client had gone */
    SERVER_COUNT_TRUNCATED,        /* texts that were cut at the window */
    SERVER_COUNT_TEXTS,            /* computed */
    SERVER_COUNT_TOKENS,           /* computed */
    SERVER_COUNT_BODY_BYTES,       /* of bodies received */
    SERVER_COUNT_ANSWER_BYTES,     /* of bodies answered */
    SERVER_COUNT_CONNECTIONS,      /* accepted */
    SERVER_COUNT_CLOSED_HEADER,    /* connections closed as a request's headers took too long */
    SERVER_COUNT_CLOSED_BODY,      /* as its body did */
    SERVER_COUNT_CLOSED_RATE,      /* as its body came too slowly */
    SERVER_COUNT_CLOSED_READER,    /* as its answer was not taken */
    SERVER_COUNT_CLOSED_ADDRESS,   /* as their address had too many */
    SERVER_COUNT_CLOSED_ROOM,      /* as they were idle, and others waited for room */
    SERVER_COUNT_LOG_ROWS,         /* predictions written to their log */
    SERVER_COUNT_LOG_FULL,         /* not written: too many waited */
    SERVER_COUNT_LOG_NO_MEMORY,    /* memory ran out */
    SERVER_COUNT_LOG_UNWRITTEN,    /* the server ended first */
    SERVER_COUNT_LOG_LOCKED,      /* attempts to write that failed: another process had it locked */
    SERVER_COUNT_LOG_DISK_FULL,   /* the disk was full */
    SERVER_COUNT_LOG_DAMAGED,     /* the file was damaged */
    SERVER_COUNT_LOG_FAILED,      /* anything else */
    SERVER_COUNT_LOG_DELETED_AGE, /* predictions deleted: they were too old */
    SERVER_COUNT_LOG_DELETED_SIZE, /* there were too many */
    SERVER_COUNTERS
};

enum server_histogram {
    SERVER_TOKENIZATION_NS, /* of a request's texts */
    SERVER_QUEUE_NS,        /* from the queue's end to the first text taken */
    SERVER_INFERENCE_NS,    /* from there until the last text is computed */
    SERVER_BATCH_TEXTS,
    SERVER_BATCH_TOKENS,
    SERVER_HISTOGRAMS
};

/* For so many threads that count; NULL when memory runs out. */
struct server_metrics *server_metrics_create(int threads);
void server_metrics_free(struct server_metrics *metrics);
/* The meter of thread 0 <= i < threads. */
struct server_meter *server_metrics_meter(struct server_metrics *metrics, int i);

void server_count(struct server_meter *meter, enum server_counter counter, uint64_t count);
/* Adds a value, in nanoseconds where the name says so, to a distribution. */
void server_observe(struct server_meter *meter, enum server_histogram histogram, int64_t value);
/* Counts an answered request. route: its place among server_routes; -1 where none matched. */
void server_count_request(struct server_meter *meter, int route, unsigned status,
                          int64_t nanoseconds);

/* Requests on all routes but those of probes (server_route.unlimited). An error is a status of 400 and over. */
struct server_metrics_sums {
    uint64_t requests, errors; /* since the start */
    struct server_recent_sums recent;
};
/* now: monotonic nanoseconds. */
void server_metrics_sum(const struct server_metrics *metrics, int64_t now,
                        struct server_metrics_sums *sums);

/* What the system says of this process. */
struct server_process {
    double cpu_seconds;
    double resident_bytes, virtual_bytes;
    double uptime_seconds;
    double cpu_percent; /* of one core, in the last minute: see server_recent_cpu_percent */
};
void server_metrics_process(struct server_metrics *metrics, int64_t now,
                            struct server_process *process);

/* Writes all counters and distributions. */
void server_metrics_write(const struct server_metrics *metrics, FILE *out);
/* Writes what Prometheus' client libraries say of a process: CPU time, memory, descriptors. */
void server_metrics_write_process(const struct server_metrics *metrics, FILE *out);
/* The lines that a family of metrics begins with. type: "counter", "gauge" or "histogram". */
void server_metrics_family(FILE *out, const char *name, const char *type, const char *help);
/* A label's value, with what must be escaped in it. */
void server_metrics_label(FILE *out, const char *value);

#endif

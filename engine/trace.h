/* trace.h: where the time of a forward pass goes, operator by operator and thread by thread. */
#ifndef ENGINE_TRACE_H
#define ENGINE_TRACE_H

#include "engine/distil.h"

/* X(name, text) */
#define ENGINE_OPERATORS(X)                                                                        \
    X(EMBED, "embed")                                                                              \
    X(QKV, "query, key, value")                                                                    \
    X(ATTENTION, "attention")                                                                      \
    X(OUTPUT, "output")                                                                            \
    X(UP, "feed-forward up")                                                                       \
    X(DOWN, "feed-forward down")                                                                   \
    X(NORM, "add and normalise")                                                                   \
    X(PREPARE, "quantise or round")                                                                \
    X(POOL, "pool")                                                                                \
    X(HEAD, "head")                                                                                \
    X(WAIT, "wait for threads")

enum engine_operator {
#define ENGINE_OPERATOR_ENUM(name, text) ENGINE_OP_##name,
    ENGINE_OPERATORS(ENGINE_OPERATOR_ENUM)
#undef ENGINE_OPERATOR_ENUM
        ENGINE_OP_COUNT
};

/* What one thread did without a pause. */
struct engine_span {
    enum engine_operator op;
    int layer;         /* -1 outside the layers */
    double start, end; /* seconds of CLOCK_MONOTONIC */
    double operations; /* a multiply-add is two */
    double bytes;      /* read and written at least: weights and activations once each */
};

/* What one thread spent on one operator, summed over its spans. */
struct engine_total {
    double seconds, operations, bytes;
};

/* The passes recorded since it was made or cleared. Totals count every span; of the spans themselves the first `capacity` of
 * each thread are kept. */
struct engine_trace {
    int threads, capacity;
    int *counts;                 /* (threads) spans kept */
    long *dropped;               /* (threads) spans that did not fit */
    struct engine_span *spans;   /* (threads, capacity) */
    struct engine_total *totals; /* (threads, ENGINE_OP_COUNT) */
};

distil_status engine_trace_create(struct engine_trace **trace, int threads, int capacity,
                                  distil_error *error);
void engine_trace_free(struct engine_trace *trace);
void engine_trace_clear(struct engine_trace *trace);

/* Passes of the session are recorded in trace from now on; NULL ends it. The trace has as many threads as the session. */
void engine_session_trace(distil_session *session, struct engine_trace *trace);

const char *engine_operator_name(enum engine_operator op);

/* Seconds now; 0 where trace is NULL, so that a pass that is not recorded asks no clock. */
double engine_trace_now(const struct engine_trace *trace);
/* Records what `thread` did since start; nothing where trace is NULL. */
void engine_trace_add(struct engine_trace *trace, int thread, struct engine_span span);

#endif

#include "engine/trace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/session.h"

distil_status engine_trace_create(struct engine_trace **out, int threads, int capacity,
                                  distil_error *error)
{
    struct engine_trace *trace = calloc(1, sizeof *trace);
    *out = NULL;
    if (trace) {
        trace->threads = threads;
        trace->capacity = capacity;
        trace->counts = calloc((size_t)threads, sizeof *trace->counts);
        trace->dropped = calloc((size_t)threads, sizeof *trace->dropped);
        trace->spans = calloc((size_t)threads * (size_t)capacity, sizeof *trace->spans);
        trace->totals = calloc((size_t)threads * ENGINE_OP_COUNT, sizeof *trace->totals);
    }
    if (!trace || !trace->counts || !trace->dropped || !trace->spans || !trace->totals) {
        engine_trace_free(trace);
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a trace");
    }
    *out = trace;
    return DISTIL_OK;
}

void engine_trace_free(struct engine_trace *trace)
{
    if (!trace)
        return;
    free(trace->counts);
    free(trace->dropped);
    free(trace->spans);
    free(trace->totals);
    free(trace);
}

void engine_trace_clear(struct engine_trace *trace)
{
    memset(trace->counts, 0, (size_t)trace->threads * sizeof *trace->counts);
    memset(trace->dropped, 0, (size_t)trace->threads * sizeof *trace->dropped);
    memset(trace->totals, 0, (size_t)trace->threads * ENGINE_OP_COUNT * sizeof *trace->totals);
}

void engine_session_trace(distil_session *session, struct engine_trace *trace)
{
    session->trace = trace;
}

const char *engine_operator_name(enum engine_operator op)
{
    static const char *const names[] = {
#define OPERATOR_TEXT(name, text) text,
        ENGINE_OPERATORS(OPERATOR_TEXT)
#undef OPERATOR_TEXT
    };
    return names[op];
}

double engine_trace_now(const struct engine_trace *trace)
{
    struct timespec now;
    if (!trace)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void engine_trace_add(struct engine_trace *trace, int thread, struct engine_span span)
{
    if (!trace)
        return;
    span.end = engine_trace_now(trace);
    struct engine_total *total = &trace->totals[thread * ENGINE_OP_COUNT + span.op];
    total->seconds += span.end - span.start;
    total->operations += span.operations;
    total->bytes += span.bytes;
    if (trace->counts[thread] < trace->capacity)
        trace->spans[(long)thread * trace->capacity + trace->counts[thread]++] = span;
    else
        trace->dropped[thread]++;
}

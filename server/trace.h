/* trace.h: what ties a request to those that it belongs to: request ids, and the trace context of the
 * W3C, level 1. */
#ifndef SERVER_TRACE_H
#define SERVER_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SERVER_TRACE_ID_SIZE = 33, /* with the NUL, as the others */
    SERVER_SPAN_ID_SIZE = 17,
    SERVER_TRACE_PARENT_SIZE = 56
};

struct server_trace {
    char trace_id[SERVER_TRACE_ID_SIZE]; /* "" where the request belongs to no trace */
    char parent_id[SERVER_SPAN_ID_SIZE]; /* the caller's span */
    char span_id[SERVER_SPAN_ID_SIZE];   /* this request's */
    bool sampled;
};

/* Reads the header traceparent; false, with *trace empty, where it is malformed. Versions to come
 * are read as far as version 0 goes, as the specification asks. */
bool server_trace_parse(const char *value, struct server_trace *trace);
/* The header traceresponse: the caller's trace id with the span that answered. */
void server_trace_print(const struct server_trace *trace, char value[SERVER_TRACE_PARENT_SIZE]);

/* 16 hexadecimal digits, other ones for each number, and other ones for each seed. */
void server_trace_make_id(uint64_t seed, uint64_t number, char id[SERVER_SPAN_ID_SIZE]);

#endif

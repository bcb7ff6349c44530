/* trace.c: see trace.h. */
#include "server/trace.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* version "-" trace-id "-" parent-id "-" flags, all in lower-case hexadecimal digits */
enum { VERSION_AT = 0, TRACE_AT = 3, PARENT_AT = 36, FLAGS_AT = 53, LENGTH = 55, SAMPLED = 1 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether count digits stand there; *any says whether one of them is not 0. */
static bool all_hex(const char *text, int count, bool *any)
{
    int i;
    *any = false;
    for (i = 0; i < count; i++) {
        if (hex_digit(text[i]) < 0)
            return false;
        *any = *any || text[i] != '0';
    }
    return true;
}

bool server_trace_parse(const char *value, struct server_trace *trace)
{
    struct server_trace none = {.sampled = false};
    size_t length = strlen(value);
    bool any, version, trace_any, parent_any;
    *trace = none;
    if (length < LENGTH || value[TRACE_AT - 1] != '-' || value[PARENT_AT - 1] != '-' ||
        value[FLAGS_AT - 1] != '-')
        return false;
    if (!all_hex(value + VERSION_AT, 2, &version) || strncmp(value, "ff", 2) == 0 ||
        !all_hex(value + TRACE_AT, 32, &trace_any) || !trace_any ||
        !all_hex(value + PARENT_AT, 16, &parent_any) || !parent_any ||
        !all_hex(value + FLAGS_AT, 2, &any))
        return false;
    if (version ? length > LENGTH && value[LENGTH] != '-' : length != LENGTH)
        return false;
    memcpy(trace->trace_id, value + TRACE_AT, 32);
    memcpy(trace->parent_id, value + PARENT_AT, 16);
    trace->sampled = hex_digit(value[FLAGS_AT + 1]) & SAMPLED;
    return true;
}

void server_trace_print(const struct server_trace *trace, char value[SERVER_TRACE_PARENT_SIZE])
{
    snprintf(value, SERVER_TRACE_PARENT_SIZE, "00-%s-%s-%02x", trace->trace_id, trace->span_id,
             trace->sampled ? SAMPLED : 0U);
}

void server_trace_make_id(uint64_t seed, uint64_t number, char id[SERVER_SPAN_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t x = seed + number;
    int i;
    /* the finaliser of splitmix64: one to one, so that no two numbers give the same id */
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    x ^= x >> 31;
    for (i = 0; i < 16; i++)
        id[i] = digits[x >> (60 - 4 * i) & 15];
    id[16] = '\0';
}

/* json_input.h: JSON from clients.
 *
 * A text is first checked against RFC 8259 to the letter, with a message that says what stands at
 * which byte, then parsed by cJSON, which alone would let through malformed UTF-8, cut strings at
 * \u0000, and accept 01 or a byte-order mark. */
#ifndef SERVER_JSON_INPUT_H
#define SERVER_JSON_INPUT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weights/decimal.h"

enum {
    SERVER_JSON_DEPTH = 64,      /* arrays and objects within each other */
    SERVER_JSON_VALUES = 200000, /* of one text: bounds what the parsed tree takes to about 20 MB */
    SERVER_JSON_MESSAGE = 240
};

/* What is wrong with a request: one sentence, and the field at fault where there is one (static
 * storage). */
struct server_problem {
    const char *field;
    char message[SERVER_JSON_MESSAGE];
};

void server_problem_set(struct server_problem *problem, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether length bytes are one JSON text. Beyond the grammar it refuses: byte-order marks,
 * malformed UTF-8, surrogates without their pair, \u0000 (no text of ours can hold it), numbers of
 * over 300 characters, and depths and counts over the limits above. */
bool server_json_check(const char *data, size_t length, struct server_problem *problem);

/* The byte at which a key of a checked JSON text stands, counted from 0 in the order of the text. */
size_t server_json_key_place(const char *data, size_t length, size_t number);

/* Checks, parses, and refuses objects with the same key twice. NULL with *problem set; else to be
 * freed by cJSON_Delete. */
cJSON *server_json_parse(const char *data, size_t length, struct server_problem *problem);

/* "a string", "an array", ... */
const char *server_json_type(const cJSON *value);

enum { SERVER_JSON_NUMBER = WEIGHTS_DECIMAL };

/* What a message calls a number that was given: by as many digits as tell it from others, or "a number too large". */
const char *server_json_number(double value, char text[SERVER_JSON_NUMBER]);

/* Each reads a field of an object: true where the field is absent or null (leaving *value alone) or
 * of the type; false with *problem set otherwise. */
bool server_json_get_bool(const cJSON *object, const char *field, bool *value,
                          struct server_problem *problem);
bool server_json_get_string(const cJSON *object, const char *field, const char **value,
                            struct server_problem *problem);
/* A number from low to high; of an integer, without a fraction. */
bool server_json_get_number(const cJSON *object, const char *field, double low, double high,
                            double *value, struct server_problem *problem);
bool server_json_get_integer(const cJSON *object, const char *field, long low, long high,
                             long *value, struct server_problem *problem);

#endif

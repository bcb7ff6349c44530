/* json.h: reading JSON from files, strictly: valid UTF-8, no NUL, bounded nesting, no key twice in
 * an object, nothing after the value. */
#ifndef WEIGHTS_JSON_H
#define WEIGHTS_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "weights/distil_status.h"

/* `where` names the text in messages: a path, or a path and a field. *json is freed with
 * cJSON_Delete. */
distil_status weights_json_parse(cJSON **json, const char *where, const char *text, size_t length,
                                 distil_error *error);
/* Reads and parses a file that holds an object, or an array. DISTIL_NOT_FOUND where there is none. */
distil_status weights_json_read(cJSON **json, const char *path, distil_error *error);
distil_status weights_json_read_array(cJSON **json, const char *path, distil_error *error);

bool weights_utf8_valid(const char *text, size_t length);

/* Sets *duplicate to a string that stands twice among count strings (NULLs are passed over), or to
 * NULL. */
distil_status weights_find_duplicate(const char **duplicate, const char *const *strings,
                                     size_t count, const char *where, distil_error *error);

/* The fields of one object, with what messages need. */
struct weights_fields {
    const cJSON *object;
    const char *where;
    distil_error *error;
};

/* A field that is absent or null; NULL where it is. */
const cJSON *weights_field(const struct weights_fields *fields, const char *key);

/* Read a field into *out. One that is absent or null is an error when required, else leaves *out as
 * it was. A value of the wrong type or outside [low, high] is an error that says what was expected
 * and found. */
distil_status weights_get_int(const struct weights_fields *fields, const char *key, bool required,
                              int low, int high, int *out);
distil_status weights_get_double(const struct weights_fields *fields, const char *key,
                                 bool required, double low, double high, double *out);
distil_status weights_get_bool(const struct weights_fields *fields, const char *key, bool required,
                               bool *out);
/* *out points into the object. */
distil_status weights_get_string(const struct weights_fields *fields, const char *key,
                                 bool required, const char **out);

/* What a value is, for messages: `the string "x"`, `the number -3`, `nothing`. Returns buffer. */
enum { WEIGHTS_DESCRIBE = 96 };
const char *weights_describe(const cJSON *value, char buffer[WEIGHTS_DESCRIBE]);

#endif

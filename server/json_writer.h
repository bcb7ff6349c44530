/* json_writer.h: JSON text, written value by value into one growing buffer.
 *
 * Commas are placed by the writer. When memory runs out the writer keeps quiet and says so in
 * `failed`, so that a caller checks once, at the end. Zero-initialise; server_json_free, or take
 * the buffer with server_json_take. */
#ifndef SERVER_JSON_WRITER_H
#define SERVER_JSON_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_json {
    char *data;
    size_t length, capacity;
    bool comma; /* the next value or key follows another */
    bool failed;
};

void server_json_begin_object(struct server_json *json);
void server_json_end_object(struct server_json *json);
void server_json_begin_array(struct server_json *json);
void server_json_end_array(struct server_json *json);
void server_json_key(struct server_json *json, const char *key);
/* length bytes of UTF-8; malformed bytes are written as U+FFFD. */
void server_json_string_n(struct server_json *json, const char *text, size_t length);
void server_json_string(struct server_json *json, const char *text);
/* The shortest decimal that reads back as the same float; null for what JSON has no number for. */
void server_json_float(struct server_json *json, float value);
/* The same of a double. */
void server_json_double(struct server_json *json, double value);
/* With the given number of decimals, 0 to 9; null for what JSON has no number for. */
void server_json_fixed(struct server_json *json, double value, int decimals);
void server_json_integer(struct server_json *json, int64_t value);
void server_json_bool(struct server_json *json, bool value);
void server_json_null(struct server_json *json);
/* Bytes as they are, such as a newline after the last value. */
void server_json_raw(struct server_json *json, const char *text, size_t length);

/* "key": value in one call. */
void server_json_put_string(struct server_json *json, const char *key, const char *text);
void server_json_put_float(struct server_json *json, const char *key, float value);
void server_json_put_double(struct server_json *json, const char *key, double value);
void server_json_put_integer(struct server_json *json, const char *key, int64_t value);
void server_json_put_bool(struct server_json *json, const char *key, bool value);

/* Hands the buffer over, to be freed by free(); NULL when writing failed. The writer is empty
 * afterwards. */
char *server_json_take(struct server_json *json, size_t *length);
void server_json_free(struct server_json *json);

#endif

/* json_writer.c: see json_writer.h. */
#include "server/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/utf8.h"
#include "weights/decimal.h"

static bool room(struct server_json *json, size_t more)
{
    size_t capacity = json->capacity ? json->capacity : 256;
    char *data;
    if (json->failed)
        return false;
    if (more <= json->capacity - json->length)
        return true;
    if (more > SIZE_MAX / 4 || json->length > SIZE_MAX / 4) {
        json->failed = true;
        return false;
    }
    while (capacity - json->length < more)
        capacity *= 2;
    data = realloc(json->data, capacity);
    if (!data) {
        json->failed = true;
        return false;
    }
    json->data = data;
    json->capacity = capacity;
    return true;
}

static void put(struct server_json *json, const char *text, size_t length)
{
    if (!room(json, length))
        return;
    memcpy(json->data + json->length, text, length);
    json->length += length;
}

/* Writes what stands before a value or a key. */
static void separate(struct server_json *json)
{
    if (json->comma)
        put(json, ",", 1);
    json->comma = true;
}

void server_json_begin_object(struct server_json *json)
{
    separate(json);
    put(json, "{", 1);
    json->comma = false;
}

void server_json_end_object(struct server_json *json)
{
    put(json, "}", 1);
    json->comma = true;
}

void server_json_begin_array(struct server_json *json)
{
    separate(json);
    put(json, "[", 1);
    json->comma = false;
}

void server_json_end_array(struct server_json *json)
{
    put(json, "]", 1);
    json->comma = true;
}

void server_json_key(struct server_json *json, const char *key)
{
    server_json_string(json, key);
    put(json, ":", 1);
    json->comma = false;
}

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\';
}

static void put_escaped(struct server_json *json, unsigned char byte)
{
    static const char names[][2] = {{'"', '"'},  {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'},
                                    {'\t', 't'}, {'\b', 'b'},  {'\f', 'f'}};
    char escape[8];
    size_t i;
    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (names[i][0] == (char)byte) {
            escape[0] = '\\';
            escape[1] = names[i][1];
            put(json, escape, 2);
            return;
        }
    snprintf(escape, sizeof(escape), "\\u%04x", byte);
    put(json, escape, 6);
}

void server_json_string_n(struct server_json *json, const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t i = 0;
    separate(json);
    put(json, "\"", 1);
    while (i < length && !json->failed) {
        size_t start = i, sequence;
        while (i < length && is_plain(bytes[i]))
            i++;
        put(json, text + start, i - start);
        if (i == length)
            break;
        sequence = server_utf8_sequence(bytes + i, length - i);
        if (sequence > 1)
            put(json, text + i, sequence);
        else if (sequence == 1)
            put_escaped(json, bytes[i]);
        else
            put(json, "\xEF\xBF\xBD", 3);
        i += sequence ? sequence : 1;
    }
    put(json, "\"", 1);
}

void server_json_string(struct server_json *json, const char *text)
{
    server_json_string_n(json, text, strlen(text));
}

void server_json_float(struct server_json *json, float value)
{
    char text[WEIGHTS_DECIMAL];
    if (!isfinite(value)) {
        server_json_null(json);
        return;
    }
    separate(json);
    put(json, text, weights_decimal_float(value, text));
}

void server_json_double(struct server_json *json, double value)
{
    char text[WEIGHTS_DECIMAL];
    if (!isfinite(value)) {
        server_json_null(json);
        return;
    }
    separate(json);
    put(json, text, weights_decimal_double(value, text));
}

void server_json_fixed(struct server_json *json, double value, int decimals)
{
    char text[400];
    int length;
    if (!isfinite(value)) {
        server_json_null(json);
        return;
    }
    length = snprintf(text, sizeof(text), "%.*f", decimals, value);
    separate(json);
    put(json, text, (size_t)length);
}

void server_json_integer(struct server_json *json, int64_t value)
{
    char text[WEIGHTS_DECIMAL];
    size_t length = weights_decimal_integer(value, text);
    separate(json);
    put(json, text, length);
}

void server_json_bool(struct server_json *json, bool value)
{
    separate(json);
    put(json, value ? "true" : "false", value ? 4 : 5);
}

void server_json_null(struct server_json *json)
{
    separate(json);
    put(json, "null", 4);
}

void server_json_raw(struct server_json *json, const char *text, size_t length)
{
    put(json, text, length);
}

void server_json_put_string(struct server_json *json, const char *key, const char *text)
{
    server_json_key(json, key);
    server_json_string(json, text);
}

void server_json_put_float(struct server_json *json, const char *key, float value)
{
    server_json_key(json, key);
    server_json_float(json, value);
}

void server_json_put_double(struct server_json *json, const char *key, double value)
{
    server_json_key(json, key);
    server_json_double(json, value);
}

void server_json_put_integer(struct server_json *json, const char *key, int64_t value)
{
    server_json_key(json, key);
    server_json_integer(json, value);
}

void server_json_put_bool(struct server_json *json, const char *key, bool value)
{
    server_json_key(json, key);
    server_json_bool(json, value);
}

char *server_json_take(struct server_json *json, size_t *length)
{
    struct server_json empty = {0};
    char *data = json->data;
    *length = json->length;
    if (json->failed) {
        server_json_free(json);
        data = NULL;
    }
    *json = empty;
    return data;
}

void server_json_free(struct server_json *json)
{
    struct server_json empty = {0};
    if (!json)
        return;
    free(json->data);
    *json = empty;
}

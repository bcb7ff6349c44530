#include "weights/json.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/file.h"

enum { JSON_DEPTH = 32 };                   /* deeper than any file read here by a wide margin */
enum { JSON_VALUES = 4000000 };             /* each takes cJSON some hundred bytes */
static const size_t JSON_FILE = 100u << 20; /* bytes; a multilingual tokenizer.json has 10 MB */

/* Length of the well-formed UTF-8 sequence at s, 0 where there is none. */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    size_t length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (left < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0; /* overlong, a surrogate, or past U+10FFFF */
    return length;
}

bool weights_utf8_valid(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    while (i < length) {
        uint64_t word;
        if (length - i >= sizeof word) {
            memcpy(&word, s + i, sizeof word);
            if (!(word & UINT64_C(0x8080808080808080))) {
                i += sizeof word;
                continue;
            }
        }
        size_t step = utf8_sequence(s + i, length - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

static uint64_t hash_string(const char *string)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *string; string++)
        hash = (hash ^ (unsigned char)*string) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

distil_status weights_find_duplicate(const char **duplicate, const char *const *strings,
                                     size_t count, const char *where, distil_error *error)
{
    *duplicate = NULL;
    if (count > UINT32_MAX / 4)
        return distil_fail(error, DISTIL_FORMAT, "%s: too many entries: %zu", where, count);
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table); /* index + 1 of the string in a slot */
    if (!table)
        return weights_no_memory(where, error);
    for (size_t i = 0; i < count && !*duplicate; i++) {
        if (!strings[i])
            continue;
        size_t slot = hash_string(strings[i]) & (slots - 1);
        while (table[slot] && strcmp(strings[table[slot] - 1], strings[i]) != 0)
            slot = (slot + 1) & (slots - 1);
        if (table[slot])
            *duplicate = strings[i];
        table[slot] = (uint32_t)i + 1;
    }
    free(table);
    return DISTIL_OK;
}

/* What cJSON lets pass: deep nesting, control characters in strings, and \u0000, at which it would
 * cut a string. */
static distil_status check_text(const char *where, const char *text, size_t length,
                                distil_error *error)
{
    int depth = 0, values = 1;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (in_string && c < 0x20)
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: a control character in a string, at byte %zu", where, i);
        if (in_string && c == '\\') {
            if (length - i >= 6 && !memcmp(text + i, "\\u0000", 6))
                return distil_fail(error, DISTIL_FORMAT,
                                   "%s: a NUL character in a string, at byte %zu", where, i);
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > JSON_DEPTH)
                return distil_fail(
                    error, DISTIL_FORMAT,
                    "%s: expected at most %d levels of nesting, found more at byte %zu", where,
                    JSON_DEPTH, i);
        } else if (!in_string && c == ',') {
            if (++values > JSON_VALUES)
                return distil_fail(error, DISTIL_FORMAT,
                                   "%s: expected at most %d values, found more", where,
                                   JSON_VALUES);
        } else if (!in_string && (c == '}' || c == ']')) {
            depth--;
        }
    }
    if (!weights_utf8_valid(text, length))
        return distil_fail(error, DISTIL_FORMAT, "%s: not valid UTF-8", where);
    return DISTIL_OK;
}

/* Nesting is bounded by check_text, so recursion is. */
static distil_status check_keys(const cJSON *value, const char *where, distil_error *error)
{
    distil_status status = DISTIL_OK;
    if (cJSON_IsObject(value)) {
        size_t count = 0;
        for (const cJSON *item = value->child; item; item = item->next)
            count++;
        const char **keys = malloc((count + 1) * sizeof *keys);
        if (!keys)
            return weights_no_memory(where, error);
        size_t i = 0;
        for (const cJSON *item = value->child; item; item = item->next)
            keys[i++] = item->string;
        const char *duplicate;
        status = weights_find_duplicate(&duplicate, keys, count, where, error);
        free(keys);
        if (!status && duplicate)
            status =
                distil_fail(error, DISTIL_FORMAT, "%s: \"%.200s\" appears twice", where, duplicate);
    }
    for (const cJSON *item = value->child; item && !status; item = item->next)
        if (item->child)
            status = check_keys(item, where, error);
    return status;
}

distil_status weights_json_parse(cJSON **json, const char *where, const char *text, size_t length,
                                 distil_error *error)
{
    *json = NULL;
    distil_status status = check_text(where, text, length, error);
    if (status)
        return status;
    const char *end = NULL;
    cJSON *value = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    if (!value)
        return distil_fail(error, DISTIL_FORMAT, "%s: malformed JSON near byte %zu", where,
                           end ? (size_t)(end - text) : (size_t)0);
    while (end < text + length && (*end == ' ' || *end == '\n' || *end == '\r' || *end == '\t'))
        end++;
    if (end != text + length)
        status = distil_fail(error, DISTIL_FORMAT, "%s: JSON goes on after its end, at byte %zu",
                             where, (size_t)(end - text));
    else
        status = check_keys(value, where, error);
    if (status) {
        cJSON_Delete(value);
        return status;
    }
    *json = value;
    return DISTIL_OK;
}

static distil_status read_json(cJSON **json, const char *path, bool array, distil_error *error)
{
    char *text = NULL;
    size_t length = 0;
    *json = NULL;
    distil_status status = weights_read_file(&text, &length, path, JSON_FILE, error);
    if (status)
        return status;
    status = weights_json_parse(json, path, text, length, error);
    free(text);
    if (!status && !(array ? cJSON_IsArray(*json) : cJSON_IsObject(*json))) {
        char found[WEIGHTS_DESCRIBE];
        status = distil_fail(error, DISTIL_FORMAT, "%s: expected an %s, found %s", path,
                             array ? "array" : "object", weights_describe(*json, found));
        cJSON_Delete(*json);
        *json = NULL;
    }
    return status;
}

distil_status weights_json_read(cJSON **json, const char *path, distil_error *error)
{
    return read_json(json, path, false, error);
}

distil_status weights_json_read_array(cJSON **json, const char *path, distil_error *error)
{
    return read_json(json, path, true, error);
}

const char *weights_describe(const cJSON *value, char buffer[WEIGHTS_DESCRIBE])
{
    if (!value)
        snprintf(buffer, WEIGHTS_DESCRIBE, "nothing");
    else if (cJSON_IsString(value))
        snprintf(buffer, WEIGHTS_DESCRIBE, "the string \"%.60s\"", value->valuestring);
    else if (cJSON_IsNumber(value))
        snprintf(buffer, WEIGHTS_DESCRIBE, "the number %.15g", value->valuedouble);
    else
        snprintf(buffer, WEIGHTS_DESCRIBE, "%s",
                 cJSON_IsObject(value)  ? "an object"
                 : cJSON_IsArray(value) ? "an array"
                 : cJSON_IsTrue(value)  ? "true"
                 : cJSON_IsFalse(value) ? "false"
                                        : "null");
    return buffer;
}

const cJSON *weights_field(const struct weights_fields *fields, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(fields->object, key);
    return value && !cJSON_IsNull(value) ? value : NULL;
}

static distil_status unexpected(const struct weights_fields *fields, const char *key,
                                const char *expected, const cJSON *value)
{
    char found[WEIGHTS_DESCRIBE];
    return distil_fail(fields->error, DISTIL_FORMAT, "%s: %s: expected %s, found %s", fields->where,
                       key, expected, weights_describe(value, found));
}

distil_status weights_get_int(const struct weights_fields *fields, const char *key, bool required,
                              int low, int high, int *out)
{
    const cJSON *value = weights_field(fields, key);
    if (!value && !required)
        return DISTIL_OK;
    double number = cJSON_IsNumber(value) ? value->valuedouble : NAN;
    if (!(number >= low && number <= high) || number != floor(number)) {
        char expected[64];
        snprintf(expected, sizeof expected, "an integer from %d to %d", low, high);
        return unexpected(fields, key, expected, value);
    }
    *out = (int)number;
    return DISTIL_OK;
}

distil_status weights_get_double(const struct weights_fields *fields, const char *key,
                                 bool required, double low, double high, double *out)
{
    const cJSON *value = weights_field(fields, key);
    if (!value && !required)
        return DISTIL_OK;
    double number = cJSON_IsNumber(value) ? value->valuedouble : NAN;
    if (!(number >= low && number <= high)) {
        char expected[64];
        snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
        return unexpected(fields, key, expected, value);
    }
    *out = number;
    return DISTIL_OK;
}

distil_status weights_get_bool(const struct weights_fields *fields, const char *key, bool required,
                               bool *out)
{
    const cJSON *value = weights_field(fields, key);
    if (!value && !required)
        return DISTIL_OK;
    if (!cJSON_IsBool(value))
        return unexpected(fields, key, "true or false", value);
    *out = cJSON_IsTrue(value);
    return DISTIL_OK;
}

distil_status weights_get_string(const struct weights_fields *fields, const char *key,
                                 bool required, const char **out)
{
    const cJSON *value = weights_field(fields, key);
    if (!value && !required)
        return DISTIL_OK;
    if (!cJSON_IsString(value))
        return unexpected(fields, key, "a string", value);
    *out = value->valuestring;
    return DISTIL_OK;
}

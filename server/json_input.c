/* json_input.c: see json_input.h. */
#include "server/json_input.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_KEYS = 16 };

void server_problem_set(struct server_problem *problem, const char *field, const char *format, ...)
{
    va_list arguments;
    problem->field = field;
    va_start(arguments, format);
    vsnprintf(problem->message, sizeof(problem->message), format, arguments);
    va_end(arguments);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The member of an object whose key another one before it has too; NULL where there is none. Sets
 * *failed when memory runs out. */
static const cJSON *repeated_member(const cJSON *object, bool *failed)
{
    const char *few[FEW_KEYS], **names = few, *found = NULL;
    const cJSON *child;
    size_t count = 0, i = 0;
    for (child = object->child; child; child = child->next)
        count++;
    if (count > FEW_KEYS && !(names = malloc(count * sizeof(*names)))) {
        *failed = true;
        return NULL;
    }
    for (child = object->child; child; child = child->next)
        names[i++] = child->string;
    qsort(names, count, sizeof(*names), compare_names);
    for (i = 1; i < count && !found; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            found = names[i];
    for (child = object->child, i = 0; found && child; child = child->next)
        if (strcmp(child->string, found) == 0 && i++ == 1)
            break;
    if (names != few)
        free(names);
    return found ? child : NULL;
}

/* Looks through all objects for a member with a repeated key; the depth is bounded by the check
 * before. */
static const cJSON *find_repeated(const cJSON *value, bool *failed)
{
    const cJSON *found = cJSON_IsObject(value) ? repeated_member(value, failed) : NULL;
    const cJSON *child;
    for (child = value->child; child && !found && !*failed; child = child->next)
        if (child->child)
            found = find_repeated(child, failed);
    return found;
}

/* Counts the keys that stand before a member in the text; true once it is met. */
static bool count_keys(const cJSON *value, const cJSON *member, size_t *count)
{
    const cJSON *child;
    for (child = value->child; child; child = child->next) {
        if (child == member)
            return true;
        if (child->string)
            ++*count;
        if (count_keys(child, member, count))
            return true;
    }
    return false;
}

static bool keys_are_single(const cJSON *root, const char *data, size_t length,
                            struct server_problem *problem)
{
    bool failed = false;
    const cJSON *member = find_repeated(root, &failed);
    size_t number = 0;
    if (failed) {
        server_problem_set(problem, NULL, "out of memory");
    } else if (member) {
        count_keys(root, member, &number);
        server_problem_set(problem, NULL,
                           "invalid JSON at byte %zu: the key \"%.60s\" appears twice",
                           server_json_key_place(data, length, number), member->string);
    }
    return !failed && !member;
}

cJSON *server_json_parse(const char *data, size_t length, struct server_problem *problem)
{
    cJSON *root;
    if (!server_json_check(data, length, problem))
        return NULL;
    root = cJSON_ParseWithLengthOpts(data, length, NULL, 0);
    if (!root) {
        server_problem_set(problem, NULL, "out of memory while parsing JSON");
        return NULL;
    }
    if (!keys_are_single(root, data, length, problem)) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

const char *server_json_type(const cJSON *value)
{
    if (cJSON_IsString(value))
        return "a string";
    if (cJSON_IsNumber(value))
        return "a number";
    if (cJSON_IsBool(value))
        return "a boolean";
    if (cJSON_IsArray(value))
        return "an array";
    if (cJSON_IsObject(value))
        return "an object";
    if (cJSON_IsNull(value))
        return "null";
    return "nothing";
}

const char *server_json_number(double value, char text[SERVER_JSON_NUMBER])
{
    if (isinf(value))
        return value > 0 ? "a number too large" : "a number too far below 0";
    weights_decimal_double(value, text);
    return text;
}

/* The field's value; NULL where it is absent or null. */
static const cJSON *given(const cJSON *object, const char *field)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, field);
    return cJSON_IsNull(value) ? NULL : value;
}

bool server_json_get_bool(const cJSON *object, const char *field, bool *value,
                          struct server_problem *problem)
{
    const cJSON *found = given(object, field);
    if (found && !cJSON_IsBool(found)) {
        server_problem_set(problem, field, "`%s` must be a boolean, not %s", field,
                           server_json_type(found));
        return false;
    }
    if (found)
        *value = cJSON_IsTrue(found);
    return true;
}

bool server_json_get_string(const cJSON *object, const char *field, const char **value,
                            struct server_problem *problem)
{
    const cJSON *found = given(object, field);
    if (found && !cJSON_IsString(found)) {
        server_problem_set(problem, field, "`%s` must be a string, not %s", field,
                           server_json_type(found));
        return false;
    }
    if (found)
        *value = found->valuestring;
    return true;
}

bool server_json_get_number(const cJSON *object, const char *field, double low, double high,
                            double *value, struct server_problem *problem)
{
    const cJSON *found = given(object, field);
    char text[SERVER_JSON_NUMBER];
    if (found && !cJSON_IsNumber(found)) {
        server_problem_set(problem, field, "`%s` must be a number, not %s", field,
                           server_json_type(found));
        return false;
    }
    if (found && !(found->valuedouble >= low && found->valuedouble <= high)) {
        server_problem_set(problem, field, "`%s` must be a number from %g to %g, not %s", field,
                           low, high, server_json_number(found->valuedouble, text));
        return false;
    }
    if (found)
        *value = found->valuedouble;
    return true;
}

bool server_json_get_integer(const cJSON *object, const char *field, long low, long high,
                             long *value, struct server_problem *problem)
{
    const cJSON *found = given(object, field);
    char text[SERVER_JSON_NUMBER];
    if (found && !cJSON_IsNumber(found)) {
        server_problem_set(problem, field, "`%s` must be a whole number, not %s", field,
                           server_json_type(found));
        return false;
    }
    if (found && !(found->valuedouble >= (double)low && found->valuedouble <= (double)high &&
                   found->valuedouble == floor(found->valuedouble))) {
        server_problem_set(problem, field, "`%s` must be a whole number from %ld to %ld, not %s",
                           field, low, high, server_json_number(found->valuedouble, text));
        return false;
    }
    if (found)
        *value = (long)found->valuedouble;
    return true;
}

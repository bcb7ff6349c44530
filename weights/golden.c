#include "weights/golden.h"

#include <math.h>
#include <string.h>

#include "weights/file.h"
#include "weights/json.h"
#include "weights/private.h"

enum { MOST_TEXTS = 64, MOST_BYTES = 10000, MOST_VALUES = 1 << 20 };

const char *weights_golden_key(enum weights_task task)
{
    return task == WEIGHTS_TASK_SEQUENCE_CLASSIFICATION ? "distild.golden"
                                                        : "distild.golden_outputs";
}

static const char *values_key(enum weights_task task)
{
    return task == WEIGHTS_TASK_SEQUENCE_CLASSIFICATION ? "logits" : "outputs";
}

/* With four decimals; an embedding's values are small and have six. Written as a whole number, so that no locale's decimal
 * point comes in. */
static void add_value(struct weights_text *text, float value, enum weights_task task)
{
    bool embedding = task == WEIGHTS_TASK_NONE;
    long long one = embedding ? 1000000 : 10000;
    long long scaled = llrint((double)one * (double)value), size = scaled < 0 ? -scaled : scaled;
    weights_text_format(text, "%s%lld.%0*lld", scaled < 0 ? "-" : "", size / one, embedding ? 6 : 4,
                        size % one);
}

void weights_write_golden(struct weights_text *text, const struct weights_golden *golden,
                          enum weights_task task)
{
    const float *value = golden->values;
    weights_text_format(text, "{\"texts\":[");
    for (int i = 0; i < golden->count; i++) {
        weights_text_add(text, ",", i > 0);
        weights_text_json(text, golden->texts[i]);
    }
    weights_text_format(text, "],\"%s\":[", values_key(task));
    for (int i = 0; i < golden->count; i++) {
        weights_text_format(text, i ? ",[" : "[");
        for (int k = 0; k < golden->widths[i]; k++) {
            weights_text_add(text, ",", k > 0);
            add_value(text, *value++, task);
        }
        weights_text_add(text, "]", 1);
    }
    weights_text_format(text, "]}");
}

/* How many values a text may have; of an answerer, two for each of its tokens. */
static bool width_fits(const struct weights_config *config, int width)
{
    switch (config->task) {
    case WEIGHTS_TASK_NONE:
        return width == config->hidden;
    case WEIGHTS_TASK_SEQUENCE_CLASSIFICATION:
        return width == config->label_count;
    case WEIGHTS_TASK_QUESTION_ANSWERING:
    case WEIGHTS_TASK_TOKEN_CLASSIFICATION:
        break;
    }
    return width > 0 && width % config->label_count == 0 &&
           width / config->label_count <= config->window;
}

/* One text's values, appended to *value. */
static distil_status read_values(const struct weights_config *config, const cJSON *list,
                                 float **value, const char *where, distil_error *error)
{
    const char *key = values_key(config->task);
    if (!cJSON_IsArray(list) || !width_fits(config, cJSON_GetArraySize(list)))
        return distil_fail(
            error, DISTIL_FORMAT,
            config->task == WEIGHTS_TASK_QUESTION_ANSWERING
                ? "%s: %s: expected arrays of %d numbers for each token"
                : "%s: %s: expected arrays of %d numbers",
            where, key, config->task == WEIGHTS_TASK_NONE ? config->hidden : config->label_count);
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) <= 1e30))
            return distil_fail(error, DISTIL_FORMAT, "%s: %s: expected finite numbers", where, key);
        *(*value)++ = (float)item->valuedouble;
    }
    return DISTIL_OK;
}

/* The values of all texts together, whatever they are. */
static size_t count_values(const cJSON *lists)
{
    size_t count = 0;
    for (const cJSON *list = lists->child; list; list = list->next)
        count += (size_t)cJSON_GetArraySize(list);
    return count;
}

distil_status weights_read_golden(struct weights_model *model, const cJSON *object,
                                  const char *where, distil_error *error)
{
    const struct weights_fields fields = {.object = object, .where = where, .error = error};
    const struct weights_config *config = &model->config;
    struct weights_arena *arena = &model->private_->arena;
    const char *key = values_key(config->task);
    const cJSON *texts = weights_field(&fields, "texts"), *lists = weights_field(&fields, key);
    int count = cJSON_GetArraySize(texts);
    if (!cJSON_IsArray(texts) || count < 1 || count > MOST_TEXTS || !cJSON_IsArray(lists) ||
        cJSON_GetArraySize(lists) != count || count_values(lists) > MOST_VALUES)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected `texts`, an array of 1 to %d strings, and `%s`, an "
                           "array of as many arrays",
                           where, MOST_TEXTS, key);
    char **copies = weights_arena_alloc(arena, (size_t)count, sizeof(char *));
    int *widths = weights_arena_alloc(arena, (size_t)count, sizeof *widths);
    float *values = weights_arena_alloc(arena, count_values(lists), sizeof *values);
    if (!copies || !widths || !values)
        return weights_no_memory(where, error);
    float *value = values;
    const cJSON *list = lists->child, *item = texts->child;
    for (int i = 0; i < count; i++, list = list->next, item = item->next) {
        if (!cJSON_IsString(item) || strnlen(item->valuestring, MOST_BYTES) == MOST_BYTES)
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: texts: expected strings of under %d bytes", where, MOST_BYTES);
        copies[i] = weights_arena_copy(arena, item->valuestring);
        if (!copies[i])
            return weights_no_memory(where, error);
        distil_status status = read_values(config, list, &value, where, error);
        if (status)
            return status;
        widths[i] = cJSON_GetArraySize(list);
    }
    model->golden = (struct weights_golden){
        .count = count, .texts = (const char *const *)copies, .widths = widths, .values = values};
    return DISTIL_OK;
}

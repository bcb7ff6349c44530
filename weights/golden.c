#include "weights/golden.h"

#include <math.h>
#include <string.h>

#include "weights/file.h"
#include "weights/json.h"
#include "weights/private.h"

enum { MOST_TEXTS = 64, MOST_BYTES = 10000 };

void weights_write_golden(struct weights_text *text, const struct weights_golden *golden,
                          int labels)
{
    weights_text_format(text, "{\"texts\":[");
    for (int i = 0; i < golden->count; i++) {
        weights_text_add(text, ",", i > 0);
        weights_text_json(text, golden->texts[i]);
    }
    weights_text_format(text, "],\"logits\":[");
    for (int i = 0; i < golden->count; i++) {
        for (int k = 0; k < labels; k++) {
            /* in ten-thousandths, so that no locale's decimal point comes in */
            long long value = llrint(1e4 * (double)golden->logits[(long)i * labels + k]);
            long long size = value < 0 ? -value : value;
            weights_text_format(text, "%s%s%lld.%04lld",
                                k   ? ","
                                : i ? ",["
                                    : "[",
                                value < 0 ? "-" : "", size / 10000, size % 10000);
        }
        weights_text_add(text, "]", 1);
    }
    weights_text_format(text, "]}");
}

static distil_status read_logits(const struct weights_model *model, const cJSON *list,
                                 float *logits, const char *where, distil_error *error)
{
    int labels = model->config.label_count, i = 0;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != labels)
        return distil_fail(error, DISTIL_FORMAT, "%s: logits: expected arrays of %d numbers", where,
                           labels);
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) <= 1e30))
            return distil_fail(error, DISTIL_FORMAT, "%s: logits: expected finite numbers", where);
        logits[i++] = (float)item->valuedouble;
    }
    return DISTIL_OK;
}

distil_status weights_read_golden(struct weights_model *model, const cJSON *object,
                                  const char *where, distil_error *error)
{
    const struct weights_fields fields = {.object = object, .where = where, .error = error};
    struct weights_arena *arena = &model->private_->arena;
    const cJSON *texts = weights_field(&fields, "texts"),
                *logits = weights_field(&fields, "logits");
    int count = cJSON_GetArraySize(texts), labels = model->config.label_count;
    if (!cJSON_IsArray(texts) || count < 1 || count > MOST_TEXTS || !cJSON_IsArray(logits) ||
        cJSON_GetArraySize(logits) != count)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected `texts`, an array of 1 to %d strings, and `logits`, an "
                           "array of as many arrays",
                           where, MOST_TEXTS);
    char **copies = weights_arena_alloc(arena, (size_t)count, sizeof(char *));
    float *values = weights_arena_alloc(arena, (size_t)count * (size_t)labels, sizeof *values);
    if (!copies || !values)
        return weights_no_memory(where, error);
    const cJSON *row = logits->child, *item = texts->child;
    for (int i = 0; i < count; i++, row = row->next, item = item->next) {
        if (!cJSON_IsString(item) || strnlen(item->valuestring, MOST_BYTES) == MOST_BYTES)
            return distil_fail(error, DISTIL_FORMAT,
                               "%s: texts: expected strings of under %d bytes", where, MOST_BYTES);
        copies[i] = weights_arena_copy(arena, item->valuestring);
        if (!copies[i])
            return weights_no_memory(where, error);
        distil_status status = read_logits(model, row, values + (long)i * labels, where, error);
        if (status)
            return status;
    }
    model->golden = (struct weights_golden){
        .count = count, .texts = (const char *const *)copies, .logits = values};
    return DISTIL_OK;
}

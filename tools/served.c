/* served.c: see served.h. */
#include "tools/served.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/weights.h"

/* How long the name before a '=' is; 0 where there is none, as in a path that holds a '='. */
static size_t name_length(const char *item, size_t length)
{
    size_t n = 0;
    while (n < length && (isalnum((unsigned char)item[n]) || strchr("._-", item[n])))
        n++;
    return n < length && item[n] == '=' ? n : 0;
}

distil_status tool_served_read(const struct tool_list *list, const distil_options *engine,
                               struct tool_served *served, distil_error *error)
{
    served->count = list->count;
    for (int i = 0; i < list->count; i++) {
        const char *item = list->items[i];
        size_t length = list->lengths[i], name = name_length(item, length);
        size_t start = name > 0 ? name + 1 : 0;
        if (name >= TOOL_SERVED_NAME || length - start >= TOOL_SERVED_PATH || length == start)
            return distil_fail(error, DISTIL_INVALID,
                               "--model: '%.*s' is not a PATH or a NAME=PATH, with a name of at "
                               "most %d bytes",
                               length < 60 ? (int)length : 60, item, TOOL_SERVED_NAME - 1);
        snprintf(served->names[i], TOOL_SERVED_NAME, "%.*s", (int)name, item);
        snprintf(served->paths[i], TOOL_SERVED_PATH, "%.*s", (int)(length - start), item + start);
        served->each[i] = (struct server_model_options){.name = name > 0 ? served->names[i] : NULL,
                                                        .path = served->paths[i],
                                                        .engine = *engine};
    }
    return DISTIL_OK;
}

/* Whether a model of the command line has the task. One that cannot be opened has none: serving will say why. */
static bool has_task(const struct tool_served *served, int count, enum weights_task task)
{
    bool found = false;
    for (int i = 0; i < count && !found; i++) {
        struct weights_model *weights;
        distil_error error;
        if (weights_open(&weights, served->each[i].path, &error))
            continue;
        found = weights->config.task == task;
        weights_free(weights);
    }
    return found;
}

distil_status tool_served_add_bundled(const distil_options *engine, struct tool_served *served,
                                      distil_error *error)
{
    static const struct {
        distil_task task;
        enum weights_task stored;
    } bundled[] = {{DISTIL_TASK_CLASSIFY, WEIGHTS_TASK_SEQUENCE_CLASSIFICATION},
                   {DISTIL_TASK_NONE, WEIGHTS_TASK_NONE},
                   {DISTIL_TASK_ANSWER, WEIGHTS_TASK_QUESTION_ANSWERING}};
    int given = served->count;
    for (size_t i = 0; i < sizeof bundled / sizeof *bundled; i++) {
        char *path;
        int at = served->count;
        if (has_task(served, given, bundled[i].stored))
            continue;
        distil_status status = distil_bundled(bundled[i].task, &path, error);
        if (status)
            return status;
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        snprintf(served->paths[at], TOOL_SERVED_PATH, "%s", path);
        snprintf(served->names[at], TOOL_SERVED_NAME, "%.*s", (int)strcspn(name, "."), name);
        free(path);
        served->each[served->count++] = (struct server_model_options){
            .name = served->names[at], .path = served->paths[at], .engine = *engine};
    }
    return DISTIL_OK;
}

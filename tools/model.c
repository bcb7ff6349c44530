#include "tools/model.h"

#include <stdio.h>
#include <stdlib.h>

distil_status tool_open_model(const struct tool_model_settings *settings, distil_model **model,
                              distil_error *error)
{
    distil_options options = {.precision = settings->precision, .cpu = settings->cpu};
    return distil_model_open(settings->path, &options, model, error);
}

distil_status tool_open_task(const char *path, distil_task task, const distil_options *options,
                             distil_model **model, distil_error *error)
{
    char *bundled = NULL;
    distil_status status = path ? DISTIL_OK : distil_bundled(task, &bundled, error);
    *model = NULL;
    if (!status)
        status = distil_model_open(path ? path : bundled, options, model, error);
    free(bundled);
    return status;
}

distil_status tool_open_classifier(const struct tool_model_settings *settings, distil_model **model,
                                   distil_session **session, distil_error *error)
{
    *session = NULL;
    *model = NULL;
    distil_status status = tool_open_model(settings, model, error);
    if (status)
        return status;
    const distil_info *info = distil_model_info(*model);
    if (info->task != DISTIL_TASK_CLASSIFY)
        status =
            distil_fail(error, DISTIL_TASK,
                        "%s: the model has %s, not one that classifies whole texts", info->path,
                        info->task == DISTIL_TASK_NONE     ? "no head"
                        : info->task == DISTIL_TASK_TOKENS ? "a token classification head"
                                                           : "a question answering head");
    if (!status)
        status = distil_session_create(*model, (int)settings->threads, session, error);
    if (status) {
        distil_model_free(*model);
        *model = NULL;
    }
    return status;
}

int tool_likeliest(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

int tool_failed(const char *command, const distil_error *error)
{
    fprintf(stderr, "distild %s: %s\n", command, error->message);
    return TOOL_FAILURE;
}

int tool_misused(const char *command, const char *message)
{
    fprintf(stderr, "distild %s: %s\nTry 'distild %s --help'.\n", command, message, command);
    return TOOL_USAGE;
}

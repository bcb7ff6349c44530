/* drift_source.c: see drift_source.h. */
#include "server/drift_source.h"

#include <stdio.h>
#include <string.h>

#include "server/drift_range.h"
#include "server/prediction_db.h"

enum { LONGEST_NAME = 200 };

bool server_drift_state_path(const char *state_dir, const char *name, char path[SERVER_DRIFT_PATH])
{
    return snprintf(path, SERVER_DRIFT_PATH, "%s/%s", state_dir, name) < SERVER_DRIFT_PATH;
}

static distil_status no_state(const char *state_dir, distil_error *error)
{
    if (*state_dir)
        return distil_fail(error, DISTIL_INVALID, "%.200s: the name is too long", state_dir);
    return distil_fail(error, DISTIL_INVALID,
                       "neither --state-dir nor XDG_STATE_HOME nor HOME names the directory of the "
                       "log");
}

distil_status server_drift_read(const char *what, const char *state_dir, int64_t now,
                                struct server_drift_query *query, struct server_drift_rows *rows,
                                distil_error *error)
{
    char path[SERVER_DRIFT_PATH];
    distil_status status;
    query->range = (struct server_drift_range){INT64_MIN, INT64_MAX};
    if (!server_drift_is_range(what)) {
        status = server_drift_read_file(what, query, rows, error);
        if (status == DISTIL_NOT_FOUND && !strchr(what, '/'))
            return distil_fail(error, status,
                               "'%.80s' is neither a file nor a range of time such as 7d, "
                               "2026-01-31 or 2026-01-01..2026-01-31",
                               what);
        return status;
    }
    status = server_drift_parse_range(what, now, &query->range, error);
    if (status)
        return status;
    if (!*state_dir || !server_drift_state_path(state_dir, SERVER_PREDICTION_FILE, path))
        return no_state(state_dir, error);
    return server_drift_read_log(path, query, rows, error);
}

distil_status server_drift_reference_path(const char *state_dir, const char *model,
                                          char path[SERVER_DRIFT_PATH], distil_error *error)
{
    char name[SERVER_DRIFT_PATH];
    if (model && (strchr(model, '/') || strlen(model) > LONGEST_NAME))
        return distil_fail(error, DISTIL_INVALID, "%.100s: a model has no such name", model);
    snprintf(name, sizeof(name), "drift-reference%s%s.jsonl", model ? "." : "", model ? model : "");
    if (!*state_dir || !server_drift_state_path(state_dir, name, path))
        return no_state(state_dir, error);
    return DISTIL_OK;
}

distil_status server_drift_read_reference(const char *state_dir,
                                          const struct server_drift_query *query,
                                          struct server_drift_rows *rows, distil_error *error)
{
    char path[SERVER_DRIFT_PATH];
    const char *model = query->model;
    distil_status status = server_drift_reference_path(state_dir, model, path, error);
    if (!status)
        status = server_drift_read_file(path, query, rows, error);
    if (status == DISTIL_NOT_FOUND && model) {
        status = server_drift_reference_path(state_dir, NULL, path, error);
        if (!status)
            status = server_drift_read_file(path, query, rows, error);
    }
    if (status == DISTIL_NOT_FOUND || (!status && model && rows->count == 0))
        return distil_fail(
            error, DISTIL_NOT_FOUND,
            "there is no reference to compare %s%s with: set one with 'distild drift "
            "reference 7d%s%s', and --state-dir as the server has it, which keeps the predictions "
            "of the last 7 days as one",
            model ? "the predictions of model " : "predictions", model ? model : "",
            model ? " --model-name " : "", model ? model : "");
    return status;
}

/* Characters of a model's name, without its digest. */
static int name_length(const char *model)
{
    const char *space = strchr(model, ' ');
    return space ? (int)(space - model) : (int)strlen(model);
}

distil_status server_drift_check_models(const char *what, const struct server_drift_rows *rows,
                                        distil_error *error)
{
    const char *first = rows->models.count > 0 ? rows->models.names[0] : "";
    int i;
    for (i = 1; i < rows->models.count; i++) {
        const char *other = rows->models.names[i];
        if (name_length(first) != name_length(other) ||
            strncmp(first, other, (size_t)name_length(first)) != 0)
            return distil_fail(error, DISTIL_INVALID,
                               "%s has predictions of several models, among them %.*s and %.*s: "
                               "--model-name chooses one",
                               what, name_length(first), first, name_length(other), other);
    }
    return DISTIL_OK;
}

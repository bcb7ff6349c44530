#include "engine/bundled.h"

#include "engine/distil_catalogue.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What comes for a task; NULL for none. */
static const char *file_for(distil_task task)
{
    switch (task) {
    case DISTIL_TASK_NONE:
        return "all-minilm-l6-v2.distild";
    case DISTIL_TASK_CLASSIFY:
        return "sst2-minilm.distild";
    case DISTIL_TASK_ANSWER:
        return "qa-minilm.distild";
    case DISTIL_TASK_TOKENS:
        break;
    }
    return NULL;
}

static distil_status keep(char **path, const char *found, distil_error *error)
{
    *path = strdup(found);
    return *path ? DISTIL_OK : distil_fail(error, DISTIL_NO_MEMORY, "no memory for a path");
}

enum { FOUND_SIZE = PATH_MAX + 128 };

/* Looks in `above` of the directory that holds the file at path: "" or "/..", and so on. */
static bool find_near(const char *file, const char *above, const char *model,
                      char found[FOUND_SIZE])
{
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (!slash)
        return false;
    snprintf(found, FOUND_SIZE, "%.*s%s/share/distild/%s", (int)(slash - file), file, above, model);
    return access(found, R_OK) == 0;
}

/* Looks for a file that comes with the program. DISTIL_NOT_FOUND says where it was looked for. */
static distil_status find_bundled(const char *model, char **path, distil_error *error)
{
    char program[PATH_MAX], found[FOUND_SIZE];
    Dl_info library = {0};
    *path = NULL;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    /* An address of this code, so that a program elsewhere finds what its shared library was installed with. */
    static const char here;
    dladdr(&here, &library);
    if (find_near(program, "", model, found) || find_near(program, "/..", model, found) ||
        find_near(library.dli_fname, "/..", model, found) ||
        find_near(library.dli_fname, "/../..", model, found))
        return keep(path, found, error);
    snprintf(found, sizeof found, DISTILD_DATA_DIR "/%s", model);
    if (access(found, R_OK) == 0)
        return keep(path, found, error);
    return distil_fail(error, DISTIL_NOT_FOUND,
                       "none was named, and the bundled %s is in share/distild neither beside "
                       "nor above the program or its library, nor in " DISTILD_DATA_DIR,
                       model);
}

distil_status distil_bundled(distil_task task, char **path, distil_error *error)
{
    const char *model = file_for(task);
    *path = NULL;
    if (!model)
        return distil_fail(error, DISTIL_NOT_FOUND, "no model of that task is bundled");
    return find_bundled(model, path, error);
}

distil_status distil_catalogue_bundled(char **path, distil_error *error)
{
    return find_bundled("sample.catalogue", path, error);
}

distil_status engine_default_model(char **path, distil_error *error)
{
    const char *named = getenv("DISTILD_MODEL");
    return named && *named ? keep(path, named, error)
                           : distil_bundled(DISTIL_TASK_CLASSIFY, path, error);
}

#include "engine/bundled.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL_FILE "sst2-minilm.distild"

static distil_status keep(char **path, const char *found, distil_error *error)
{
    *path = strdup(found);
    return *path ? DISTIL_OK : distil_fail(error, DISTIL_NO_MEMORY, "no memory for a path");
}

distil_status engine_bundled_model(char **path, distil_error *error)
{
    char directory[PATH_MAX], candidate[PATH_MAX + 64];
    const char *named = getenv("DISTILD_MODEL");
    *path = NULL;
    if (named && *named)
        return keep(path, named, error);

    ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
    directory[length > 0 ? length : 0] = 0;
    /* From the program's own directory to the root, the nearest first. */
    for (char *slash; (slash = strrchr(directory, '/')) != NULL;) {
        *slash = 0;
        snprintf(candidate, sizeof candidate, "%s/share/distild/" MODEL_FILE, directory);
        if (access(candidate, R_OK) == 0)
            return keep(path, candidate, error);
        snprintf(candidate, sizeof candidate, "%s/weights/" MODEL_FILE, directory);
        if (access(candidate, R_OK) == 0)
            return keep(path, candidate, error);
    }
    if (access(DISTILD_DATA_DIR "/" MODEL_FILE, R_OK) == 0)
        return keep(path, DISTILD_DATA_DIR "/" MODEL_FILE, error);
    return distil_fail(
        error, DISTIL_NOT_FOUND,
        "no model was named, and the bundled " MODEL_FILE
        " is neither in share/distild or weights/ above the program nor in " DISTILD_DATA_DIR);
}

#include "engine/bundled.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
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

/* Looks in `above` of the directory that holds the file at path: "" or "/..", and so on. */
static bool find_near(const char *file, const char *above, char *found, size_t size)
{
    const char *slash = file ? strrchr(file, '/') : NULL;
    if (!slash)
        return false;
    snprintf(found, size, "%.*s%s/share/distild/" MODEL_FILE, (int)(slash - file), file, above);
    return access(found, R_OK) == 0;
}

distil_status engine_bundled_model(char **path, distil_error *error)
{
    char program[PATH_MAX], found[PATH_MAX + 64];
    const char *named = getenv("DISTILD_MODEL");
    Dl_info library = {0};
    *path = NULL;
    if (named && *named)
        return keep(path, named, error);

    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = 0;
    /* An address of this code, so that a program elsewhere finds what its shared library was installed with. */
    static const char here;
    dladdr(&here, &library);
    if (find_near(program, "", found, sizeof found) ||
        find_near(program, "/..", found, sizeof found) ||
        find_near(library.dli_fname, "/..", found, sizeof found) ||
        find_near(library.dli_fname, "/../..", found, sizeof found))
        return keep(path, found, error);
    if (access(DISTILD_DATA_DIR "/" MODEL_FILE, R_OK) == 0)
        return keep(path, DISTILD_DATA_DIR "/" MODEL_FILE, error);
    return distil_fail(error, DISTIL_NOT_FOUND,
                       "no model was named, and the bundled " MODEL_FILE
                       " is in share/distild neither beside nor above the program or its library, "
                       "nor in " DISTILD_DATA_DIR);
}

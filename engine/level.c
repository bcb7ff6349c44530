#include "engine/level.h"

#include <stdio.h>
#include <stdlib.h>

/* "scalar, openblas, avx2 or vnni": the levels of this architecture. */
static void list_levels(char *text, size_t size)
{
    const char *last = NULL;
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < KERN_LEVELS; i++) {
        if (!kern_level_native((enum kern_level)i))
            continue;
        if (last && used < size)
            used += (size_t)snprintf(text + used, size - used, used ? ", %s" : "%s", last);
        last = kern_level_name((enum kern_level)i);
    }
    if (last && used < size)
        snprintf(text + used, size - used, " or %s", last);
}

distil_status engine_choose_level(const char *name, enum kern_level *level, distil_error *error)
{
    if (!name)
        name = getenv("DISTILD_CPU");
    *level = kern_best_level();
    if (!name || !*name)
        return DISTIL_OK;
    *level = kern_level_from_name(name);
    if (*level == KERN_LEVELS) {
        char levels[128];
        list_levels(levels, sizeof levels);
        return distil_fail(error, DISTIL_INVALID, "cpu: expected %s, found '%.40s'", levels, name);
    }
    if (!kern_level_available(*level))
        return distil_fail(error, DISTIL_UNSUPPORTED,
                           "cpu: this machine cannot run '%s', at most '%s'", name,
                           kern_level_name(kern_best_level()));
    return DISTIL_OK;
}

/* served.h: the models that `distild serve` serves. */
#ifndef TOOLS_SERVED_H
#define TOOLS_SERVED_H

#include "server/options.h"
#include "tools/options.h"

enum { TOOL_SERVED_NAME = 64, TOOL_SERVED_PATH = 4096, TOOL_SERVED_MOST = TOOL_LIST_MAX + 3 };

/* With room for the strings that the options point to. */
struct tool_served {
    int count;
    struct server_model_options each[TOOL_SERVED_MOST];
    char names[TOOL_SERVED_MOST][TOOL_SERVED_NAME], paths[TOOL_SERVED_MOST][TOOL_SERVED_PATH];
};

/* Those of a list, each a PATH or a NAME=PATH, all to be computed in the same way. DISTIL_INVALID says which one is
 * neither. */
distil_status tool_served_read(const struct tool_list *list, const distil_options *engine,
                               struct tool_served *served, distil_error *error);
/* Adds the bundled models of the tasks that those read do not have, named as their files are. The errors of
 * distil_bundled. */
distil_status tool_served_add_bundled(const distil_options *engine, struct tool_served *served,
                                      distil_error *error);

#endif

/* state.h: where a server keeps its state, for the commands that read it. */
#ifndef TOOLS_STATE_H
#define TOOLS_STATE_H

#include "tools/options.h"

enum { TOOL_PATH = 4096 };

/* The entry of a table for `--state-dir`, for the member state_dir of the command's settings. */
#define TOOL_STATE_OPTION(settings_, help_)                                                        \
    {                                                                                              \
        .name = "state-dir", .kind = TOOL_TEXT, .offset = offsetof(settings_, state_dir),          \
        .value = "DIR", .help = help_                                                              \
    }

/* The directory that the option names, else the user's own: $XDG_STATE_HOME/distild, or
 * ~/.local/state/distild. "" where neither the option nor a variable says. */
void tool_state_dir(const char *option, char path[TOOL_PATH]);

#endif

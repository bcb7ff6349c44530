#include "tools/state.h"

#include <stdio.h>
#include <stdlib.h>

void tool_state_dir(const char *option, char path[TOOL_PATH])
{
    const char *home = getenv("HOME"), *states = getenv("XDG_STATE_HOME");
    int length = 0;
    path[0] = '\0';
    if (option)
        length = snprintf(path, TOOL_PATH, "%s", option);
    else if (states && states[0] == '/') /* others are to be ignored, as its specification has it */
        length = snprintf(path, TOOL_PATH, "%s/distild", states);
    else if (home && home[0] == '/')
        length = snprintf(path, TOOL_PATH, "%s/.local/state/distild", home);
    if (length >= TOOL_PATH)
        path[0] = '\0';
}

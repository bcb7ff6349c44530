/* commands.h: the commands of distild, each in the file of its name. */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "tools/options.h"

extern const struct tool_command tool_serve;
extern const struct tool_command tool_predict;
extern const struct tool_command tool_convert;
extern const struct tool_command tool_inspect;
extern const struct tool_command tool_tokenize;
extern const struct tool_command tool_evaluate;
extern const struct tool_command tool_drift;
extern const struct tool_command tool_ask;
extern const struct tool_command tool_bench;
extern const struct tool_command tool_profile;
extern const struct tool_command tool_health;
extern const struct tool_command tool_embed;
extern const struct tool_command tool_fit;
extern const struct tool_command tool_keys;
extern const struct tool_command tool_recommend;
extern const struct tool_command tool_log;
extern const struct tool_command tool_catalogue;
extern const struct tool_command tool_telemetry;
extern const struct tool_command tool_version;

#endif

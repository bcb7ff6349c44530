#include <stdlib.h>

#include "engine/cpus.h"
#include "kernels/kernels.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"

struct version_settings {
    struct tool_model_settings model;
    int format;
};

static const struct tool_option options[] = {
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct version_settings, format),
     .pick = TOOL_JSON,
     .help = "Print one JSON object"},
    TOOL_MODEL_OPTION(version_settings),
    {.name = "cpu",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct version_settings, model.cpu),
     .value = "LEVEL",
     .choices = TOOL_CPU_LEVELS,
     .help = "Show what computing with these instructions would choose"},
    TOOL_END_OPTIONS};

static const char COMPILER[] =
#if defined(__clang__)
    __VERSION__;
#else
    "GCC " __VERSION__;
#endif

/* info: of the model that would be used; NULL where there is none. */
static void print_json(const distil_info *info, const char *level)
{
    fputs("{\"version\":\"" DISTILD_VERSION "\",\"compiler\":", stdout);
    tool_json_string(stdout, COMPILER);
    fprintf(stdout, ",\"cpus\":%d,\"levels\":[", engine_cpu_count());
    for (int i = 0, shown = 0; i < KERN_LEVELS; i++) {
        if (kern_level_available((enum kern_level)i))
            fprintf(stdout, shown++ ? ",\"%s\"" : "\"%s\"", kern_level_name((enum kern_level)i));
    }
    fprintf(stdout, "],\"cpu\":\"%s\",\"precision\":", level);
    if (info) {
        tool_json_string(stdout, info->precision);
        fputs(",\"model\":", stdout);
        tool_json_string(stdout, info->path);
        fputs(",\"digest\":", stdout);
        tool_json_string(stdout, info->digest);
        fputs("}\n", stdout);
    } else {
        fputs("null,\"model\":null,\"digest\":null}\n", stdout);
    }
}

static void print_table(const distil_info *info, const char *level)
{
    fprintf(stdout, "distild " DISTILD_VERSION "\ncompiler   %s\ncpus       %d\nlevels    ",
            COMPILER, engine_cpu_count());
    for (int i = 0; i < KERN_LEVELS; i++) {
        if (kern_level_available((enum kern_level)i))
            fprintf(stdout, " %s", kern_level_name((enum kern_level)i));
    }
    fprintf(stdout, "\nin use     %s\n", level);
    if (info)
        fprintf(stdout, "precision  %s\nmodel      %s\n", info->precision, info->path);
}

static int run_version(const void *given, int count, char **operands)
{
    const struct version_settings *settings = given;
    (void)count;
    (void)operands;
    distil_model *model = NULL;
    distil_error error;
    distil_status status = tool_open_model(&settings->model, &model, &error);
    /* A program without its bundled model can still say what it is. */
    if (status && (settings->model.path || status != DISTIL_NOT_FOUND))
        return tool_failed("version", &error);
    const distil_info *info = model ? distil_model_info(model) : NULL;
    const char *level = info                  ? info->cpu
                        : settings->model.cpu ? settings->model.cpu
                                              : kern_level_name(kern_best_level());
    if (settings->format == TOOL_JSON)
        print_json(info, level);
    else
        print_table(info, level);
    status = tool_flush(stdout, &error);
    distil_model_free(model);
    return status ? tool_failed("version", &error) : TOOL_OK;
}

const struct tool_command tool_version = {
    .name = "version",
    .summary = "Show the version, and what it computes with on this machine",
    .operands = "",
    .description =
        "Shows the version, the compiler, the levels of instructions that this CPU and operating "
        "system allow (each can be asked for "
        "by --cpu), and the level, precision and model that commands use when none is named.",
    .options = options,
    .least_operands = 0,
    .most_operands = 0,
    .run = run_version,
    .settings_size = sizeof(struct version_settings)};

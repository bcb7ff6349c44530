/* model.h: the options of every command that runs a model, and opening it. */
#ifndef TOOLS_MODEL_H
#define TOOLS_MODEL_H

#include "engine/distil.h"
#include "tools/options.h"

/* A member named `model` of the settings of a command that uses TOOL_MODEL_OPTION and
 * TOOL_COMPUTE_OPTIONS. */
struct tool_model_settings {
    const char *path, *precision, *cpu;
    long threads;
};

/* The variable by which containers are commonly told of a model that is mounted. */
#define TOOL_MODEL_VARIABLE "ML_MODEL_PATH"

#define TOOL_MODEL_OPTION(settings)                                                                \
    {                                                                                              \
        .name = "model", .letter = 'm', .kind = TOOL_TEXT,                                         \
        .offset = offsetof(struct settings, model.path), .value = "PATH",                          \
        .also = TOOL_MODEL_VARIABLE,                                                               \
        .help = "A converted file or a HuggingFace directory; without one, the bundled sentiment " \
                "model"                                                                            \
    }

/* What --cpu takes, and how its help says so: the levels of this architecture. */
#if defined(__x86_64__)
#define TOOL_CPU_LEVELS "scalar|openblas|avx2|avx512|vnni|amx"
#define TOOL_CPU_HELP "scalar, openblas, avx2, avx512, vnni or amx"
#elif defined(__aarch64__)
#define TOOL_CPU_LEVELS "scalar|openblas|neon|dotprod"
#define TOOL_CPU_HELP "scalar, openblas, neon or dotprod"
#else
#define TOOL_CPU_LEVELS "scalar|openblas"
#define TOOL_CPU_HELP "scalar or openblas"
#endif

#define TOOL_COMPUTE_OPTIONS(settings)                                                             \
    {.name = "precision",                                                                          \
     .kind = TOOL_CHOICE,                                                                          \
     .offset = offsetof(struct settings, model.precision),                                         \
     .value = "NAME",                                                                              \
     .choices = "fp32|bf16|int8",                                                                  \
     .help = "Compute in fp32, bf16 or int8; without it, in the fastest one that keeps int8's "    \
             "accuracy"},                                                                          \
        {.name = "cpu",                                                                            \
         .kind = TOOL_CHOICE,                                                                      \
         .offset = offsetof(struct settings, model.cpu),                                           \
         .value = "LEVEL",                                                                         \
         .choices = TOOL_CPU_LEVELS,                                                               \
         .help = "Instructions to compute with: " TOOL_CPU_HELP "; without it, the best here"},    \
    {                                                                                              \
        .name = "threads", .letter = 't', .kind = TOOL_INTEGER,                                    \
        .offset = offsetof(struct settings, model.threads), .value = "N", .low = 0, .high = 1024,  \
        .fallback = "0",                                                                           \
        .help = "Threads to compute with; 0 takes every CPU that this process may use"             \
    }

#define TOOL_END_OPTIONS                                                                           \
    {                                                                                              \
        .name = NULL                                                                               \
    }

distil_status tool_open_model(const struct tool_model_settings *settings, distil_model **model,
                              distil_error *error);

/* Opens the model at path, or where that is NULL the bundled one of the task. */
distil_status tool_open_task(const char *path, distil_task task, const distil_options *options,
                             distil_model **model, distil_error *error);

/* Opens the model with a session, and refuses one that cannot classify whole texts (DISTIL_TASK).
 * Nothing is left open on failure. */
distil_status tool_open_classifier(const struct tool_model_settings *settings, distil_model **model,
                                   distil_session **session, distil_error *error);

/* Which of n logits is the greatest, the first where several are. */
int tool_likeliest(const float *logits, int n);

/* Prints "distild COMMAND: MESSAGE" on standard error and returns TOOL_FAILURE. */
int tool_failed(const char *command, const distil_error *error);
/* The same for wrong usage, with a hint at --help; returns TOOL_USAGE. */
int tool_misused(const char *command, const char *message);

#endif

/* catalogue.h: what the files of the catalogue command share. */
#ifndef TOOLS_CATALOGUE_H
#define TOOLS_CATALOGUE_H

#include "engine/distil_catalogue.h"
#include "tools/model.h"

struct tool_catalogue_settings {
    struct tool_model_settings model;
    const char *output, *vectors, *dtype, *id;
    long top_k, batch;
    bool verify;
    int format;
};

/* Writes settings->output from the items at path. */
distil_status tool_catalogue_build(const struct tool_catalogue_settings *settings, const char *path,
                                   distil_error *error);

/* The vector (width of the catalogue) of a text. */
distil_status tool_catalogue_embed(const struct tool_catalogue_settings *settings,
                                   const distil_catalogue *catalogue, const char *text,
                                   float *vector, distil_error *error);

#endif

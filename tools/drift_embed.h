/* drift_embed.h: embeddings for predictions whose log has none. */
#ifndef TOOLS_DRIFT_EMBED_H
#define TOOLS_DRIFT_EMBED_H

#include "server/drift_rows.h"
#include "tools/model.h"

/* Embeds the rows' texts, which must have been kept, and gives each row the projection of its embedding
 * to SERVER_DRIFT_PROJECTION dimensions, in the place of what it had. Rows without a text get none;
 * DISTIL_INVALID where no row has one. what: the side, for messages. Shows its progress. */
distil_status tool_drift_embed(const char *what, struct server_drift_rows *rows,
                               const struct tool_model_settings *settings, distil_error *error);

#endif

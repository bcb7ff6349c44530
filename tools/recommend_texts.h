/* recommend_texts.h: what the texts of films and users say to the recommender, by an encoder. */
#ifndef TOOLS_RECOMMEND_TEXTS_H
#define TOOLS_RECOMMEND_TEXTS_H

#include "tools/model.h"
#include "tools/recommend_trial.h"

/* Embeds the titles and genres of all films, and all users' profiles in words, as POST /api/recommend
 * has them. Shows progress. DISTIL_TASK for a model with a head. */
distil_status tool_recommend_texts_make(const struct tool_movielens *data,
                                        const struct tool_model_settings *model,
                                        struct tool_recommend_texts *texts, distil_error *error);
void tool_recommend_texts_free(struct tool_recommend_texts *texts);

#endif

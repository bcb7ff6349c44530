/* recommend_trial.h: the recommender's estimator beside simple rules, on scores that neither has seen. */
#ifndef TOOLS_RECOMMEND_TRIAL_H
#define TOOLS_RECOMMEND_TRIAL_H

#include <stdint.h>

#include "tools/ranking.h"

enum tool_rule {
    TOOL_GLOBAL_MEAN,
    TOOL_ITEM_MEAN,
    TOOL_POPULARITY,
    TOOL_ESTIMATOR,       /* from profiles and scores alone */
    TOOL_ESTIMATOR_TEXTS, /* and from the texts of items and profiles */
    TOOL_RULES
};

/* What texts say, in numbers; all NULL without. */
struct tool_recommend_texts {
    float *components;    /* (items, SERVER_COMPONENTS) */
    int8_t *similarities; /* (users, items), in steps of 1/16 */
};

/* Lets a rule learn from the first scores and predict the others: (test->count), within 0..5. */
distil_status tool_recommend_predict(const struct tool_movielens *data, enum tool_rule rule,
                                     const struct tool_recommend_texts *texts,
                                     const struct tool_ratings *train,
                                     const struct tool_ratings *test, float *predicted,
                                     distil_error *error);

#endif

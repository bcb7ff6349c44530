/* ranking.h: how good predicted scores are, by their error and by the order that they put items in. */
#ifndef TOOLS_RANKING_H
#define TOOLS_RANKING_H

#include "tools/movielens.h"

enum { TOOL_RANKING_DEPTH = 10 };

struct tool_ranking {
    double rmse; /* root of the mean squared error, in points of the score */
    /* Normalised discounted cumulative gain of the first ten, averaged over the users; gains are 2^score - 1,
     * and items predicted alike share their places. */
    double ndcg;
    long users; /* that ndcg is of: those with two scores at least that differ */
};

/* Compares predictions with the scores that they are of. predicted: (scores->count). Among the items
 * that a user scored, it is asked which ones he liked best. */
distil_status tool_ranking_measure(const struct tool_ratings *scores, const float *predicted,
                                   struct tool_ranking *ranking, distil_error *error);

#endif

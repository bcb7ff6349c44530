/* cost.h: what a batch costs, learned from the batches computed.
 *
 * The time of a batch is taken to be a + b * tokens + c * squares, squares being the sum of the
 * squared lengths of its texts: weights are read once a batch, each token is multiplied with them,
 * and attention compares every token of a text with every other. a, b and c start from the size of
 * the model and follow what is observed, so they speak of this machine, at this load, now. */
#ifndef SERVER_COST_H
#define SERVER_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/distil.h"

enum { SERVER_COST_TERMS = 3 };

/* Of one model on a number of cores. */
struct server_cost {
    double seed[SERVER_COST_TERMS];   /* nanoseconds: of a batch, a token, a squared token */
    double factor[SERVER_COST_TERMS]; /* by which they have turned out to differ from the seed */
    double spread[SERVER_COST_TERMS][SERVER_COST_TERMS]; /* covariance of the factors */
    int observed;                                        /* batches, counted while they are few */
};

/* What is to be computed: batches, and the tokens and squares of their texts together. */
struct server_load {
    double batches, tokens, squares;
};

void server_cost_init(struct server_cost *cost, const distil_info *info, int cores);
/* Learns from batches that took nanoseconds. A single strange time moves it little; but of the first
 * few batches, one that takes less than half of what was expected sets the scale anew: a batch may be
 * held up by something else, and none is faster than it can be. */
void server_cost_observe(struct server_cost *cost, const struct server_load *load,
                         double nanoseconds);
/* The same for one kind among the costs of a model on lanes of several kinds (kinds), of which kind 0
 * has the most cores. What nothing is known of yet takes its scale from it. The other kinds are
 * taken to be a little faster than before, so that one that was slow once is tried again, but not much
 * faster than this one: crowded says whether texts wait or are computed elsewhere; while none are, only
 * larger lanes are. */
void server_costs_observe(struct server_cost *costs, int kinds, int kind,
                          const struct server_load *load, double nanoseconds, bool crowded);
/* Nanoseconds. */
double server_cost_estimate(const struct server_cost *cost, const struct server_load *load);
/* Nanoseconds under which it can hardly be, as far as what was observed says: little or nothing while few
 * batches of the kind were, near the estimate when many were. */
double server_cost_at_least(const struct server_cost *cost, const struct server_load *load);
/* Tokens of a batch, of texts of a mean length, beyond which more would save next to nothing, or
 * take longer than most_ns though most of that time goes to tokens already; at most max_tokens, at
 * least 1. */
int server_cost_budget(const struct server_cost *cost, double length, double most_ns,
                       int max_tokens);

#endif

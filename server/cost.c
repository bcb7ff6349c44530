/* cost.c: see cost.h. The factors are followed by a Kalman filter whose state walks at random: a
 * least-squares fit that forgets. Everything is relative to the time expected, so that a batch of
 * two tokens teaches as much as one of two thousand. */
#include "server/cost.h"

#include <math.h>
#include <string.h>

enum { TERMS = SERVER_COST_TERMS };

/* What the seeds assume: operations a nanosecond of one core, and what a batch costs beside its
 * tokens, in tokens. The first observation sets the scale. */
static const double seed_speed = 100, seed_overhead = 8;

static const double first_spread = 0.25; /* variance of a factor before anything is known of it */
static const double walk = 0.001;        /* variance a factor gains with each batch */
static const double noise = 0.04;        /* variance of a time around what is expected: 20% */
/* A batch that was held up by something else may take any time. */
static const double least_surprise = -0.5, most_surprise = 1.0;
/* Batches after which the scale is settled. */
static const int settled = 16;
/* Standard deviations under the estimate that are no more in doubt. */
static const double doubt = 2;
static const double least_factor = 0.001;
/* What fewer cores are taken to need of the time that more cores did, core by core, until they are
 * seen: little enough for them to be tried. */
static const double hope = 0.8;
/* What becomes of the factors of other lanes with each batch. A lane that was slow because
 * something else had its cores must not be avoided for good. Where that would make them faster than
 * hope, core by core, it is enough: they are tried, and what is still to be learned of them then
 * costs few batches. */
static const double busy_drift = 0.998, idle_drift = 0.98;

/* A budget at which the part of its time that does not depend on its tokens is 1/25. */
static const double worthwhile = 24;
static const int least_budget = 64;
/* However long a batch takes then, it may have as many tokens as leave that part under a fifth. */
static const double tolerable = 4;

void server_cost_init(struct server_cost *cost, const distil_info *info, int cores)
{
    double hidden = info->hidden, layers = info->layers;
    double token = 2 * layers * hidden * (4 * hidden + 2.0 * info->ffn) / seed_speed / cores;
    int i;
    memset(cost, 0, sizeof(*cost));
    cost->seed[1] = token > 100 ? token : 100;
    cost->seed[0] = seed_overhead * cost->seed[1];
    cost->seed[2] = 4 * layers * hidden / seed_speed / cores;
    for (i = 0; i < TERMS; i++) {
        cost->factor[i] = 1;
        cost->spread[i][i] = first_spread;
    }
}

static void parts_of(const struct server_cost *cost, const struct server_load *load,
                     double parts[TERMS])
{
    parts[0] = cost->seed[0] * load->batches;
    parts[1] = cost->seed[1] * load->tokens;
    parts[2] = cost->seed[2] * load->squares;
}

double server_cost_estimate(const struct server_cost *cost, const struct server_load *load)
{
    double parts[TERMS];
    parts_of(cost, load, parts);
    return parts[0] * cost->factor[0] + parts[1] * cost->factor[1] + parts[2] * cost->factor[2];
}

double server_cost_at_least(const struct server_cost *cost, const struct server_load *load)
{
    double parts[TERMS], sum = 0, variance = 0;
    int i, k;
    parts_of(cost, load, parts);
    for (i = 0; i < TERMS; i++) {
        parts[i] *= cost->factor[i];
        sum += parts[i];
    }
    for (i = 0; i < TERMS; i++)
        for (k = 0; k < TERMS; k++)
            variance += parts[i] * parts[k] * cost->spread[i][k];
    return fmax(sum - doubt * sqrt(fmax(variance, 0)), 0);
}

/* One step of the filter: h says how much each factor counts for in the expected time. */
static void correct(struct server_cost *cost, const double h[TERMS], double surprise)
{
    double gain[TERMS], variance = noise;
    int i, k;
    for (i = 0; i < TERMS; i++) {
        if (cost->spread[i][i] < first_spread)
            cost->spread[i][i] += walk;
        gain[i] = 0;
        for (k = 0; k < TERMS; k++)
            gain[i] += cost->spread[i][k] * h[k];
    }
    for (i = 0; i < TERMS; i++)
        variance += h[i] * gain[i];
    for (i = 0; i < TERMS; i++)
        for (k = 0; k < TERMS; k++)
            cost->spread[i][k] -= gain[i] * gain[k] / variance;
    for (i = 0; i < TERMS; i++) {
        cost->factor[i] *= 1 + gain[i] / variance * surprise;
        if (cost->factor[i] < least_factor)
            cost->factor[i] = least_factor;
    }
}

void server_cost_observe(struct server_cost *cost, const struct server_load *load,
                         double nanoseconds)
{
    double h[TERMS], expected = server_cost_estimate(cost, load);
    double surprise = nanoseconds / expected - 1;
    int i;
    /* nothing is known of the scale, or only what a batch took that something else held up */
    if (!cost->observed || (cost->observed < settled && surprise < least_surprise)) {
        for (i = 0; i < TERMS; i++)
            cost->factor[i] *= nanoseconds / expected;
        cost->observed++;
        return;
    }
    if (cost->observed < settled)
        cost->observed++;
    if (surprise < least_surprise)
        surprise = least_surprise;
    if (surprise > most_surprise)
        surprise = most_surprise;
    parts_of(cost, load, h);
    for (i = 0; i < TERMS; i++)
        h[i] *= cost->factor[i] / expected;
    correct(cost, h, surprise);
}

/* How a load's estimate has turned out to differ from its seed, which knows of cores: alike for lanes of
 * any size where cores add up. */
static double scale_of(const struct server_cost *cost, const struct server_load *load)
{
    double parts[TERMS];
    parts_of(cost, load, parts);
    return server_cost_estimate(cost, load) / (parts[0] + parts[1] + parts[2]);
}

void server_costs_observe(struct server_cost *costs, int kinds, int kind,
                          const struct server_load *load, double nanoseconds, bool crowded)
{
    double scale = nanoseconds / server_cost_estimate(&costs[kind], load);
    bool first = !costs[kind].observed;
    int k, i;
    for (k = 0; k < kinds; k++) {
        bool unknown = first && !costs[k].observed;
        bool drifts = (crowded || k < kind) &&
                      scale_of(&costs[k], load) > hope * scale_of(&costs[kind], load);
        for (i = 0; i < TERMS && k != kind; i++) {
            if (unknown)
                costs[k].factor[i] = scale * (k > kind ? hope : 1);
            else if (drifts)
                costs[k].factor[i] *= crowded ? busy_drift : idle_drift;
        }
    }
    server_cost_observe(&costs[kind], load, nanoseconds);
}

int server_cost_budget(const struct server_cost *cost, double length, double most_ns,
                       int max_tokens)
{
    double batch = cost->seed[0] * cost->factor[0];
    double token = cost->seed[1] * cost->factor[1] + cost->seed[2] * cost->factor[2] * length;
    double budget = worthwhile * batch / token;
    double affordable = fmax(most_ns - batch, tolerable * batch) / token;
    if (budget < least_budget)
        budget = least_budget;
    if (budget > affordable)
        budget = affordable;
    if (budget > max_tokens)
        budget = max_tokens;
    return budget > 1 ? (int)budget : 1;
}

#include "tools/ranking.h"

#include <math.h>
#include <stdlib.h>

/* A score and what was predicted of it. */
struct pair {
    int user;
    float score, predicted;
};

static int by_user_and_prediction(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    return (x->predicted < y->predicted) - (x->predicted > y->predicted);
}

static int by_score(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

static double gain(const struct pair *pair)
{
    return exp2((double)pair->score) - 1;
}

static double discount(long place)
{
    return place < TOOL_RANKING_DEPTH ? 1 / log2((double)place + 2) : 0;
}

/* Of pairs in the order of their predictions. Those predicted alike have, each of them, every one of
 * their places with the same probability. */
static double cumulative_gain(const struct pair *pairs, long count)
{
    double sum = 0;
    long i, k;
    for (i = 0; i < count && i < TOOL_RANKING_DEPTH; i = k) {
        double gains = 0, discounts = 0;
        for (k = i; k < count && pairs[k].predicted == pairs[i].predicted; k++) {
            gains += gain(&pairs[k]);
            discounts += discount(k);
        }
        sum += gains * discounts / (double)(k - i);
    }
    return sum;
}

/* Of pairs of one user, which are in the order of their predictions, and afterwards of their scores. */
static double normalised_gain(struct pair *pairs, long count)
{
    double found = cumulative_gain(pairs, count), best = 0;
    qsort(pairs, (size_t)count, sizeof *pairs, by_score);
    for (long i = 0; i < count && i < TOOL_RANKING_DEPTH; i++)
        best += gain(&pairs[i]) * discount(i);
    return found / best;
}

static bool differ(const struct pair *pairs, long count)
{
    for (long i = 1; i < count; i++) {
        if (pairs[i].score != pairs[0].score)
            return true;
    }
    return false;
}

distil_status tool_ranking_measure(const struct tool_ratings *scores, const float *predicted,
                                   struct tool_ranking *ranking, distil_error *error)
{
    struct pair *pairs = malloc((size_t)scores->count * sizeof *pairs);
    double squares = 0, sum = 0;
    long i, k;
    if (!pairs)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %ld scores", scores->count);
    *ranking = (struct tool_ranking){0};
    for (i = 0; i < scores->count; i++) {
        double wrong = (double)predicted[i] - (double)scores->each[i].score;
        squares += wrong * wrong;
        pairs[i] = (struct pair){scores->each[i].user, scores->each[i].score, predicted[i]};
    }
    qsort(pairs, (size_t)scores->count, sizeof *pairs, by_user_and_prediction);
    for (i = 0; i < scores->count; i = k) {
        for (k = i; k < scores->count && pairs[k].user == pairs[i].user; k++)
            ;
        if (differ(pairs + i, k - i)) {
            sum += normalised_gain(pairs + i, k - i);
            ranking->users++;
        }
    }
    ranking->rmse = sqrt(squares / (double)scores->count);
    ranking->ndcg = ranking->users ? sum / (double)ranking->users : 1;
    free(pairs);
    return DISTIL_OK;
}

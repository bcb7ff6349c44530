#include "tools/recommend_trial.h"

#include <math.h>
#include <stdlib.h>

#include "server/estimator.h"

/* Sums over the scores of each item. */
struct sums {
    long *counts;  /* (items) */
    double *means; /* (items): of no item without scores */
    double mean;   /* of all */
};

static void free_sums(struct sums *sums)
{
    free(sums->counts);
    free(sums->means);
}

static distil_status sum_up(const struct tool_movielens *data, const struct tool_ratings *train,
                            struct sums *sums, distil_error *error)
{
    size_t items = (size_t)data->item_count;
    *sums = (struct sums){.counts = calloc(items, sizeof *sums->counts),
                          .means = calloc(items, sizeof *sums->means)};
    if (!sums->counts || !sums->means)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %zu items", items);
    for (long i = 0; i < train->count; i++) {
        const struct tool_rating *rating = &train->each[i];
        sums->mean += (double)rating->score;
        sums->means[rating->item] += (double)rating->score;
        sums->counts[rating->item]++;
    }
    sums->mean /= (double)train->count;
    for (size_t i = 0; i < items; i++)
        sums->means[i] = sums->counts[i] ? sums->means[i] / (double)sums->counts[i] : sums->mean;
    return DISTIL_OK;
}

/* The line through the scores by the logarithm of how often their items were scored. */
static void fit_popularity(const struct sums *sums, const struct tool_ratings *train, double *slope,
                           double *level)
{
    double x_mean = 0, xx = 0, xy = 0;
    for (long i = 0; i < train->count; i++)
        x_mean += log1p((double)sums->counts[train->each[i].item]);
    x_mean /= (double)train->count;
    for (long i = 0; i < train->count; i++) {
        double x = log1p((double)sums->counts[train->each[i].item]) - x_mean;
        xx += x * x;
        xy += x * ((double)train->each[i].score - sums->mean);
    }
    *slope = xx > 0 ? xy / xx : 0;
    *level = sums->mean - *slope * x_mean;
}

static distil_status predict_simply(const struct tool_movielens *data, enum tool_rule rule,
                                    const struct tool_ratings *train,
                                    const struct tool_ratings *test, float *predicted,
                                    distil_error *error)
{
    struct sums sums;
    double slope, level;
    distil_status status = sum_up(data, train, &sums, error);
    if (status) {
        free_sums(&sums);
        return status;
    }
    fit_popularity(&sums, train, &slope, &level);
    for (long i = 0; i < test->count; i++) {
        int item = test->each[i].item;
        predicted[i] =
            (float)(rule == TOOL_GLOBAL_MEAN ? sums.mean
                    : rule == TOOL_ITEM_MEAN ? sums.means[item]
                                             : level + slope * log1p((double)sums.counts[item]));
    }
    free_sums(&sums);
    return DISTIL_OK;
}

static struct server_score score_of(const struct tool_movielens *data,
                                    const struct tool_recommend_texts *texts,
                                    const struct tool_rating *rating)
{
    size_t at = (size_t)rating->user * (size_t)data->item_count + (size_t)rating->item;
    return (struct server_score){
        .item = rating->item,
        .profile = data->users[rating->user].profile,
        .similarity = texts->similarities ? (float)texts->similarities[at] / 16 : 0,
        .score = rating->score,
    };
}

static distil_status predict_by_estimator(const struct tool_movielens *data,
                                          const struct tool_recommend_texts *texts,
                                          const struct tool_ratings *train,
                                          const struct tool_ratings *test, float *predicted,
                                          distil_error *error)
{
    struct server_estimator *estimator;
    distil_status status =
        server_estimator_create(data->item_count, texts->components, &estimator, error);
    if (status)
        return status;
    for (long i = 0; i < train->count && !status; i++) {
        struct server_score score = score_of(data, texts, &train->each[i]);
        status = server_estimator_store(estimator, &score, error);
    }
    if (!status)
        status = server_estimator_settle(estimator, NULL, NULL, error);
    for (long i = 0; i < test->count && !status; i++) {
        struct server_score score = score_of(data, texts, &test->each[i]);
        float expected =
            server_estimator_predict(estimator, &score.profile, score.item, score.similarity);
        predicted[i] = fminf(fmaxf(expected, 0), SERVER_SCORE_MOST);
    }
    server_estimator_free(estimator);
    return status;
}

distil_status tool_recommend_predict(const struct tool_movielens *data, enum tool_rule rule,
                                     const struct tool_recommend_texts *texts,
                                     const struct tool_ratings *train,
                                     const struct tool_ratings *test, float *predicted,
                                     distil_error *error)
{
    const struct tool_recommend_texts none = {0};
    if (rule == TOOL_ESTIMATOR)
        return predict_by_estimator(data, &none, train, test, predicted, error);
    if (rule == TOOL_ESTIMATOR_TEXTS)
        return predict_by_estimator(data, texts, train, test, predicted, error);
    return predict_simply(data, rule, train, test, predicted, error);
}

#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/recommend_texts.h"
#include "tools/recommend_trial.h"

enum { TEST_SHARE = 5 /* one in so many scores, or films, is kept from learning */ };

struct recommend_settings {
    struct tool_model_settings model; /* the encoder */
    const char *split;
    int format;
};

static const struct tool_option options[] = {
    {.name = "split",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct recommend_settings, split),
     .value = "HOW",
     .choices = "auto|folds|time",
     .fallback = "auto",
     .help = "Which scores are kept from learning: those of u1.test, u2.test ... (folds), or the "
             "last fifth (time); auto takes folds where there are any"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct recommend_settings, format),
     .pick = TOOL_JSON,
     .help = "Print the figures as JSON"},
    {.name = "encoder",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct recommend_settings, model.path),
     .value = "PATH",
     .help = "The encoder of titles, genres and profiles: a converted file or a HuggingFace "
             "directory; without one, the bundled encoder. 'none' leaves the texts out"},
    TOOL_COMPUTE_OPTIONS(recommend_settings),
    TOOL_END_OPTIONS};

static const struct {
    const char *name, *key;
} rules[TOOL_RULES] = {{"global mean", "global_mean"},
                       {"item mean", "item_mean"},
                       {"popularity", "popularity"},
                       {"estimator", "estimator"},
                       {"estimator with texts", "estimator_with_texts"}};

/* Scores to learn from and scores to predict, of one way to divide them. */
struct division {
    const char *name, *key, *what;
    int parts;
    struct tool_ratings train[TOOL_FOLDS_MOST], test[TOOL_FOLDS_MOST];
    bool borrowed; /* the arrays belong to the data */
    struct tool_ranking results[TOOL_RULES];
    long learned, predicted; /* scores, of all parts */
};

enum { KNOWN, COLD, DIVISIONS };

struct evaluation {
    const struct recommend_settings *settings;
    const char *folder;
    struct tool_movielens data;
    struct tool_recommend_texts texts;
    struct division divisions[DIVISIONS];
    struct tool_progress progress;
    size_t done, trials;
    double seconds;
};

static int rule_count(const struct evaluation *run)
{
    return run->texts.components ? TOOL_RULES : TOOL_ESTIMATOR_TEXTS;
}

/* ---- dividing ---- */

static void divide_by_time(struct division *division, struct tool_ratings *all)
{
    long learned = all->count - all->count / TEST_SHARE;
    division->parts = 1;
    division->borrowed = true;
    division->train[0] = (struct tool_ratings){.each = all->each, .count = learned};
    division->test[0] =
        (struct tool_ratings){.each = all->each + learned, .count = all->count - learned};
}

static void divide_by_folds(struct division *division, const struct tool_movielens *data)
{
    division->parts = data->folds;
    division->borrowed = true;
    for (int i = 0; i < data->folds; i++) {
        division->train[i] = data->base[i];
        division->test[i] = data->test[i];
    }
}

/* Keeps every fifth film from learning. */
static distil_status divide_by_item(struct division *division, const struct tool_ratings *first,
                                    const struct tool_ratings *second, distil_error *error)
{
    const struct tool_ratings *const sources[] = {first, second};
    size_t room = (size_t)(first->count + second->count + 1) * sizeof(struct tool_rating);
    struct tool_ratings *train = &division->train[0], *test = &division->test[0];
    division->parts = 1;
    train->each = malloc(room);
    test->each = malloc(room);
    if (!train->each || !test->each)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %ld scores",
                           first->count + second->count);
    for (int s = 0; s < 2; s++) {
        for (long i = 0; i < sources[s]->count; i++) {
            const struct tool_rating *rating = &sources[s]->each[i];
            struct tool_ratings *to = rating->item % TEST_SHARE == 0 ? test : train;
            to->each[to->count++] = *rating;
        }
    }
    return DISTIL_OK;
}

static distil_status divide(struct evaluation *run, distil_error *error)
{
    struct division *known = &run->divisions[KNOWN], *cold = &run->divisions[COLD];
    if (run->data.folds > 0) {
        *known = (struct division){
            .name = "folds", .key = "folds", .what = "the scores of u1.test, u2.test ..."};
        divide_by_folds(known, &run->data);
    } else {
        *known = (struct division){
            .name = "time", .key = "time", .what = "the last fifth of the scores"};
        divide_by_time(known, &run->data.all);
    }
    *cold =
        (struct division){.name = "cold start",
                          .key = "cold_start",
                          .what = "all scores of every fifth film, none of which was learned from"};
    distil_status status = divide_by_item(cold, &known->train[0], &known->test[0], error);
    for (int i = 0; i < DIVISIONS && !status; i++) {
        for (int k = 0; k < run->divisions[i].parts && !status; k++) {
            if (!run->divisions[i].train[k].count || !run->divisions[i].test[k].count)
                status =
                    distil_fail(error, DISTIL_FORMAT, "%s: too few scores to divide", run->folder);
        }
    }
    return status;
}

/* ---- measuring ---- */

/* One rule on one part; adds to the division's results. */
static distil_status try_rule(struct evaluation *run, struct division *division, int part,
                              enum tool_rule rule, distil_error *error)
{
    const struct tool_ratings *test = &division->test[part];
    struct tool_ranking *sum = &division->results[rule], result;
    float *predicted = malloc((size_t)test->count * sizeof *predicted);
    distil_status status;
    if (!predicted)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %ld scores", test->count);
    status = tool_recommend_predict(&run->data, rule, &run->texts, &division->train[part], test,
                                    predicted, error);
    if (!status)
        status = tool_ranking_measure(test, predicted, &result, error);
    if (!status) {
        sum->rmse += result.rmse / division->parts;
        sum->ndcg += result.ndcg / division->parts;
        sum->users += result.users;
    }
    free(predicted);
    run->done++;
    tool_progress_update(&run->progress, run->done, run->trials, (long)run->done);
    return status;
}

static distil_status measure(struct evaluation *run, distil_error *error)
{
    distil_status status = DISTIL_OK;
    double start = tool_now();
    for (int i = 0; i < DIVISIONS; i++)
        run->trials += (size_t)(run->divisions[i].parts * rule_count(run));
    tool_progress_start(&run->progress, "learning and predicting", NULL, true);
    for (int i = 0; i < DIVISIONS; i++) {
        struct division *division = &run->divisions[i];
        for (int part = 0; part < division->parts && !status; part++) {
            division->learned += division->train[part].count;
            division->predicted += division->test[part].count;
            for (int rule = 0; rule < rule_count(run) && !status; rule++)
                status = try_rule(run, division, part, (enum tool_rule)rule, error);
        }
    }
    tool_progress_end(&run->progress);
    run->seconds = tool_now() - start;
    return status;
}

/* ---- output ---- */

static void print_table(const struct evaluation *run)
{
    for (int i = 0; i < DIVISIONS; i++) {
        const struct division *division = &run->divisions[i];
        printf("%s%s: %s\n%ld scores learned from, %ld predicted, %d part%s\n\n", i ? "\n" : "",
               division->name, division->what, division->learned, division->predicted,
               division->parts, division->parts == 1 ? "" : "s");
        printf("%-22s    RMSE  NDCG@10\n", "");
        for (int rule = 0; rule < rule_count(run); rule++)
            printf("%-22s  %6.4f   %6.4f\n", rules[rule].name, division->results[rule].rmse,
                   division->results[rule].ndcg);
    }
    printf("\n%d users, %d films, %.1f s\n", run->data.user_count, run->data.item_count,
           run->seconds);
}

static void print_json(const struct evaluation *run)
{
    fputs("{\"data\": ", stdout);
    tool_json_string(stdout, run->folder);
    printf(", \"users\": %d, \"films\": %d, \"seconds\": %.3f, \"divisions\": {",
           run->data.user_count, run->data.item_count, run->seconds);
    for (int i = 0; i < DIVISIONS; i++) {
        const struct division *division = &run->divisions[i];
        printf("%s\"%s\": {\"parts\": %d, \"learned\": %ld, \"predicted\": %ld, \"rules\": {",
               i ? ", " : "", division->key, division->parts, division->learned,
               division->predicted);
        for (int rule = 0; rule < rule_count(run); rule++) {
            printf("%s\"%s\": {\"rmse\": ", rule ? ", " : "", rules[rule].key);
            tool_json_double(stdout, division->results[rule].rmse);
            fputs(", \"ndcg_at_10\": ", stdout);
            tool_json_double(stdout, division->results[rule].ndcg);
            printf(", \"users_ranked\": %ld}", division->results[rule].users);
        }
        fputs("}}", stdout);
    }
    fputs("}}\n", stdout);
}

/* ---- the command ---- */

static void free_evaluation(struct evaluation *run)
{
    for (int i = 0; i < DIVISIONS; i++) {
        struct division *division = &run->divisions[i];
        for (int k = 0; !division->borrowed && k < division->parts; k++) {
            free(division->train[k].each);
            free(division->test[k].each);
        }
    }
    tool_recommend_texts_free(&run->texts);
    tool_movielens_free(&run->data);
    free(run);
}

/* Has the texts embedded, unless they are left out. */
static distil_status read_texts(struct evaluation *run, distil_error *error)
{
    struct tool_model_settings model = run->settings->model;
    distil_status status = DISTIL_OK;
    char *bundled = NULL;
    if (model.path && strcmp(model.path, "none") == 0)
        return DISTIL_OK;
    if (!model.path)
        status = distil_bundled(DISTIL_TASK_NONE, &bundled, error);
    if (bundled)
        model.path = bundled;
    if (!status)
        status = tool_recommend_texts_make(&run->data, &model, &run->texts, error);
    free(bundled);
    return status;
}

static distil_status evaluate(struct evaluation *run, distil_error *error)
{
    const char *split = run->settings->split;
    bool folds = strcmp(split, "folds") == 0 ||
                 (strcmp(split, "auto") == 0 && tool_movielens_has_folds(run->folder));
    distil_status status = tool_movielens_read(&run->data, run->folder, folds, error);
    if (!status)
        status = divide(run, error);
    if (!status)
        status = read_texts(run, error);
    return status ? status : measure(run, error);
}

static int run_recommend(const void *given, int count, char **operands)
{
    const struct recommend_settings *settings = given;
    struct evaluation *run;
    distil_error error;
    distil_status status;
    (void)count;
    if (strcmp(operands[0], "evaluate") != 0)
        return tool_misused("recommend", "only 'recommend evaluate DIR' is known");
    run = calloc(1, sizeof *run);
    if (!run) {
        distil_fail(&error, DISTIL_NO_MEMORY, "out of memory");
        return tool_failed("recommend", &error);
    }
    run->settings = settings;
    run->folder = operands[1];
    status = evaluate(run, &error);
    if (!status) {
        if (settings->format == TOOL_JSON)
            print_json(run);
        else
            print_table(run);
        status = tool_flush(stdout, &error);
    }
    free_evaluation(run);
    return status ? tool_failed("recommend", &error) : TOOL_OK;
}

const struct tool_command tool_recommend = {
    .name = "recommend",
    .summary = "Measure the recommender on scores in MovieLens' format",
    .operands = "evaluate DIR",
    .description =
        "Lets the estimator behind POST /api/recommend learn from some of the scores in DIR, and "
        "predict others, beside three simple rules: the mean of all scores, the mean of an item's, "
        "and how often it was scored. RMSE is the error in points; NDCG@10 says how well the films "
        "that a user scored are put in order.\n\n"
        "DIR has u.user, u.item and u.data as in MovieLens-100K, and maybe u1.base, u1.test to "
        "u5.test. A second table is of films that nothing was learned about.",
    .options = options,
    .least_operands = 2,
    .most_operands = 2,
    .run = run_recommend,
    .settings_size = sizeof(struct recommend_settings)};

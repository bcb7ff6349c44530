/* distild bench: how long a model takes for given shapes, from ids to logits. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/model.h"
#include "kernels/peak.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/shapes.h"

enum { LEAST_REPETITIONS = 5, MOST_REPETITIONS = 100000 };

struct settings {
    struct tool_model_settings model;
    const char *shapes;
    double seconds;
    bool json, times;
};

static const struct tool_option options[] = {
    {.name = "shapes",
     .letter = 's',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct settings, shapes),
     .value = "LIST",
     .fallback = "1x16,1x128,8x128,32x128,mix32",
     .help = "Shapes to time, with commas between them: BATCHxTOKENS, or mix32 for 32 texts of 8 "
             "to 512 tokens"},
    {.name = "seconds",
     .kind = TOOL_REAL,
     .offset = offsetof(struct settings, seconds),
     .value = "S",
     .low = 0,
     .high = 3600,
     .fallback = "0.5",
     .help = "How long each shape is repeated; 5 times at least"},
    {.name = "json",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "One JSON object a shape"},
    {.name = "times",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct settings, times),
     .help = "With --json, the milliseconds of every repetition too"},
    TOOL_MODEL_OPTION(settings),
    TOOL_COMPUTE_OPTIONS(settings),
    TOOL_END_OPTIONS,
};

struct measurement {
    double *times; /* (count) ms, in the order they were taken until they are sorted */
    int count;
    double median, least;
};

static double milliseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Repeats the batch for about `seconds`, after one run that does not count. */
static distil_status measure(distil_session *session, distil_tokens *const *texts,
                             const struct tool_shape *shape, double seconds, float *logits,
                             struct measurement *out, distil_error *error)
{
    const distil_tokens *const *batch = (const distil_tokens *const *)texts;
    distil_status status = distil_logits(session, batch, shape->texts, logits, error);
    double end = milliseconds_now() + 1e3 * seconds;
    out->count = 0;
    while (!status && out->count < MOST_REPETITIONS &&
           (out->count < LEAST_REPETITIONS || milliseconds_now() < end)) {
        double start = milliseconds_now();
        status = distil_logits(session, batch, shape->texts, logits, error);
        out->times[out->count++] = milliseconds_now() - start;
    }
    qsort(out->times, (size_t)out->count, sizeof *out->times, compare_doubles);
    out->median = out->times[out->count / 2];
    out->least = out->times[0];
    return status;
}

static void print(const struct settings *settings, const struct tool_shape *shape,
                  const struct measurement *taken, const distil_info *info, int threads,
                  double peak)
{
    double gops = tool_shape_operations(shape, info) / taken->median * 1e-6;
    double tokens = 1e3 * (double)shape->total / taken->median;
    double share = gops / (peak * threads);
    if (!settings->json) {
        printf("%-10s %10.3f %10.3f %12.0f %9.1f %7.0f%%\n", shape->name, taken->median,
               taken->least, tokens, gops, 100 * share);
        return;
    }
    printf("{\"shape\":\"%s\",\"threads\":%d,\"precision\":\"%s\",\"cpu\":\"%s\",\"median_ms\":%."
           "4f,\"min_ms\":%.4f,"
           "\"tokens_per_s\":%.0f,\"gops\":%.2f,\"share_of_peak\":%.4f",
           shape->name, threads, info->precision, info->cpu, taken->median, taken->least, tokens,
           gops, share);
    for (int i = 0; settings->times && i < taken->count; i++)
        printf("%s%.4f", i ? "," : ",\"times_ms\":[", taken->times[i]);
    printf("%s}\n", settings->times ? "]" : "");
}

static distil_status bench_shape(const struct settings *settings, const distil_model *model,
                                 distil_session *session, const struct tool_shape *shape,
                                 double peak, distil_error *error)
{
    const distil_info *info = distil_model_info(model);
    struct measurement taken = {.times = calloc(MOST_REPETITIONS, sizeof *taken.times)};
    distil_tokens **texts = calloc((size_t)shape->texts, sizeof(distil_tokens *));
    float *logits = calloc((size_t)shape->texts * (size_t)info->label_count, sizeof *logits);
    distil_status status;
    if (!taken.times || !texts || !logits) {
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory to time shape %s", shape->name);
        goto done;
    }
    status = tool_shape_texts(shape, model, texts, error);
    if (!status)
        status = measure(session, texts, shape, settings->seconds, logits, &taken, error);
    if (!status) {
        print(settings, shape, &taken, info, distil_session_threads(session), peak);
        status = tool_flush(stdout, error);
    }
done:
    for (int i = 0; texts && i < shape->texts; i++)
        distil_tokens_free(texts[i]);
    free(texts);
    free(logits);
    free(taken.times);
    return status;
}

struct shapes {
    struct tool_shape *all; /* (count) */
    int count;
};

static void free_shapes(struct shapes *shapes)
{
    for (int i = 0; i < shapes->count; i++)
        tool_shape_free(&shapes->all[i]);
    free(shapes->all);
}

/* Reads every shape of the list, so that a wrong one is found before anything is timed. */
static distil_status parse_shapes(struct shapes *shapes, const char *list, int window,
                                  distil_error *error)
{
    size_t most = 1;
    for (const char *at = list; *at; at++)
        most += *at == ',';
    *shapes = (struct shapes){.all = calloc(most, sizeof *shapes->all)};
    if (!shapes->all)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %zu shapes", most);
    distil_status status = DISTIL_OK;
    for (const char *at = list; at && !status;) {
        const char *comma = strchr(at, ',');
        status = tool_shape_parse(&shapes->all[shapes->count++], at,
                                  comma ? (size_t)(comma - at) : strlen(at), window, error);
        at = comma ? comma + 1 : NULL;
    }
    return status;
}

static distil_status bench_all(const struct settings *settings, const distil_model *model,
                               distil_session *session, const struct shapes *shapes,
                               distil_error *error)
{
    const distil_info *info = distil_model_info(model);
    double peak = kern_peak_gops(kern_level_from_name(info->cpu), model->scheme);
    distil_status status = DISTIL_OK;
    if (!settings->json)
        printf("%s, %s on %s, %d threads, peak %.0f GOP/s a thread\n%-10s %10s %10s %12s %9s %8s\n",
               info->path, info->precision, info->cpu, distil_session_threads(session), peak,
               "shape", "median ms", "min ms", "tokens/s", "GOP/s", "of peak");
    for (int i = 0; i < shapes->count && !status; i++)
        status = bench_shape(settings, model, session, &shapes->all[i], peak, error);
    return status;
}

static int run(const void *opaque, int count, char **operands)
{
    const struct settings *settings = opaque;
    distil_model *model = NULL;
    distil_session *session = NULL;
    struct shapes shapes = {0};
    distil_error error;
    int result;
    (void)count;
    (void)operands;
    distil_status status = tool_open_classifier(&settings->model, &model, &session, &error);
    if (status)
        return tool_failed("bench", &error);
    status = parse_shapes(&shapes, settings->shapes, distil_model_info(model)->window, &error);
    if (status == DISTIL_INVALID) {
        result = tool_misused("bench", error.message);
    } else {
        if (!status)
            status = bench_all(settings, model, session, &shapes, &error);
        result = status ? tool_failed("bench", &error) : TOOL_OK;
    }
    free_shapes(&shapes);
    distil_session_free(session);
    distil_model_free(model);
    return result;
}

const struct tool_command tool_bench = {
    .name = "bench",
    .summary = "Time a model over batches of given shapes",
    .operands = "",
    .description = "Times a classifier from token ids to logits, and prints for each shape the "
                   "median and least milliseconds, "
                   "tokens a second, the arithmetic done a second and its share of what the "
                   "instructions reach at most, as "
                   "measured here.",
    .options = options,
    .run = run,
    .settings_size = sizeof(struct settings),
};

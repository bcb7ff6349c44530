/* distild profile: where the time of one text goes, operator by operator. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/session.h"
#include "engine/trace.h"
#include "kernels/peak.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/shapes.h"

enum { SPANS = 20000, WARM_UP = 3, READS = 7, READ_UNIT = 4096 };

struct settings {
    struct tool_model_settings model;
    const char *shape, *trace;
    long repeat;
    bool json;
};

static const struct tool_option options[] = {
    {.name = "shape",
     .letter = 's',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct settings, shape),
     .value = "SHAPE",
     .help = "Random tokens instead of a text: BATCHxTOKENS, or mix32"},
    {.name = "repeat",
     .letter = 'r',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct settings, repeat),
     .value = "N",
     .low = 1,
     .high = 100000,
     .fallback = "20",
     .help = "Passes to take the mean of"},
    {.name = "trace",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct settings, trace),
     .value = "FILE",
     .help = "Write the last pass as a Chrome trace, for chrome://tracing or ui.perfetto.dev"},
    {.name = "json",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct settings, json),
     .help = "One JSON object an operator"},
    TOOL_MODEL_OPTION(settings),
    TOOL_COMPUTE_OPTIONS(settings),
    TOOL_END_OPTIONS,
};

/* What the machine can do at most, all threads of the session together. */
struct roof {
    double gops, gigabytes; /* a second */
};

struct reading {
    const char *memory;
    size_t share;
    unsigned seen[1024];
};

static void read_share(void *context, int thread)
{
    struct reading *reading = context;
    reading->seen[thread] =
        kern_read(reading->memory + (size_t)thread * reading->share, reading->share);
}

/* The bandwidth at which all threads together read the packed weights: from the cache that holds them, or from memory. */
static double read_bandwidth(distil_session *session)
{
    const struct distil_model *model = session->model;
    int threads = distil_session_threads(session);
    struct reading reading = {
        .memory = model->memory,
        .share = model->memory_size / (size_t)threads / READ_UNIT * READ_UNIT,
    };
    const struct engine_trace clock = {0};
    double best = 0;
    for (int i = 0; i < READS; i++) {
        double start = engine_trace_now(&clock);
        engine_team_run(session->team, read_share, &reading);
        double speed = 1e-9 * (double)reading.share * threads / (engine_trace_now(&clock) - start);
        best = speed > best ? speed : best;
    }
    return best;
}

static struct roof measure_roof(distil_session *session)
{
    const struct distil_model *model = session->model;
    int threads = distil_session_threads(session);
    return (struct roof){
        .gops = kern_peak_gops(model->kernels.level, model->scheme) * threads,
        .gigabytes = read_bandwidth(session),
    };
}

/* Adds the pass in the trace to `totals` of each operator, all layers and threads together. */
static void add_up(const struct engine_trace *trace, double weight, struct engine_total *totals)
{
    for (int thread = 0; thread < trace->threads; thread++)
        for (int op = 0; op < ENGINE_OP_COUNT; op++) {
            const struct engine_total *total = &trace->totals[thread * ENGINE_OP_COUNT + op];
            totals[op].seconds += weight * total->seconds;
            totals[op].operations += weight * total->operations;
            totals[op].bytes += weight * total->bytes;
        }
}

/* The least seconds that the operator needs under the roof, over those it took. */
static double share_of_roof(const struct engine_total *total, const struct roof *roof, int threads)
{
    double compute = 1e-9 * total->operations / roof->gops;
    double memory = 1e-9 * total->bytes / roof->gigabytes;
    double least = compute > memory ? compute : memory;
    return total->seconds > 0 ? least * threads / total->seconds : 0;
}

static void print_json(const struct engine_total *total, const char *name, double ms, double share,
                       double roof)
{
    printf("{\"operator\":\"%s\",\"ms\":%.4f,\"share\":%.4f,\"gops\":%.2f,\"gb_per_s\":%.2f,"
           "\"share_of_roof\":%.4f}\n",
           name, ms, share, ms > 0 ? 1e-6 * total->operations / ms : 0,
           ms > 0 ? 1e-6 * total->bytes / ms : 0, roof);
}

static void print_totals(const struct settings *settings, const struct engine_total *totals,
                         int threads, const struct roof *roof, double pass_ms)
{
    const struct engine_total none = {0};
    double rest = pass_ms;
    if (!settings->json)
        printf("%-20s %9s %7s %9s %9s %8s\n", "operator", "ms", "share", "GOP/s", "GB/s",
               "of roof");
    for (int op = 0; op < ENGINE_OP_COUNT; op++) {
        const struct engine_total *total = &totals[op];
        const char *name = engine_operator_name((enum engine_operator)op);
        double ms = 1e3 * total->seconds / threads, roofed = share_of_roof(total, roof, threads);
        rest -= ms;
        if (settings->json)
            print_json(total, name, ms, ms / pass_ms, roofed);
        else
            printf("%-20s %9.3f %6.1f%% %9.1f %9.1f %7.0f%%\n", name, ms, 100 * ms / pass_ms,
                   ms > 0 ? 1e-6 * total->operations / ms : 0,
                   ms > 0 ? 1e-6 * total->bytes / ms : 0, 100 * roofed);
    }
    if (settings->json)
        print_json(&none, "rest", rest, rest / pass_ms, 0);
    else
        printf("%-20s %9.3f %6.1f%%\n%-20s %9.3f\n", "rest", rest, 100 * rest / pass_ms,
               "whole pass", pass_ms);
}

/* The spans now in the trace as complete events; times from the first span's start. "droppedSpans" says how many did not fit. */
static distil_status write_trace(const char *path, const struct engine_trace *trace,
                                 distil_error *error)
{
    FILE *out = fopen(path, "we");
    double origin = 0;
    long dropped = 0;
    int first = 1;
    if (!out)
        return distil_fail(error, DISTIL_IO, "%s: cannot be written: %s", path, strerror(errno));
    for (int thread = 0; thread < trace->threads; thread++) {
        dropped += trace->dropped[thread];
        if (trace->counts[thread]) {
            double start = trace->spans[(long)thread * trace->capacity].start;
            origin = origin == 0 || start < origin ? start : origin;
        }
    }
    fprintf(out, "{\"otherData\":{\"droppedSpans\":%ld},\"traceEvents\":[", dropped);
    for (int thread = 0; thread < trace->threads; thread++)
        for (int i = 0; i < trace->counts[thread]; i++) {
            const struct engine_span *span = &trace->spans[(long)thread * trace->capacity + i];
            fprintf(out,
                    "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,"
                    "\"dur\":%.3f,\"args\":{\"layer\":%d,\"operations\":%.0f,\"bytes\":%.0f}}",
                    first ? "" : ",", engine_operator_name(span->op), thread,
                    1e6 * (span->start - origin), 1e6 * (span->end - span->start), span->layer,
                    span->operations, span->bytes);
            first = 0;
        }
    fputs("\n]}\n", out);
    if (fclose(out))
        return distil_fail(error, DISTIL_IO, "%s: could not be written whole", path);
    return DISTIL_OK;
}

static distil_status profile(const struct settings *settings, distil_session *session,
                             const distil_tokens *const *texts, int count, distil_error *error)
{
    const distil_info *info = distil_model_info(session->model);
    int threads = distil_session_threads(session);
    struct engine_total totals[ENGINE_OP_COUNT] = {0};
    struct engine_trace *trace = NULL;
    const struct engine_trace clock = {0};
    double seconds = 0;
    float *logits = calloc((size_t)count * (size_t)info->label_count, sizeof *logits);
    distil_status status = engine_trace_create(&trace, threads, SPANS, error);
    if (!status && !logits)
        status = distil_fail(error, DISTIL_NO_MEMORY, "no memory for logits");
    if (status)
        goto done;
    engine_session_trace(session, trace);
    for (long i = -WARM_UP; i < settings->repeat && !status; i++) {
        engine_trace_clear(trace);
        double start = engine_trace_now(&clock);
        status = distil_logits(session, texts, count, logits, error);
        if (i < 0)
            continue;
        seconds += engine_trace_now(&clock) - start;
        add_up(trace, 1.0 / (double)settings->repeat, totals);
    }
    engine_session_trace(session, NULL);
    if (!status) {
        const struct roof roof = measure_roof(session);
        if (!settings->json)
            printf("%s, %s on %s, %d threads; roof %.0f GOP/s, %.1f GB/s over the packed weights\n",
                   info->path, info->precision, info->cpu, threads, roof.gops, roof.gigabytes);
        print_totals(settings, totals, threads, &roof, 1e3 * seconds / (double)settings->repeat);
        if (settings->trace)
            status = write_trace(settings->trace, trace, error);
    }
    if (!status)
        status = tool_flush(stdout, error);
done:
    engine_trace_free(trace);
    free(logits);
    return status;
}

static distil_status profile_shape(const struct settings *settings, distil_session *session,
                                   distil_error *error)
{
    const distil_model *model = session->model;
    struct tool_shape shape;
    distil_tokens **texts = NULL;
    distil_status status = tool_shape_parse(&shape, settings->shape, strlen(settings->shape),
                                            distil_model_info(model)->window, error);
    if (!status) {
        texts = calloc((size_t)shape.texts, sizeof(distil_tokens *));
        status = texts ? tool_shape_texts(&shape, model, texts, error)
                       : distil_fail(error, DISTIL_NO_MEMORY, "no memory for a shape's texts");
    }
    if (!status)
        status =
            profile(settings, session, (const distil_tokens *const *)texts, shape.texts, error);
    for (int i = 0; texts && i < shape.texts; i++)
        distil_tokens_free(texts[i]);
    free(texts);
    tool_shape_free(&shape);
    return status;
}

static distil_status profile_text(const struct settings *settings, distil_session *session,
                                  const char *text, distil_error *error)
{
    distil_tokens *tokens = NULL;
    distil_status status = distil_encode(session->model, text, strlen(text), NULL, 0,
                                         DISTIL_TRUNCATE_RIGHT, &tokens, error);
    const distil_tokens *texts[] = {tokens};
    if (!status)
        status = profile(settings, session, texts, 1, error);
    distil_tokens_free(tokens);
    return status;
}

static int run(const void *opaque, int count, char **operands)
{
    const struct settings *settings = opaque;
    distil_model *model = NULL;
    distil_session *session = NULL;
    distil_error error;
    if (!settings->shape == !count)
        return tool_misused("profile", "expected either a TEXT or --shape");
    distil_status status = tool_open_classifier(&settings->model, &model, &session, &error);
    if (!status)
        status = settings->shape ? profile_shape(settings, session, &error)
                                 : profile_text(settings, session, operands[0], &error);
    distil_session_free(session);
    distil_model_free(model);
    return status ? tool_failed("profile", &error) : TOOL_OK;
}

const struct tool_command tool_profile = {
    .name = "profile",
    .summary = "Show where a text's time goes, operator by operator",
    .operands = "[TEXT]",
    .description =
        "Classifies TEXT, or random tokens of a --shape, several times and prints for each "
        "operator its mean milliseconds, its share of the pass, the arithmetic and the memory "
        "traffic a second, and how near that is to the roof: what the instructions and the memory "
        "that holds the weights allow at most, both measured here.",
    .options = options,
    .most_operands = 1,
    .run = run,
    .settings_size = sizeof(struct settings),
};

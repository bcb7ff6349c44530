#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bundled.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"
#include "weights/weights.h"

struct inspect_settings {
    struct tool_model_settings model;
    bool tensors, verify;
    int format;
};

static const struct tool_option options[] = {
    {.name = "tensors",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct inspect_settings, tensors),
     .help = "List every tensor with its type, shape and size"},
    {.name = "verify",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct inspect_settings, verify),
     .help = "Read the whole file and compare its digest with the one that it states"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct inspect_settings, format),
     .pick = TOOL_JSON,
     .help = "Print one JSON object"},
    TOOL_MODEL_OPTION(inspect_settings),
    TOOL_END_OPTIONS};

/* What the tensors of a file add up to, and the listing on the way. */
struct listing {
    bool json, shown;
    long tensors;
    int64_t values; /* of weights: the scales of int8 rows are not parameters */
    size_t bytes;
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void visit(void *context, const struct weights_entry *entry)
{
    struct listing *listing = context;
    int64_t values = 1;
    char shape[200];
    int length = snprintf(shape, sizeof shape, "[");
    for (int i = 0; i < entry->rank && i < 8; i++) {
        values *= entry->shape[i];
        length += snprintf(shape + length, sizeof shape - (size_t)length,
                           i ? ",%" PRId64 : "%" PRId64, entry->shape[i]);
    }
    snprintf(shape + length, sizeof shape - (size_t)length, "]");
    if (listing->shown && listing->json) {
        fputs(listing->tensors ? ",{\"name\":" : "{\"name\":", stdout);
        tool_json_string(stdout, entry->name);
        fprintf(stdout, ",\"dtype\":\"%s\",\"shape\":%s,\"bytes\":%zu}", entry->dtype, shape,
                entry->bytes);
    } else if (listing->shown) {
        fprintf(stdout, "  %-5s %-14s %12zu  ", entry->dtype, shape, entry->bytes);
        tool_plain_text(stdout, entry->name, strlen(entry->name), 0);
        fputc('\n', stdout);
    }
    listing->tensors++;
    listing->bytes += entry->bytes;
    if (!ends_with(entry->name, "scale"))
        listing->values += values;
}

static const char *task_name(enum weights_task task)
{
    switch (task) {
    case WEIGHTS_TASK_NONE:
        return "none";
    case WEIGHTS_TASK_SEQUENCE_CLASSIFICATION:
        return "sequence-classification";
    case WEIGHTS_TASK_TOKEN_CLASSIFICATION:
        return "token-classification";
    case WEIGHTS_TASK_QUESTION_ANSWERING:
        return "question-answering";
    }
    return "unknown";
}

static const char *problem_name(enum weights_problem problem)
{
    return problem == WEIGHTS_MULTI_LABEL  ? "multi-label"
           : problem == WEIGHTS_REGRESSION ? "regression"
                                           : "single-label";
}

static const char *pooling_name(enum weights_pooling pooling)
{
    return pooling == WEIGHTS_POOLING_CLS ? "cls" : pooling == WEIGHTS_POOLING_MAX ? "max" : "mean";
}

static const char *architecture_name(enum weights_architecture architecture)
{
    return architecture == WEIGHTS_DISTILBERT ? "DistilBERT" : "BERT";
}

static void print_json(const struct weights_model *model, const struct listing *sum,
                       const struct inspect_settings *settings)
{
    const struct weights_config *config = &model->config;
    const struct weights_tokenizer *tokenizer = &model->tokenizer;
    fputs("{\"path\":", stdout);
    tool_json_string(stdout, model->path);
    fprintf(stdout, ",\"architecture\":\"%s\",\"task\":\"%s\"",
            architecture_name(config->architecture), task_name(config->task));
    if (config->task == WEIGHTS_TASK_SEQUENCE_CLASSIFICATION)
        fprintf(stdout, ",\"problem\":\"%s\"", problem_name(config->problem));
    if (config->task == WEIGHTS_TASK_NONE)
        fprintf(stdout, ",\"pooling\":\"%s\",\"normalize\":%s", pooling_name(config->pooling),
                config->normalize ? "true" : "false");
    fprintf(stdout,
            ",\"hidden\":%d,\"layers\":%d,\"heads\":%d,\"ffn\":%d,\"vocab\":%d,\"window\":%d,"
            "\"norm_eps\":",
            config->hidden, config->layers, config->heads, config->ffn, config->vocab,
            config->window);
    tool_json_float(stdout, config->norm_eps);
    fputs(",\"labels\":[", stdout);
    for (int i = 0; i < config->label_count; i++) {
        if (i)
            fputc(',', stdout);
        tool_json_string(stdout, config->labels[i]);
    }
    fprintf(stdout,
            "],\"dtype\":\"%s\",\"parameters\":%" PRId64 ",\"tensors\":%ld,\"tensor_bytes\":%zu,"
            "\"tokenizer\":{\"tokens\":%d,\"added\":%d,\"lowercase\":%s,\"strip_accents\":%s},"
            "\"digest\":",
            weights_dtype_name(model->word.dtype), sum->values, sum->tensors, sum->bytes,
            tokenizer->count, tokenizer->added_count, tokenizer->lowercase ? "true" : "false",
            tokenizer->strip_accents ? "true" : "false");
    if (*model->digest)
        tool_json_string(stdout, model->digest);
    else
        fputs("null", stdout);
    if (settings->verify)
        fputs(",\"verified\":true", stdout);
    if (settings->tensors) {
        struct listing list = {.json = true, .shown = true};
        fputs(",\"tensor_table\":[", stdout);
        weights_each(model, visit, &list);
        fputc(']', stdout);
    }
    fputs("}\n", stdout);
}

static void print_table(const struct weights_model *model, const struct listing *sum,
                        const struct inspect_settings *settings)
{
    const struct weights_config *config = &model->config;
    const struct weights_tokenizer *tokenizer = &model->tokenizer;
    fprintf(stdout,
            "file          %s\narchitecture  %s, %d layers of %d, %d heads, feed-forward %d, "
            "window %d\n",
            model->path, architecture_name(config->architecture), config->layers, config->hidden,
            config->heads, config->ffn, config->window);
    fprintf(stdout, "task          %s%s%s\n", task_name(config->task),
            config->task == WEIGHTS_TASK_SEQUENCE_CLASSIFICATION ? ", " : "",
            config->task == WEIGHTS_TASK_SEQUENCE_CLASSIFICATION ? problem_name(config->problem)
                                                                 : "");
    if (config->task == WEIGHTS_TASK_NONE)
        fprintf(stdout, "embeddings    %s pooling, %s\n", pooling_name(config->pooling),
                config->normalize ? "of length 1" : "not normalised");
    if (config->label_count > 0)
        fprintf(stdout, "labels        %d:", config->label_count);
    for (int i = 0; i < config->label_count && i < 20; i++) {
        fputc(' ', stdout);
        tool_plain_text(stdout, config->labels[i], strlen(config->labels[i]), 60);
    }
    if (config->label_count > 0)
        fputs(config->label_count > 20 ? " ...\n" : "\n", stdout);
    fprintf(stdout, "weights       %s, %.3g million parameters, %ld tensors of %.3g MB\n",
            weights_dtype_name(model->word.dtype), (double)sum->values / 1e6, sum->tensors,
            (double)sum->bytes / 1e6);
    fprintf(stdout, "tokenizer     WordPiece, %d tokens, %d added, %s, accents %s\n",
            tokenizer->count, tokenizer->added_count,
            tokenizer->lowercase ? "lower-cased" : "cased",
            tokenizer->strip_accents ? "stripped" : "kept");
    fprintf(stdout, "digest        %s%s\n",
            *model->digest ? model->digest : "none (a HuggingFace directory)",
            settings->verify ? " (verified)" : "");
    if (settings->tensors) {
        struct listing list = {.shown = true};
        fputs("tensors\n", stdout);
        weights_each(model, visit, &list);
    }
}

static distil_status inspect(const char *path, const struct inspect_settings *settings,
                             distil_error *error)
{
    struct weights_model *model = NULL;
    struct listing sum = {0};
    distil_status status = weights_open(&model, path, error);
    if (status)
        return status;
    if (settings->verify && !*model->digest)
        status = distil_fail(error, DISTIL_UNSUPPORTED,
                             "%s: a HuggingFace directory states no digest to verify", path);
    else if (settings->verify)
        status = weights_verify(model, error);
    if (!status) {
        weights_each(model, visit, &sum);
        if (settings->format == TOOL_JSON)
            print_json(model, &sum, settings);
        else
            print_table(model, &sum, settings);
        status = tool_flush(stdout, error);
    }
    weights_free(model);
    return status;
}

static int run_inspect(const void *given, int count, char **operands)
{
    const struct inspect_settings *settings = given;
    char *bundled = NULL;
    distil_error error;
    distil_status status = DISTIL_OK;
    const char *path = count > 0 ? operands[0] : settings->model.path;
    if (!path) {
        status = engine_default_model(&bundled, &error);
        path = bundled;
    }
    if (!status)
        status = inspect(path, settings, &error);
    free(bundled);
    return status ? tool_failed("inspect", &error) : TOOL_OK;
}

const struct tool_command tool_inspect = {
    .name = "inspect",
    .summary = "Show what is inside a model",
    .operands = "[FILE]",
    .description = "Shows the architecture, size, labels, tokenizer and digest of FILE: a model "
                   "file or a HuggingFace directory; without "
                   "one, of what --model names, else of the bundled model.",
    .options = options,
    .least_operands = 0,
    .most_operands = 1,
    .run = run_inspect,
    .settings_size = sizeof(struct inspect_settings)};

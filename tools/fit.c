#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/cpus.h"
#include "engine/level.h"
#include "tools/commands.h"
#include "tools/dataset.h"
#include "tools/embed_texts.h"
#include "tools/golden.h"
#include "tools/logistic.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "weights/head.h"

struct fit_settings {
    struct tool_model_settings model;
    const char *output, *text_column, *label_column, *positive_from;
    struct tool_list labels;
    double c;
    long folds, batch;
    bool jsonl;
    int format;
};

static const struct tool_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct fit_settings, output),
     .value = "FILE",
     .help = "The model file to write; one that exists is replaced once the new one is complete"},
    {.name = "encoder",
     .letter = 'e',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct fit_settings, model.path),
     .value = "PATH",
     .help = "The encoder whose embeddings are learnt from: a converted file or a HuggingFace "
             "directory; without one, the bundled sentence encoder"},
    {.name = "positive-from",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct fit_settings, positive_from),
     .value = "X",
     .help = "Labels are numbers, such as stars: from X on they become POSITIVE, below it "
             "NEGATIVE"},
    {.name = "labels",
     .kind = TOOL_LIST,
     .offset = offsetof(struct fit_settings, labels),
     .value = "NAME",
     .help = "What the model is to call the labels, in their order (numbers by value, names by "
             "their letters); to be given once for each"},
    {.name = "text-column",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct fit_settings, text_column),
     .value = "NAME",
     .help = "The column or field of the text; without it, sentence, text or inputs"},
    {.name = "label-column",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct fit_settings, label_column),
     .value = "NAME",
     .help = "The column or field of the label; without it, label"},
    {.name = "jsonl",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct fit_settings, jsonl),
     .help = "TRAIN has one JSON object a line, with the fields \"text\" (or \"sentence\" or "
             "\"inputs\") and \"label\"; a name that ends in .jsonl says so too"},
    {.name = "c",
     .kind = TOOL_REAL,
     .offset = offsetof(struct fit_settings, c),
     .value = "C",
     .low = 0,
     .high = 1e9,
     .fallback = "0",
     .help = "How much the texts count against the size of the weights, as scikit-learn has it; 0 "
             "finds it by cross-validation"},
    {.name = "folds",
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct fit_settings, folds),
     .value = "N",
     .low = 2,
     .high = TOOL_LOGISTIC_FOLDS_MAX,
     .fallback = "5",
     .help = "Parts that cross-validation holds out in turn"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct fit_settings, format),
     .pick = TOOL_JSON,
     .help = "Print what was found as a JSON object"},
    {.name = "batch",
     .letter = 'b',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct fit_settings, batch),
     .value = "N",
     .low = 1,
     .high = 1024,
     .fallback = "64",
     .help = "Texts to embed together"},
    TOOL_COMPUTE_OPTIONS(fit_settings),
    TOOL_END_OPTIONS};

/* Everything a run of the command holds. */
struct fit {
    const struct fit_settings *settings;
    const char *data;
    double positive_from;
    struct tool_dataset dataset;
    struct tool_embedder encoder;
    long *counts;   /* (labels): rows of each */
    long *position; /* (rows): where each goes */
    long fold_start[TOOL_LOGISTIC_FOLDS_MAX + 1];
    int folds;
    float *vectors; /* (rows, hidden), in that order */
    int *label;     /* (rows), in that order */
    struct tool_logistic head;
    char digest[65];
    double embedding_seconds, training_seconds;
};

static int label_count(const struct fit *run)
{
    return run->dataset.label_count;
}

static const char *label_name(const struct fit *run, int i)
{
    return run->dataset.labels[i];
}

/* ---- the data ---- */

/* What --labels calls the labels that were found. */
static distil_status rename_labels(struct fit *run, distil_error *error)
{
    const struct tool_list *names = &run->settings->labels;
    struct tool_dataset *set = &run->dataset;
    if (names->count && names->count != set->label_count)
        return distil_fail(error, DISTIL_INVALID,
                           "--labels: expected a name for each of the %d labels of %s, found %d",
                           set->label_count, run->data, names->count);
    for (int i = 0; i < names->count; i++) {
        char *name = strndup(names->items[i], names->lengths[i]);
        if (!name)
            return distil_fail(error, DISTIL_NO_MEMORY, "no memory for labels");
        free(set->labels[i]);
        set->labels[i] = name;
        for (int k = 0; k < i; k++)
            if (strcmp(set->labels[k], name) == 0)
                return distil_fail(error, DISTIL_INVALID, "--labels: '%.60s' is given twice", name);
    }
    return DISTIL_OK;
}

/* There must be at least two labels, and of each at least two rows: to learn from, and to check with. */
static distil_status check_labels(struct fit *run, distil_error *error)
{
    const struct tool_dataset *set = &run->dataset;
    if (set->label_count < 2)
        return distil_fail(error, DISTIL_FORMAT,
                           "%s: expected at least two labels, found one: all %ld rows have '%.60s'",
                           run->data, set->count, set->labels[0]);
    run->counts = calloc((size_t)set->label_count, sizeof *run->counts);
    if (!run->counts)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for labels");
    for (long i = 0; i < set->count; i++)
        run->counts[set->rows[i].label]++;
    run->folds = (int)run->settings->folds;
    for (int k = 0; k < set->label_count; k++) {
        if (run->counts[k] < 2)
            return distil_fail(
                error, DISTIL_FORMAT,
                "%s: label '%.60s': expected at least two rows, to learn from and to "
                "check with, found %ld (is it a header? then --text-column and "
                "--label-column name the columns)",
                run->data, set->labels[k], run->counts[k]);
        if (run->counts[k] < run->folds)
            run->folds = (int)run->counts[k];
    }
    return DISTIL_OK;
}

static distil_status read_data(struct fit *run, distil_error *error)
{
    const struct fit_settings *settings = run->settings;
    const size_t length = strlen(run->data);
    const struct tool_dataset_options how = {
        .text_column = settings->text_column,
        .label_column = settings->label_column,
        .positive_from = settings->positive_from ? &run->positive_from : NULL,
        .jsonl = settings->jsonl || (length > 6 && strcmp(run->data + length - 6, ".jsonl") == 0)};
    distil_status status = tool_dataset_read(&run->dataset, run->data, &how, NULL, error);
    if (!status)
        status = check_labels(run, error);
    return status ? status : rename_labels(run, error);
}

/* ---- the embeddings ---- */

/* Embeds rows first..first+n and puts each where it belongs. */
static distil_status embed_batch(struct fit *run, long first, int n, float *batch,
                                 distil_error *error)
{
    const char *texts[1024];
    size_t lengths[1024];
    const struct tool_dataset *set = &run->dataset;
    const size_t width = (size_t)run->encoder.info->hidden;
    int empty;
    for (int i = 0; i < n; i++) {
        texts[i] = set->arena + set->rows[first + i].text;
        lengths[i] = set->rows[first + i].length;
    }
    distil_status status =
        tool_embedder_embed(&run->encoder, texts, lengths, n, batch, &empty, error);
    if (!status && empty < n)
        status = distil_fail(error, DISTIL_FORMAT,
                             "%s, line %ld: the text is empty: it has nothing that becomes a token",
                             run->data, set->rows[first + empty].line);
    for (int i = 0; i < n && !status; i++) {
        const long to = run->position[first + i];
        memcpy(run->vectors + (size_t)to * width, batch + (size_t)i * width, width * sizeof *batch);
        run->label[to] = set->rows[first + i].label;
    }
    return status;
}

static distil_status embed(struct fit *run, distil_error *error)
{
    struct tool_progress progress;
    const struct tool_dataset *set = &run->dataset;
    const long rows = set->count, most = run->settings->batch;
    const size_t width = (size_t)run->encoder.info->hidden;
    const double start = tool_now();
    long fold_start[sizeof run->fold_start / sizeof *run->fold_start] = {0};
    float *batch = malloc((size_t)most * width * sizeof *batch);
    run->position = malloc((size_t)rows * sizeof *run->position);
    run->label = malloc((size_t)rows * sizeof *run->label);
    run->vectors = malloc((size_t)rows * width * sizeof *run->vectors);
    if (!batch || !run->position || !run->label || !run->vectors) {
        free(batch);
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for %ld embeddings", rows);
    }
    for (long i = 0; i < rows; i++) /* in the order of the file for now */
        run->label[i] = set->rows[i].label;
    distil_status status = tool_logistic_arrange(run->label, rows, set->label_count, run->folds,
                                                 run->position, fold_start, error);
    memcpy(run->fold_start, fold_start, sizeof fold_start);
    tool_progress_start(&progress, "embedding", "texts", true);
    for (long first = 0; first < rows && !status; first += most) {
        const long n = rows - first < most ? rows - first : most;
        status = embed_batch(run, first, (int)n, batch, error);
        tool_progress_update(&progress, (size_t)(first + n), (size_t)rows, first + n);
    }
    tool_progress_end(&progress);
    run->embedding_seconds = tool_now() - start;
    free(batch);
    return status;
}

/* ---- the head ---- */

static void show_share(void *context, double share)
{
    tool_progress_update(context, (size_t)(share * 1000), 1000, 0);
}

static distil_status train(struct fit *run, distil_error *error)
{
    struct kern_table kernels;
    struct tool_progress progress;
    enum kern_level level;
    const double start = tool_now();
    distil_status status = engine_choose_level(run->settings->model.cpu, &level, error);
    if (status)
        return status;
    kern_table_init(&kernels, level);
    const struct tool_logistic_rows rows = {.rows = run->dataset.count,
                                            .width = run->encoder.info->hidden,
                                            .labels = label_count(run),
                                            .features = run->vectors,
                                            .label = run->label,
                                            .folds = run->folds,
                                            .fold_start = run->fold_start};
    const struct tool_logistic_options how = {.c = run->settings->c,
                                              .threads =
                                                  distil_session_threads(run->encoder.session),
                                              .kernels = &kernels,
                                              .progress = show_share,
                                              .context = &progress};
    tool_progress_start(&progress, "training", NULL, true);
    status = tool_logistic_fit(&run->head, &rows, &how, error);
    tool_progress_end(&progress);
    run->training_seconds = tool_now() - start;
    return status;
}

static void show_progress(void *context, size_t done, size_t total)
{
    tool_progress_update(context, done, total, 0);
}

/* The encoder's file again, with the head. */
static distil_status write_model(struct fit *run, distil_error *error)
{
    struct weights_model *model = NULL, *written = NULL;
    struct tool_progress progress;
    const char *names[TOOL_LABELS_MAX];
    for (int i = 0; i < label_count(run); i++)
        names[i] = label_name(run, i);
    const struct weights_new_head head = {.labels = label_count(run),
                                          .names = names,
                                          .weight = run->head.weights,
                                          .bias = run->head.bias,
                                          .pooling =
                                              (enum weights_pooling)run->encoder.info->pooling,
                                          .normalize = run->encoder.info->normalize != 0};
    distil_status status = weights_open(&model, run->encoder.info->path, error);
    if (!status)
        status = weights_set_head(model, &head, error);
    tool_progress_start(&progress, "writing", NULL, true);
    if (!status)
        status = tool_golden_write(model, run->settings->output, tool_lossless_dtype(model),
                                   show_progress, &progress, error);
    tool_progress_end(&progress);
    weights_free(model);
    if (!status)
        status = weights_open(&written, run->settings->output, error);
    if (!status)
        memcpy(run->digest, written->digest, sizeof run->digest);
    weights_free(written);
    return status;
}

/* ---- the report ---- */

static void print_json(const struct fit *run)
{
    const struct tool_logistic *head = &run->head;
    fputs("{\"path\":", stdout);
    tool_json_string(stdout, run->settings->output);
    fprintf(stdout, ",\"digest\":\"%s\",\"rows\":%ld,\"labels\":{", run->digest,
            run->dataset.count);
    for (int i = 0; i < label_count(run); i++) {
        fputs(i ? "," : "", stdout);
        tool_json_string(stdout, label_name(run, i));
        fprintf(stdout, ":%ld", run->counts[i]);
    }
    fprintf(stdout, "},\"encoder\":");
    tool_json_string(stdout, run->encoder.info->path);
    fprintf(stdout, ",\"c\":");
    tool_json_double(stdout, head->c);
    fputs(",\"cross_validation\":[", stdout);
    for (int i = 0; i < head->tried; i++) {
        fprintf(stdout, "%s{\"c\":", i ? "," : "");
        tool_json_double(stdout, head->trial[i].c);
        fputs(",\"loss\":", stdout);
        tool_json_double(stdout, head->trial[i].loss);
        fputs(",\"accuracy\":", stdout);
        tool_json_double(stdout, head->trial[i].accuracy);
        fputc('}', stdout);
    }
    fprintf(stdout, "],\"iterations\":%d,\"embedding_seconds\":%.3f,\"training_seconds\":%.3f}\n",
            head->iterations, run->embedding_seconds, run->training_seconds);
}

static void print_table(const struct fit *run)
{
    const struct tool_logistic *head = &run->head;
    int width = 5;
    for (int i = 0; i < label_count(run); i++) {
        int label = tool_width(label_name(run, i));
        width = label > width ? label : width;
    }
    tool_padded(stdout, "LABEL", width);
    fputs("      ROWS\n", stdout);
    for (int i = 0; i < label_count(run); i++) {
        tool_padded(stdout, label_name(run, i), width);
        fprintf(stdout, "  %8ld\n", run->counts[i]);
    }
    if (head->tried > 0)
        fprintf(stdout, "\n%10s  held-out loss  accuracy   (%d folds)\n", "C", run->folds);
    for (int i = 0; i < head->tried; i++)
        fprintf(stdout, "%10.4g  %13.4f  %8.4f%s\n", head->trial[i].c, head->trial[i].loss,
                head->trial[i].accuracy, head->trial[i].c == head->c ? "   chosen" : "");
    fprintf(stdout, "\nembedding  %.2f s (%.0f texts/s)\ntraining   %.2f s\n",
            run->embedding_seconds, (double)run->dataset.count / run->embedding_seconds,
            run->training_seconds);
    fprintf(stdout, "%s: %d labels, digest %s\n", run->settings->output, label_count(run),
            run->digest);
}

static distil_status fit(struct fit *run, distil_error *error)
{
    distil_status status = tool_can_save(run->settings->output, error);
    if (!status)
        status = read_data(run, error);
    if (!status)
        status =
            tool_embedder_open(&run->encoder, &run->settings->model, run->settings->batch, error);
    if (!status)
        status = embed(run, error);
    if (!status)
        status = train(run, error);
    if (!status)
        status = write_model(run, error);
    if (!status && run->settings->format == TOOL_JSON)
        print_json(run);
    else if (!status)
        print_table(run);
    return status ? status : tool_flush(stdout, error);
}

static int run_fit(const void *given, int count, char **operands)
{
    const struct fit_settings *settings = given;
    (void)count;
    struct fit run = {.settings = settings, .data = operands[0]};
    distil_error error;
    char *end = NULL;
    if (!settings->output)
        return tool_misused("fit", "--output FILE is missing");
    if (settings->positive_from)
        run.positive_from = strtod(settings->positive_from, &end);
    if (end && (end == settings->positive_from || *end || !isfinite(run.positive_from)))
        return tool_misused("fit", "--positive-from: expected a number");
    distil_status status = fit(&run, &error);
    free(run.counts);
    free(run.position);
    free(run.vectors);
    free(run.label);
    tool_logistic_free(&run.head);
    tool_embedder_close(&run.encoder);
    tool_dataset_free(&run.dataset);
    return status ? tool_failed("fit", &error) : TOOL_OK;
}

const struct tool_command tool_fit = {
    .name = "fit",
    .summary = "Make a classifier of an encoder and labelled texts",
    .operands = "TRAIN.tsv",
    .description =
        "Embeds every text of TRAIN.tsv (- is standard input) with the encoder and learns from the "
        "embeddings which label a text has, by multinomial logistic regression; the encoder stays "
        "as it is. How strongly the weights are kept small is found by cross-validation. What is "
        "written is a model that serve, predict and evaluate take.\n\n"
        "TRAIN.tsv has a text and a label in each line, with a tab between them. A first line that "
        "names the columns sentence (or text) and label may put them in any order among others. "
        "The labels are those found there.",
    .options = options,
    .least_operands = 1,
    .most_operands = 1,
    .run = run_fit,
    .settings_size = sizeof(struct fit_settings)};

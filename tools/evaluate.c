#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/dataset.h"
#include "tools/gate.h"
#include "tools/metrics.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "weights/replacement.h"

struct evaluate_settings {
    struct tool_model_settings model;
    const char *output, *text_column, *label_column, *tests, *catalogue;
    double min_accuracy, error_tolerance;
    long batch;
    bool jsonl;
    int format;
};

static const struct tool_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, output),
     .value = "FILE",
     .fallback = "evaluation.json",
     .help = "Where the figures are written as JSON; - writes none"},
    {.name = "min-accuracy",
     .kind = TOOL_REAL,
     .offset = offsetof(struct evaluate_settings, min_accuracy),
     .value = "X",
     .low = 0,
     .high = 1,
     .fallback = "0",
     .help = "Exit with status 3 when the accuracy is under X"},
    {.name = "tests",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, tests),
     .value = "FILE.json",
     .help = "Instead of DATA: an object with data, target and expected_score, the score that the "
             "model must reach to within --error-tolerance, computed in fp32 unless --precision "
             "says otherwise"},
    {.name = "error-tolerance",
     .kind = TOOL_REAL,
     .offset = offsetof(struct evaluate_settings, error_tolerance),
     .value = "X",
     .low = -1,
     .high = 1,
     .fallback = "-1",
     .help = "How far the score may be from expected_score; -1 is 1e-5 in fp32, and 0.005 in other "
             "precisions"},
    {.name = "catalogue",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, catalogue),
     .value = "FILE",
     .help = "The items that tests of recommendations are about"},
    {.name = "jsonl",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct evaluate_settings, jsonl),
     .help = "DATA has one JSON object a line, with the fields \"text\" (or \"sentence\" or "
             "\"inputs\") and \"label\"; a name "
             "that ends in .jsonl says so too"},
    {.name = "text-column",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, text_column),
     .value = "NAME",
     .help = "The column or field of the text; without it, sentence, text or inputs"},
    {.name = "label-column",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, label_column),
     .value = "NAME",
     .help = "The column or field of the label; without it, label"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct evaluate_settings, format),
     .pick = TOOL_JSON,
     .help = "Print the figures as JSON"},
    {.name = "batch",
     .letter = 'b',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct evaluate_settings, batch),
     .value = "N",
     .low = 1,
     .high = 1024,
     .fallback = "32",
     .help = "Texts to compute together"},
    TOOL_MODEL_OPTION(evaluate_settings),
    TOOL_COMPUTE_OPTIONS(evaluate_settings),
    TOOL_END_OPTIONS};

/* Everything a run of the command holds. */
struct evaluation {
    const struct evaluate_settings *settings;
    const char *data;
    distil_model *model;
    distil_session *session;
    const distil_info *info;
    struct tool_dataset dataset;
    struct tool_metrics metrics;
    distil_tokens **tokens; /* (batch) */
    float *logits;          /* (batch, labels) */
    long truncated;
    double seconds;
};

/* Rows first..first+n, tokenised, computed and counted. */
static distil_status evaluate_batch(struct evaluation *run, long first, int n, distil_error *error)
{
    int labels = run->info->label_count;
    for (int i = 0; i < n; i++) {
        const struct tool_row *row = &run->dataset.rows[first + i];
        const char *text = row->length ? run->dataset.arena + row->text : "";
        distil_status status = distil_encode(run->model, text, row->length, NULL, 0,
                                             DISTIL_TRUNCATE_RIGHT, &run->tokens[i], error);
        if (status)
            return status;
        run->truncated += distil_tokens_truncated(run->tokens[i]);
    }
    distil_status status = distil_logits(run->session, (const distil_tokens *const *)run->tokens, n,
                                         run->logits, error);
    if (status)
        return status;
    for (int i = 0; i < n; i++) {
        int best = tool_likeliest(run->logits + (size_t)i * (size_t)labels, labels);
        tool_metrics_add(&run->metrics, run->dataset.rows[first + i].label, best);
    }
    return DISTIL_OK;
}

static distil_status evaluate_all(struct evaluation *run, distil_error *error)
{
    struct tool_progress progress;
    long rows = run->dataset.count;
    distil_status status = DISTIL_OK;
    double start = tool_now();
    tool_progress_start(&progress, "evaluating", "texts", true);
    for (long first = 0; first < rows && !status; first += run->settings->batch) {
        long n = rows - first < run->settings->batch ? rows - first : run->settings->batch;
        status = evaluate_batch(run, first, (int)n, error);
        tool_progress_update(&progress, (size_t)(first + n), (size_t)rows, first + n);
    }
    tool_progress_end(&progress);
    run->seconds = tool_now() - start;
    tool_metrics_finish(&run->metrics);
    return status;
}

static void write_scores(FILE *out, const struct tool_scores *scores)
{
    fputs("{\"precision\": ", out);
    tool_json_double(out, scores->precision);
    fputs(", \"recall\": ", out);
    tool_json_double(out, scores->recall);
    fputs(", \"f1\": ", out);
    tool_json_double(out, scores->f1);
}

static void write_labels(FILE *out, const struct evaluation *run)
{
    const struct tool_metrics *metrics = &run->metrics;
    fputs("  \"labels\": {", out);
    for (int i = 0; i < metrics->labels; i++) {
        fputs(i ? ",\n    " : "\n    ", out);
        tool_json_string(out, distil_label(run->model, i));
        fputs(": ", out);
        write_scores(out, &metrics->label[i]);
        fprintf(out, ", \"support\": %ld}", metrics->support[i]);
    }
    fputs("\n  },\n", out);
}

static void write_matrix(FILE *out, const struct evaluation *run)
{
    int n = run->metrics.labels;
    fputs("  \"confusion_matrix\": {\n    \"labels\": [", out);
    for (int i = 0; i < n; i++) {
        fputs(i ? ", " : "", out);
        tool_json_string(out, distil_label(run->model, i));
    }
    fputs("],\n    \"rows_are\": \"true labels\",\n    \"matrix\": [", out);
    for (long i = 0; i < n; i++) {
        fputs(i ? ", [" : "[", out);
        for (long j = 0; j < n; j++)
            fprintf(out, j ? ", %ld" : "%ld", run->metrics.matrix[i * n + j]);
        fputc(']', out);
    }
    fputs("]\n  }\n", out);
}

static void write_json(FILE *out, const struct evaluation *run)
{
    const struct tool_metrics *metrics = &run->metrics;
    const struct {
        const char *name;
        const struct tool_scores *scores;
    } averages[] = {
        {"micro", &metrics->micro}, {"macro", &metrics->macro}, {"weighted", &metrics->weighted}};
    fputs("{\n  \"data\": ", out);
    tool_json_string(out, run->data);
    fputs(",\n  \"model\": ", out);
    tool_json_string(out, run->info->path);
    fprintf(out, ",\n  \"digest\": \"%s\",\n  \"distild\": \"" DISTILD_VERSION "\"",
            run->info->digest);
    fprintf(out, ",\n  \"precision\": \"%s\",\n  \"cpu\": \"%s\",\n  \"threads\": %d",
            run->info->precision, run->info->cpu, distil_session_threads(run->session));
    fprintf(out,
            ",\n  \"rows\": %ld,\n  \"truncated\": %ld,\n  \"seconds\": %.4f,\n  "
            "\"texts_per_second\": %.1f",
            metrics->rows, run->truncated, run->seconds, (double)metrics->rows / run->seconds);
    fputs(",\n  \"accuracy\": ", out);
    tool_json_double(out, metrics->accuracy);
    fputs(",\n", out);
    for (size_t i = 0; i < sizeof averages / sizeof averages[0]; i++) {
        fprintf(out, "  \"%s\": ", averages[i].name);
        write_scores(out, averages[i].scores);
        fputs("},\n", out);
    }
    write_labels(out, run);
    write_matrix(out, run);
    fputs("}\n", out);
}

static void print_row(const char *name, int width, const struct tool_scores *scores, long support)
{
    tool_padded(stdout, name, width);
    fprintf(stdout, "  %9.4f  %6.4f  %6.4f  %7ld\n", scores->precision, scores->recall, scores->f1,
            support);
}

static void print_table(const struct evaluation *run)
{
    const struct tool_metrics *metrics = &run->metrics;
    int n = metrics->labels, width = 8;
    for (int i = 0; i < n; i++) {
        int label = tool_width(distil_label(run->model, i));
        width = label > width ? label : width;
    }
    fprintf(stdout, "%ld texts in %.2f s (%.0f/s), %s on %s, %d threads\naccuracy %.4f\n\n",
            metrics->rows, run->seconds, (double)metrics->rows / run->seconds, run->info->precision,
            run->info->cpu, distil_session_threads(run->session), metrics->accuracy);
    fprintf(stdout, "%*s  precision  recall      f1  support\n", width, "");
    for (int i = 0; i < n; i++)
        print_row(distil_label(run->model, i), width, &metrics->label[i], metrics->support[i]);
    fputc('\n', stdout);
    print_row("micro", width, &metrics->micro, metrics->rows);
    print_row("macro", width, &metrics->macro, metrics->rows);
    print_row("weighted", width, &metrics->weighted, metrics->rows);
    fputs("\nConfusion matrix: a row for each true label, a column for each predicted one\n",
          stdout);
    fprintf(stdout, "%*s", width, "");
    for (int j = 0; j < n; j++) {
        fputs("  ", stdout);
        tool_padded(stdout, distil_label(run->model, j), width);
    }
    fputc('\n', stdout);
    for (long i = 0; i < n; i++) {
        tool_padded(stdout, distil_label(run->model, (int)i), width);
        for (long j = 0; j < n; j++)
            fprintf(stdout, "  %-*ld", width, metrics->matrix[i * n + j]);
        fputc('\n', stdout);
    }
    if (run->truncated)
        fprintf(stdout, "\n%ld texts were cut at the model's window of %d tokens\n", run->truncated,
                run->info->window);
}

static distil_status save(const struct evaluation *run, const char *path, distil_error *error)
{
    struct weights_replacement file;
    distil_status status = weights_replacement_open(&file, path, 0666, error);
    if (!status) {
        write_json(file.out, run);
        status = weights_replacement_finish(&file, error);
    }
    weights_replacement_close(&file);
    return status;
}

static distil_status prepare(struct evaluation *run, distil_error *error)
{
    const struct evaluate_settings *settings = run->settings;
    distil_status status =
        tool_open_classifier(&settings->model, &run->model, &run->session, error);
    if (status)
        return status;
    run->info = distil_model_info(run->model);
    size_t labels = (size_t)run->info->label_count, batch = (size_t)settings->batch,
           length = strlen(run->data);
    if (run->info->problem == DISTIL_REGRESSION || labels < 2)
        return distil_fail(error, DISTIL_TASK,
                           "%s: the model gives a number, not one of several labels",
                           run->info->path);
    struct tool_dataset_options how = {.text_column = settings->text_column,
                                       .label_column = settings->label_column};
    how.jsonl = settings->jsonl || (length > 6 && strcmp(run->data + length - 6, ".jsonl") == 0);
    status = tool_dataset_read(&run->dataset, run->data, &how, run->model, error);
    if (!status)
        status = tool_metrics_create(&run->metrics, (int)labels, error);
    if (status)
        return status;
    run->tokens = calloc(batch, sizeof(distil_tokens *));
    run->logits = calloc(batch, labels * sizeof *run->logits);
    return run->tokens && run->logits
               ? DISTIL_OK
               : distil_fail(error, DISTIL_NO_MEMORY, "no memory for a batch of %zu texts", batch);
}

static int run_evaluate(const void *given, int count, char **operands)
{
    const struct evaluate_settings *settings = given;
    if (settings->tests) {
        struct tool_gate gate = {.path = settings->tests,
                                 .catalogue = settings->catalogue,
                                 .model = settings->model,
                                 .tolerance = settings->error_tolerance,
                                 .json = settings->format == TOOL_JSON};
        return count ? tool_misused("evaluate", "either DATA.tsv or --tests is expected, not both")
                     : tool_gate_run(&gate);
    }
    if (count == 0)
        return tool_misused("evaluate", "DATA.tsv or --tests is missing");
    struct evaluation run = {.settings = settings, .data = operands[0]};
    distil_error error;
    distil_status status = prepare(&run, &error);
    if (!status)
        status = evaluate_all(&run, &error);
    if (!status && settings->format == TOOL_JSON)
        write_json(stdout, &run);
    else if (!status)
        print_table(&run);
    if (!status)
        status = tool_flush(stdout, &error);
    if (!status && strcmp(settings->output, "-") != 0)
        status = save(&run, settings->output, &error);
    int result = status ? tool_failed("evaluate", &error) : TOOL_OK;
    if (!status && run.metrics.accuracy < settings->min_accuracy) {
        fprintf(stderr, "distild evaluate: accuracy %.6f is under the %.6f asked for\n",
                run.metrics.accuracy, settings->min_accuracy);
        result = TOOL_BELOW;
    }
    for (long i = 0; run.tokens && i < settings->batch; i++)
        distil_tokens_free(run.tokens[i]);
    free(run.tokens);
    free(run.logits);
    tool_metrics_free(&run.metrics);
    tool_dataset_free(&run.dataset);
    distil_session_free(run.session);
    distil_model_free(run.model);
    return result;
}

const struct tool_command tool_evaluate = {
    .name = "evaluate",
    .summary = "Measure a classifier's accuracy and speed on labelled texts",
    .operands = "DATA.tsv | --tests FILE.json",
    .description = "Classifies every text of DATA.tsv (- is standard input) and compares with its "
                   "label: accuracy, precision, recall and F1, per "
                   "label and micro, macro and weighted, as scikit-learn computes them with "
                   "zero_division=0, and the "
                   "confusion matrix. The figures are also written to evaluation.json.\n\n"
                   "DATA.tsv has a text and a label in each line, with a tab between them. A first "
                   "line that names the columns sentence (or "
                   "text) and label may put them in any order among others. A label is one of the "
                   "model's by name or by "
                   "number. A bad line ends the command before anything is computed.\n\n"
                   "With --tests it is a gate for builds and deployments: data is a list of texts, "
                   "target the label of each, by name or number, and the score is the accuracy; "
                   "of a model that gives numbers, targets are numbers and the score is R^2. "
                   "Where data are objects of age, gender, occupation and movie, the "
                   "recommender learns from the data and target of the field learn, and the score "
                   "is R^2 of what "
                   "it then expects.",
    .exit_note = "3 accuracy under --min-accuracy, or score off expected_score",
    .options = options,
    .least_operands = 0,
    .most_operands = 1,
    .run = run_evaluate,
    .settings_size = sizeof(struct evaluate_settings)};

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/evaluation.h"
#include "tools/gate.h"
#include "tools/output.h"

struct evaluate_settings {
    struct tool_model_settings model;
    const char *output, *text_column, *label_column, *positive_from, *tests, *catalogue,
        *error_tolerance;
    double min_accuracy;
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
     .help = "Where the figures are written as JSON: without it to evaluation.json, with --tests "
             "nowhere; - writes none"},
    {.name = "min-accuracy",
     .kind = TOOL_REAL,
     .offset = offsetof(struct evaluate_settings, min_accuracy),
     .value = "X",
     .low = 0,
     .high = 1,
     .fallback = "0",
     .help = "Exit with status 3 when the accuracy is under X: of an answerer the exact match, of "
             "an encoder Spearman's correlation"},
    {.name = "tests",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, tests),
     .value = "FILE.json",
     .help = "Instead of DATA: an object with data, target and expected_score, the score that the "
             "model must reach to within --error-tolerance, computed in fp32 unless --precision "
             "says otherwise"},
    {.name = "error-tolerance",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, error_tolerance),
     .value = "X",
     .help = "How far the score may be from expected_score, from 0 to 1; without it 1e-5 in fp32, "
             "and in other precisions 0.005, with for an accuracy of N rows 3 sqrt(0.01 / N) "
             "more"},
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
     .help = "The column or field of the label; without it, label, of pairs score"},
    {.name = "positive-from",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct evaluate_settings, positive_from),
     .value = "X",
     .help =
         "Labels are numbers, such as stars: those from X on are POSITIVE, the others NEGATIVE"},
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

/* What was measured, by the model's task. */
struct figures {
    struct tool_evaluation evaluation;
    struct tool_metrics metrics;
    struct tool_squad squad;
    struct tool_pairs pairs;
    double accuracy; /* that --min-accuracy is about */
};

static distil_status open_model(const struct evaluate_settings *settings,
                                struct tool_evaluation *evaluation, distil_error *error)
{
    distil_status status = tool_open_model(&settings->model, &evaluation->model, error);
    if (status)
        return status;
    evaluation->info = distil_model_info(evaluation->model);
    if (evaluation->info->task == DISTIL_TASK_TOKENS)
        return distil_fail(error, DISTIL_TASK,
                           "%s: the model has a token classification head, which is not measured",
                           evaluation->info->path);
    return distil_session_create(evaluation->model, (int)settings->model.threads,
                                 &evaluation->session, error);
}

static distil_status measure_labels(const struct evaluate_settings *settings, const double *from,
                                    struct figures *figures, distil_error *error)
{
    const char *data = figures->evaluation.data;
    size_t length = strlen(data);
    const struct tool_dataset_options how = {
        .text_column = settings->text_column,
        .label_column = settings->label_column,
        .jsonl = settings->jsonl || (length > 6 && strcmp(data + length - 6, ".jsonl") == 0),
        .positive_from = from};
    return tool_labels_measure(&figures->evaluation, &how, &figures->metrics, error);
}

static distil_status measure(const struct evaluate_settings *settings, const double *from,
                             struct figures *figures, distil_error *error)
{
    struct tool_evaluation *evaluation = &figures->evaluation;
    distil_status status = open_model(settings, evaluation, error);
    if (status)
        return status;
    switch (evaluation->info->task) {
    case DISTIL_TASK_ANSWER:
        status = tool_squad_measure(evaluation, &figures->squad, error);
        figures->accuracy = figures->squad.exact;
        break;
    case DISTIL_TASK_NONE:
        status = tool_pairs_measure(evaluation, &figures->pairs, error);
        figures->accuracy = figures->pairs.spearman;
        break;
    case DISTIL_TASK_CLASSIFY:
    case DISTIL_TASK_TOKENS:
        status = measure_labels(settings, from, figures, error);
        figures->accuracy = figures->metrics.accuracy;
        break;
    }
    return status;
}

static void write_json(FILE *out, const void *context)
{
    const struct figures *figures = context;
    if (figures->evaluation.info->task == DISTIL_TASK_ANSWER)
        tool_squad_write(out, &figures->evaluation, &figures->squad);
    else if (figures->evaluation.info->task == DISTIL_TASK_NONE)
        tool_pairs_write(out, &figures->evaluation, &figures->pairs);
    else
        tool_labels_write(out, &figures->evaluation, &figures->metrics);
}

static void print_table(const struct figures *figures)
{
    const struct tool_evaluation *evaluation = &figures->evaluation;
    if (evaluation->info->task == DISTIL_TASK_ANSWER)
        tool_squad_print(evaluation, &figures->squad);
    else if (evaluation->info->task == DISTIL_TASK_NONE)
        tool_pairs_print(evaluation, &figures->pairs);
    else
        tool_labels_print(evaluation, &figures->metrics);
    if (evaluation->truncated)
        fprintf(stdout, "\n%ld texts were cut at the model's window of %d tokens\n",
                evaluation->truncated, evaluation->info->window);
}

static int run_gate(const struct evaluate_settings *settings)
{
    const char *text = settings->error_tolerance;
    char *end = NULL;
    double tolerance = text ? strtod(text, &end) : -1;
    if (text && (end == text || *end || !(tolerance >= 0 && tolerance <= 1)))
        return tool_misused("evaluate", "--error-tolerance: expected a number from 0 to 1");
    const struct tool_gate gate = {.path = settings->tests,
                                   .catalogue = settings->catalogue,
                                   .output = settings->output,
                                   .model = settings->model,
                                   .tolerance = tolerance,
                                   .json = settings->format == TOOL_JSON};
    return tool_gate_run(&gate);
}

static int run_data(const struct evaluate_settings *settings, const double *from, const char *data)
{
    struct figures figures = {.evaluation = {.data = data,
                                             .score_column = settings->label_column,
                                             .batch = settings->batch}};
    const char *output = settings->output ? settings->output : "evaluation.json";
    distil_error error;
    distil_status status = measure(settings, from, &figures, &error);
    if (!status && settings->format == TOOL_JSON)
        write_json(stdout, &figures);
    else if (!status)
        print_table(&figures);
    if (!status)
        status = tool_flush(stdout, &error);
    if (!status && strcmp(output, "-") != 0)
        status = tool_save(output, write_json, &figures, &error);
    int result = status ? tool_failed("evaluate", &error) : TOOL_OK;
    if (!status && !(figures.accuracy >= settings->min_accuracy) && settings->min_accuracy > 0) {
        fprintf(stderr, "distild evaluate: %s %.6f is under the %.6f asked for\n",
                figures.evaluation.info->task == DISTIL_TASK_ANSWER ? "exact match"
                : figures.evaluation.info->task == DISTIL_TASK_NONE ? "Spearman's correlation"
                                                                    : "accuracy",
                figures.accuracy, settings->min_accuracy);
        result = TOOL_BELOW;
    }
    tool_metrics_free(&figures.metrics);
    distil_session_free(figures.evaluation.session);
    distil_model_free(figures.evaluation.model);
    return result;
}

static int run_evaluate(const void *given, int count, char **operands)
{
    const struct evaluate_settings *settings = given;
    char *end = NULL;
    double from = settings->positive_from ? strtod(settings->positive_from, &end) : 0;
    if (end && (end == settings->positive_from || *end || !isfinite(from)))
        return tool_misused("evaluate", "--positive-from: expected a number");
    if (settings->tests && count > 0)
        return tool_misused("evaluate", "either DATA or --tests is expected, not both");
    if (settings->tests)
        return run_gate(settings);
    if (count == 0)
        return tool_misused("evaluate", "DATA or --tests is missing");
    return run_data(settings, settings->positive_from ? &from : NULL, operands[0]);
}

const struct tool_command tool_evaluate = {
    .name = "evaluate",
    .summary = "Measure how good a model is, and how fast",
    .operands = "DATA | --tests FILE.json",
    .description =
        "Classifies every text of DATA (- is standard input) and compares with its "
        "label: accuracy, precision, recall and F1, per "
        "label and micro, macro and weighted, as scikit-learn computes them with "
        "zero_division=0, and the "
        "confusion matrix. The figures are also written to evaluation.json.\n\n"
        "DATA has a text and a label in each line, with a tab between them. A first "
        "line that names the columns sentence (or "
        "text) and label may put them in any order among others. A label is one of the "
        "model's by name or by "
        "number. A bad line ends the command before anything is computed.\n\n"
        "For a model that answers questions, DATA is a file in SQuAD's format, and the "
        "figures are exact match and F1 as SQuAD counts them. For an encoder it is lines of "
        "sentence1, sentence2 and score under a header that names these, and the figures "
        "are the correlations of the cosines with the scores.\n\n"
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

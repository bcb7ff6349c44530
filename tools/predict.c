#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/batches.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"

struct predict_settings {
    struct tool_model_settings model;
    const char *file;
    bool jsonl, raw_scores;
    int format;
    long batch;
};

static const struct tool_option options[] = {
    {.name = "file",
     .letter = 'f',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct predict_settings, file),
     .value = "FILE",
     .help = "Read texts from FILE, one a line; - is standard input"},
    {.name = "jsonl",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct predict_settings, jsonl),
     .help = "Each line is a JSON object with the text in its field \"text\" or \"inputs\"; with "
             "--json its other fields "
             "are passed on"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct predict_settings, format),
     .pick = TOOL_JSON,
     .help = "Print one JSON object a text: label, score, scores, and truncated where the text was "
             "cut"},
    {.name = "tsv",
     .kind = TOOL_PICK,
     .offset = offsetof(struct predict_settings, format),
     .pick = TOOL_TSV,
     .help = "Print tab-separated values with a header line"},
    {.name = "raw-scores",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct predict_settings, raw_scores),
     .help = "Give logits instead of probabilities"},
    {.name = "batch",
     .letter = 'b',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct predict_settings, batch),
     .value = "N",
     .low = 1,
     .high = 1024,
     .fallback = "32",
     .help = "Most texts to compute together; fewer are when no more have arrived"},
    TOOL_MODEL_OPTION(predict_settings),
    TOOL_COMPUTE_OPTIONS(predict_settings),
    TOOL_END_OPTIONS};

/* Everything a run of the command holds. */
struct predict {
    const struct predict_settings *settings;
    distil_model *model;
    distil_session *session;
    const distil_info *info;
    struct tool_batches batches;
    float *logits; /* (batch, labels) of the texts encoded */
    float *scores; /* (labels) */
    int label_width, text_width;
    long truncated, problems;
};

static void print_json(struct predict *run, const struct tool_text *text, int best,
                       const float *shown, bool truncated)
{
    static const char *const ours[] = {"label", "score", "scores", "truncated", "error", NULL};
    fputc('{', stdout);
    if (run->settings->jsonl)
        tool_text_fields(stdout, text, ours);
    fputs("\"label\":", stdout);
    tool_json_string(stdout, distil_label(run->model, best));
    fputs(",\"score\":", stdout);
    tool_json_float(stdout, shown[best]);
    fputs(",\"scores\":{", stdout);
    for (int i = 0; i < run->info->label_count; i++) {
        if (i)
            fputc(',', stdout);
        tool_json_string(stdout, distil_label(run->model, i));
        fputc(':', stdout);
        tool_json_float(stdout, shown[i]);
    }
    fputs(truncated ? "},\"truncated\":true}\n" : "}}\n", stdout);
}

static void print_tsv(struct predict *run, const struct tool_text *text, int best,
                      const float *shown, bool truncated)
{
    const char *label = distil_label(run->model, best);
    tool_tsv_text(stdout, label, strlen(label));
    fputc('\t', stdout);
    tool_json_float(stdout, shown[best]);
    for (int i = 0; i < run->info->label_count; i++) {
        fputc('\t', stdout);
        tool_json_float(stdout, shown[i]);
    }
    fprintf(stdout, "\t%s\t", truncated ? "yes" : "no");
    tool_tsv_text(stdout, text->text, text->length);
    fputc('\n', stdout);
}

static void print_header(struct predict *run)
{
    if (run->settings->format == TOOL_TABLE) {
        tool_padded(stdout, "LABEL", run->label_width);
        fputs("    SCORE  TEXT\n", stdout);
    } else if (run->settings->format == TOOL_TSV) {
        fputs("label\tscore", stdout);
        for (int i = 0; i < run->info->label_count; i++) {
            const char *label = distil_label(run->model, i);
            fputs("\tscore:", stdout);
            tool_tsv_text(stdout, label, strlen(label));
        }
        fputs("\ttruncated\ttext\n", stdout);
    }
}

/* A JSON line that could not be read, or a text without an answer, keeps its place in the output. */
static void print_problem(struct predict *run, const struct tool_text *text)
{
    run->problems++;
    fprintf(stderr, "distild predict: %s\n", text->problem.message);
    if (run->settings->format == TOOL_JSON) {
        fputs("{\"error\":", stdout);
        tool_json_string(stdout, text->problem.message);
        fputs("}\n", stdout);
    } else if (run->settings->format == TOOL_TSV) {
        fputs("error\t", stdout);
        for (int i = 0; i < run->info->label_count; i++)
            fputc('\t', stdout);
        fputs("\tno\t", stdout);
        tool_tsv_text(stdout, text->line, text->line_length);
        fputc('\n', stdout);
    }
}

static void print_result(struct predict *run, int slot, const float *logits)
{
    const struct tool_text *text = &run->batches.slots[slot];
    bool truncated = distil_tokens_truncated(run->batches.tokens[slot]);
    const float *shown = logits;
    if (!run->settings->raw_scores) {
        distil_scores(run->model, logits, run->scores);
        shown = run->scores;
    }
    int best = tool_likeliest(logits, run->info->label_count);
    run->truncated += truncated;
    if (run->settings->format == TOOL_JSON) {
        print_json(run, text, best, shown, truncated);
    } else if (run->settings->format == TOOL_TSV) {
        print_tsv(run, text, best, shown, truncated);
    } else {
        tool_padded(stdout, distil_label(run->model, best), run->label_width);
        fprintf(stdout, "  %7.4f  ", (double)shown[best]);
        tool_plain_text(stdout, text->text, text->length, run->text_width);
        fputc('\n', stdout);
    }
}

/* Marks the texts whose logits are not numbers, and closes the gaps that they leave. */
static void set_apart(struct predict *run, int n)
{
    int labels = run->info->label_count;
    const float *logits = run->logits;
    float *kept = run->logits;
    for (int i = 0; i < n; i++) {
        if (run->batches.slots[i].problem.code)
            continue;
        bool finite = true;
        for (int j = 0; j < labels; j++)
            finite = finite && isfinite(logits[j]);
        if (finite) {
            memmove(kept, logits, (size_t)labels * sizeof *kept);
            kept += labels;
        } else {
            tool_batches_not_finite(&run->batches, i);
        }
        logits += labels;
    }
}

static distil_status compute(void *context, int n, int encoded, distil_error *error)
{
    struct predict *run = context;
    const struct tool_batches *batches = &run->batches;
    if (encoded > 0) {
        distil_status status =
            distil_logits(run->session, batches->encoded, encoded, run->logits, error);
        if (status == DISTIL_NOT_FINITE)
            set_apart(run, n);
        else if (status)
            return status;
    }
    const float *logits = run->logits;
    for (int i = 0; i < n; i++) {
        if (batches->slots[i].problem.code) {
            print_problem(run, &batches->slots[i]);
        } else {
            print_result(run, i, logits);
            logits += run->info->label_count;
        }
    }
    return tool_flush(stdout, error);
}

static distil_status predict_all(struct predict *run, distil_error *error)
{
    /* A terminal that shows the results needs no line that says how many there are. */
    bool shown = run->batches.texts.input.size > 0 && isatty(STDOUT_FILENO) != 1;
    print_header(run);
    distil_status status =
        tool_batches_run(&run->batches, "predicting", shown, compute, run, error);
    return status ? status : tool_flush(stdout, error);
}

static distil_status prepare(struct predict *run, char **operands, int count, distil_error *error)
{
    const struct predict_settings *settings = run->settings;
    distil_status status = tool_texts_open(&run->batches.texts, operands, count, settings->file,
                                           settings->jsonl, error);
    if (!status)
        status = tool_open_classifier(&settings->model, &run->model, &run->session, error);
    if (!status)
        status = tool_batches_create(&run->batches, run->model, settings->batch, error);
    if (status)
        return status;
    run->info = distil_model_info(run->model);
    size_t batch = (size_t)settings->batch, labels = (size_t)run->info->label_count;
    run->logits = calloc(batch, labels * sizeof *run->logits);
    run->scores = calloc(labels, sizeof *run->scores);
    if (!run->logits || !run->scores)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a batch of %zu texts", batch);
    run->label_width = 5;
    for (int i = 0; i < run->info->label_count; i++) {
        int width = tool_width(distil_label(run->model, i));
        run->label_width = width > run->label_width ? width : run->label_width;
    }
    struct winsize size;
    int taken = run->label_width + 11 + 3; /* what stands before the text, and "..." */
    if (isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
        size.ws_col > taken + 10)
        run->text_width = size.ws_col - taken;
    return DISTIL_OK;
}

static void release(struct predict *run)
{
    free(run->logits);
    free(run->scores);
    tool_batches_free(&run->batches);
    distil_session_free(run->session);
    distil_model_free(run->model);
}

static int run_predict(const void *given, int count, char **operands)
{
    const struct predict_settings *settings = given;
    if (count > 0 && settings->file)
        return tool_misused("predict", "texts as arguments and --file exclude each other");
    struct predict run = {.settings = settings};
    distil_error error;
    distil_status status = prepare(&run, operands, count, &error);
    if (!status)
        status = predict_all(&run, &error);
    if (!status && run.truncated && settings->format == TOOL_TABLE)
        fprintf(stderr, "distild predict: %ld text%s cut at the model's window of %d tokens\n",
                run.truncated, run.truncated == 1 ? " was" : "s were", run.info->window);
    int result = status ? tool_failed("predict", &error) : run.problems ? TOOL_FAILURE : TOOL_OK;
    release(&run);
    return result;
}

const struct tool_command tool_predict = {
    .name = "predict",
    .summary = "Classify texts: arguments, a file or standard input",
    .operands = "[TEXT...]",
    .description = "Classifies each TEXT, or each line of a file or of standard input, and prints "
                   "one result a text, as soon as "
                   "it is known. An empty line is an empty text and has a result too, so that line "
                   "n of the output is "
                   "line n of the input.\n\n"
                   "With --jsonl, a line that holds no text gives a result with the field "
                   "\"error\", a message and exit status 1; "
                   "the lines after it are still classified. So has a text for which the model "
                   "computes a value that is not a number.",
    .options = options,
    .least_operands = 0,
    .most_operands = -1,
    .run = run_predict,
    .settings_size = sizeof(struct predict_settings)};

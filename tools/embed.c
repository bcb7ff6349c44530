#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/batches.h"
#include "tools/commands.h"
#include "tools/model.h"
#include "tools/npy.h"
#include "tools/output.h"

struct embed_settings {
    struct tool_model_settings model;
    const char *file, *output, *pooling, *normalize;
    bool jsonl;
    int format; /* TOOL_TABLE: JSON as well, which is what vectors are printed as */
    long batch, dimensions;
};

static const struct tool_option options[] = {
    {.name = "file",
     .letter = 'f',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct embed_settings, file),
     .value = "FILE",
     .help = "Read texts from FILE, one a line; - is standard input"},
    {.name = "jsonl",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct embed_settings, jsonl),
     .help = "Each line is a JSON object with the text in its field \"text\" or \"inputs\"; its "
             "other fields are passed on as JSON"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct embed_settings, format),
     .pick = TOOL_JSON,
     .help = "Print one JSON object a text, with the vector in \"embedding\"; so it does without a "
             "format"},
    {.name = "tsv",
     .kind = TOOL_PICK,
     .offset = offsetof(struct embed_settings, format),
     .pick = TOOL_TSV,
     .help = "Print the numbers with tabs between them, without a header line"},
    {.name = "output",
     .letter = 'o',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct embed_settings, output),
     .value = "FILE",
     .help = "Print nothing, but write a NumPy array (.npy) with a row of float32 for each text"},
    {.name = "pooling",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct embed_settings, pooling),
     .value = "NAME",
     .choices = "mean|cls|max",
     .help = "mean, cls or max: what of its tokens becomes the vector of a text; without it, as "
             "the model says"},
    {.name = "normalize",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct embed_settings, normalize),
     .value = "yes|no",
     .choices = "yes|no",
     .help = "Whether to divide a vector by its length; without it, as the model says"},
    {.name = "dimensions",
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct embed_settings, dimensions),
     .value = "N",
     .low = 0,
     .high = 65536,
     .fallback = "0",
     .help = "Give the first N numbers of each vector alone; 0 gives all"},
    {.name = "batch",
     .letter = 'b',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct embed_settings, batch),
     .value = "N",
     .low = 1,
     .high = 1024,
     .fallback = "32",
     .help = "Most texts to compute together; fewer are when no more have arrived"},
    TOOL_MODEL_OPTION(embed_settings),
    TOOL_COMPUTE_OPTIONS(embed_settings),
    TOOL_END_OPTIONS};

/* Everything a run of the command holds. */
struct embed {
    const struct embed_settings *settings;
    distil_model *model;
    distil_session *session;
    const distil_info *info;
    struct tool_batches batches;
    struct tool_npy npy;
    float *vectors; /* (batch, hidden) of the texts encoded */
    float *none;    /* (hidden): stands for a text without a vector */
    int width;      /* numbers given of a vector */
    long truncated, problems;
};

static void print_vector(const struct embed *run, const float *vector, char between)
{
    for (int i = 0; i < run->width; i++) {
        if (i)
            fputc(between, stdout);
        if (isnan(vector[i]))
            fputs("nan", stdout);
        else
            tool_json_float(stdout, vector[i]);
    }
}

/* vector: NULL where the text has none. */
static distil_status put_result(struct embed *run, const struct tool_text *text,
                                const float *vector, bool truncated, distil_error *error)
{
    static const char *const ours[] = {"embedding", "truncated", "error", NULL};
    if (run->settings->output)
        return tool_npy_add(&run->npy, vector ? vector : run->none, error);
    if (run->settings->format == TOOL_TSV) {
        print_vector(run, vector ? vector : run->none, '\t');
        fputc('\n', stdout);
        return DISTIL_OK;
    }
    fputc('{', stdout);
    if (!vector) {
        fputs("\"error\":", stdout);
        tool_json_string(stdout, text->problem.message);
    } else {
        if (run->settings->jsonl)
            tool_text_fields(stdout, text, ours);
        fputs("\"embedding\":[", stdout);
        print_vector(run, vector, ',');
        fputs(truncated ? "],\"truncated\":true" : "]", stdout);
    }
    fputs("}\n", stdout);
    return DISTIL_OK;
}

static bool is_finite(const float *vector, int n)
{
    for (int i = 0; i < n; i++)
        if (!isfinite(vector[i]))
            return false;
    return true;
}

/* What becomes of the text of a slot, whose vector is the next. */
static distil_status finish(struct embed *run, int slot, float *vector, distil_error *error)
{
    const struct tool_text *text = &run->batches.slots[slot];
    bool truncated = !text->problem.code && distil_tokens_truncated(run->batches.tokens[slot]);
    if (!text->problem.code && !is_finite(vector, run->info->hidden))
        tool_batches_not_finite(&run->batches, slot);
    if (text->problem.code) {
        run->problems++;
        fprintf(stderr, "distild embed: %s\n", text->problem.message);
        return put_result(run, text, NULL, false, error);
    }
    if (run->info->normalize)
        distil_normalize(vector, run->width);
    run->truncated += truncated;
    return put_result(run, text, vector, truncated, error);
}

static distil_status compute(void *context, int n, int encoded, distil_error *error)
{
    struct embed *run = context;
    const struct tool_batches *batches = &run->batches;
    distil_status status = DISTIL_OK;
    float *vector = run->vectors;
    if (encoded > 0)
        status = distil_pool(run->session, batches->encoded, encoded, run->vectors, error);
    if (status == DISTIL_NOT_FINITE) /* of some: finish finds them */
        status = DISTIL_OK;
    for (int i = 0; i < n && !status; i++) {
        bool computed = !batches->slots[i].problem.code;
        status = finish(run, i, vector, error);
        vector += computed ? run->info->hidden : 0;
    }
    return status ? status : tool_flush(stdout, error);
}

static distil_status embed_all(struct embed *run, distil_error *error)
{
    /* A terminal that shows the results needs no line that says how many there are. */
    bool shown =
        run->settings->output || (run->batches.texts.input.size > 0 && isatty(STDOUT_FILENO) != 1);
    distil_status status = tool_batches_run(&run->batches, "embedding", shown, compute, run, error);
    if (!status && run->settings->output)
        status = tool_npy_finish(&run->npy, error);
    return status;
}

static distil_status open_model(struct embed *run, distil_error *error)
{
    const struct embed_settings *settings = run->settings;
    const distil_options how = {
        .precision = settings->model.precision,
        .cpu = settings->model.cpu,
        .pooling = settings->pooling,
        .normalize = !settings->normalize                      ? 0
                     : strcmp(settings->normalize, "yes") == 0 ? 1
                                                               : -1,
    };
    distil_status status =
        tool_open_task(settings->model.path, DISTIL_TASK_NONE, &how, &run->model, error);
    if (status)
        return status;
    run->info = distil_model_info(run->model);
    run->width = settings->dimensions ? (int)settings->dimensions : run->info->hidden;
    if (run->width > run->info->hidden)
        return distil_fail(error, DISTIL_INVALID,
                           "--dimensions: %s has vectors of %d, %d are wanted", run->info->path,
                           run->info->hidden, run->width);
    return distil_session_create(run->model, (int)settings->model.threads, &run->session, error);
}

static distil_status prepare(struct embed *run, char **operands, int count, distil_error *error)
{
    const struct embed_settings *settings = run->settings;
    distil_status status = tool_texts_open(&run->batches.texts, operands, count, settings->file,
                                           settings->jsonl, error);
    if (!status)
        status = open_model(run, error);
    if (!status)
        status = tool_batches_create(&run->batches, run->model, settings->batch, error);
    if (status)
        return status;
    size_t batch = (size_t)settings->batch, hidden = (size_t)run->info->hidden;
    run->vectors = calloc(batch, hidden * sizeof *run->vectors);
    run->none = calloc(hidden, sizeof *run->none);
    if (!run->vectors || !run->none)
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a batch of %zu texts", batch);
    for (size_t i = 0; i < hidden; i++)
        run->none[i] = NAN;
    return settings->output ? tool_npy_open(&run->npy, settings->output, run->width, error)
                            : DISTIL_OK;
}

static void release(struct embed *run)
{
    free(run->vectors);
    free(run->none);
    tool_npy_close(&run->npy);
    tool_batches_free(&run->batches);
    distil_session_free(run->session);
    distil_model_free(run->model);
}

static int run_embed(const void *given, int count, char **operands)
{
    const struct embed_settings *settings = given;
    if (count > 0 && settings->file)
        return tool_misused("embed", "texts as arguments and --file exclude each other");
    if (settings->output && settings->format != TOOL_TABLE)
        return tool_misused("embed", "--output and a format to print exclude each other");
    struct embed run = {.settings = settings};
    distil_error error;
    distil_status status = prepare(&run, operands, count, &error);
    if (!status)
        status = embed_all(&run, &error);
    if (!status && run.truncated && (settings->output || settings->format == TOOL_TSV))
        fprintf(stderr, "distild embed: %ld text%s cut at the model's window of %d tokens\n",
                run.truncated, run.truncated == 1 ? " was" : "s were", run.info->window);
    int result = status ? tool_failed("embed", &error) : run.problems ? TOOL_FAILURE : TOOL_OK;
    release(&run);
    return result;
}

const struct tool_command tool_embed = {
    .name = "embed",
    .summary = "Make a vector of each text: arguments, a file or standard input",
    .operands = "[TEXT...]",
    .description = "Makes a vector of each TEXT, or of each line of a file or of standard input, "
                   "and prints it as soon as it is known, or writes all of them as a NumPy array. "
                   "Without --model it is the bundled sentence encoder that does. An empty line is "
                   "an empty text and has a vector too, so that vector n is that of line n.\n\n"
                   "A line of --jsonl that holds no text, and a text for which the model computes "
                   "a value that is not a number, gives the field \"error\" in JSON, and a vector "
                   "of NaN elsewhere; the exit status is then 1.",
    .options = options,
    .least_operands = 0,
    .most_operands = -1,
    .run = run_embed,
    .settings_size = sizeof(struct embed_settings)};

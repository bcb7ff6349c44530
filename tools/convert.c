#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/golden.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "weights/weights.h"

struct convert_settings {
    const char *output, *dtype;
    int format;
};

static const struct tool_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct convert_settings, output),
     .value = "FILE",
     .help = "The model file to write; one that exists is replaced once the new one is complete"},
    {.name = "dtype",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct convert_settings, dtype),
     .value = "NAME",
     .choices = "fp32|fp16|int8",
     .help = "How matrices are stored: fp32, fp16, or int8 with a scale for each row; without it, "
             "as the checkpoint has "
             "them, so that nothing is lost (bf16 becomes fp32)"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct convert_settings, format),
     .pick = TOOL_JSON,
     .help = "Print what was written as a JSON object"},
    TOOL_END_OPTIONS};

/* Whether the two paths are names of one file. */
static bool same_file(const char *a, const struct stat *b)
{
    struct stat about;
    return stat(a, &about) == 0 && about.st_dev == b->st_dev && about.st_ino == b->st_ino;
}

/* An output that is one of the inputs would be mapped while it is replaced, and the checkpoint
 * lost. */
static distil_status check_output(const char *source, const char *output, distil_error *error)
{
    struct stat about;
    if (stat(output, &about) != 0)
        return DISTIL_OK;
    if (S_ISDIR(about.st_mode))
        return distil_fail(error, DISTIL_INVALID, "%s: the output is a directory", output);
    if (!S_ISREG(about.st_mode))
        return distil_fail(error, DISTIL_INVALID, "%s: the output is not a regular file", output);
    bool input = same_file(source, &about);
    DIR *directory = opendir(source);
    for (struct dirent *entry; directory && !input && (entry = readdir(directory));) {
        char path[PATH_MAX];
        int length = snprintf(path, sizeof path, "%s/%s", source, entry->d_name);
        input = length < (int)sizeof path && same_file(path, &about);
    }
    if (directory)
        closedir(directory);
    if (input)
        return distil_fail(error, DISTIL_INVALID,
                           "%s: the output is a file of the model being converted", output);
    return DISTIL_OK;
}

static void show_progress(void *context, size_t done, size_t total)
{
    tool_progress_update(context, done, total, 0);
}

static distil_status report(const struct convert_settings *settings, enum weights_dtype dtype,
                            double seconds, distil_error *error)
{
    struct weights_model *written = NULL;
    struct stat about = {0};
    distil_status status = weights_open(&written, settings->output, error);
    if (status)
        return status;
    if (stat(settings->output, &about) != 0)
        status = distil_fail(error, DISTIL_IO, "%s: gone after it was written", settings->output);
    else if (settings->format == TOOL_JSON) {
        fputs("{\"path\":", stdout);
        tool_json_string(stdout, settings->output);
        fprintf(stdout, ",\"dtype\":\"%s\",\"bytes\":%lld,\"digest\":\"%s\",\"seconds\":%.3f}\n",
                weights_dtype_name(dtype), (long long)about.st_size, written->digest, seconds);
    } else {
        fprintf(stdout, "%s: %s, %.1f MB, %.2f s\ndigest %s\n", settings->output,
                weights_dtype_name(dtype), (double)about.st_size / 1e6, seconds, written->digest);
    }
    weights_free(written);
    return status ? status : tool_flush(stdout, error);
}

static int run_convert(const void *given, int count, char **operands)
{
    const struct convert_settings *settings = given;
    (void)count;
    if (!settings->output)
        return tool_misused("convert", "--output FILE is missing");
    struct weights_model *model = NULL;
    struct tool_progress progress;
    distil_error error;
    double start = tool_now();
    distil_status status = check_output(operands[0], settings->output, &error);
    if (status == DISTIL_INVALID)
        return tool_misused("convert", error.message);
    status = weights_open(&model, operands[0], &error);
    if (status)
        return tool_failed("convert", &error);
    enum weights_dtype dtype = tool_lossless_dtype(model);
    if (settings->dtype)
        dtype = strcmp(settings->dtype, "fp32") == 0   ? WEIGHTS_F32
                : strcmp(settings->dtype, "fp16") == 0 ? WEIGHTS_F16
                                                       : WEIGHTS_I8;
    tool_progress_start(&progress, "writing", NULL, true);
    status = tool_golden_write(model, settings->output, dtype, show_progress, &progress, &error);
    tool_progress_end(&progress);
    weights_free(model);
    if (!status)
        status = report(settings, dtype, tool_now() - start, &error);
    return status ? tool_failed("convert", &error) : TOOL_OK;
}

const struct tool_command tool_convert = {
    .name = "convert",
    .summary = "Turn a HuggingFace directory into one model file",
    .operands = "DIR",
    .description = "Reads config.json, the safetensors weights and the tokenizer of a DistilBERT "
                   "or BERT checkpoint in DIR (or another "
                   "model file) and writes them as one file, which is valid safetensors too. The "
                   "file is complete or is "
                   "not there: it gets its name when all of it is on the disk.",
    .options = options,
    .least_operands = 1,
    .most_operands = 1,
    .run = run_convert,
    .settings_size = sizeof(struct convert_settings)};

#include <stdlib.h>
#include <string.h>

#include "tools/commands.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/texts.h"

struct tokenize_settings {
    struct tool_model_settings model;
    const char *file;
    bool jsonl;
    int format;
};

static const struct tool_option options[] = {
    {.name = "file",
     .letter = 'f',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct tokenize_settings, file),
     .value = "FILE",
     .help = "Read texts from FILE, one a line; - is standard input"},
    {.name = "jsonl",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct tokenize_settings, jsonl),
     .help = "Each line is a JSON object with the text in its field \"text\" or \"inputs\""},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct tokenize_settings, format),
     .pick = TOOL_JSON,
     .help = "Print one JSON object a text: ids, tokens, offsets, and truncated where the text was "
             "cut"},
    TOOL_MODEL_OPTION(tokenize_settings),
    TOOL_END_OPTIONS};

static void print_json(const distil_model *model, const distil_tokens *tokens)
{
    int count = distil_tokens_count(tokens);
    const int32_t *ids = distil_tokens_ids(tokens);
    const int32_t(*offsets)[2] = distil_tokens_offsets(tokens);
    fputs("{\"ids\":[", stdout);
    for (int i = 0; i < count; i++)
        fprintf(stdout, i ? ",%d" : "%d", (int)ids[i]);
    fputs("],\"tokens\":[", stdout);
    for (int i = 0; i < count; i++) {
        if (i)
            fputc(',', stdout);
        tool_json_string(stdout, distil_token(model, ids[i]));
    }
    fputs("],\"offsets\":[", stdout);
    for (int i = 0; i < count; i++)
        fprintf(stdout, i ? ",[%d,%d]" : "[%d,%d]", (int)offsets[i][0], (int)offsets[i][1]);
    fputs(distil_tokens_truncated(tokens) ? "],\"truncated\":true}\n" : "]}\n", stdout);
}

static void print_table(const distil_model *model, const distil_tokens *tokens, bool first)
{
    int count = distil_tokens_count(tokens);
    const int32_t *ids = distil_tokens_ids(tokens);
    const int32_t(*offsets)[2] = distil_tokens_offsets(tokens);
    fprintf(stdout, "%s    ID  START    END  TOKEN\n", first ? "" : "\n");
    for (int i = 0; i < count; i++) {
        const char *token = distil_token(model, ids[i]);
        fprintf(stdout, "%6d %6d %6d  ", (int)ids[i], (int)offsets[i][0], (int)offsets[i][1]);
        tool_plain_text(stdout, token, strlen(token), 0);
        fputc('\n', stdout);
    }
    if (distil_tokens_truncated(tokens))
        fprintf(stdout, "(the first %d of %d tokens)\n", count, distil_tokens_full_count(tokens));
}

static void print_problem(const struct tool_text *text, bool json)
{
    fprintf(stderr, "distild tokenize: %s\n", text->problem.message);
    if (json) {
        fputs("{\"error\":", stdout);
        tool_json_string(stdout, text->problem.message);
        fputs("}\n", stdout);
    }
}

static distil_status tokenize_all(const distil_model *model, struct tool_texts *texts, bool json,
                                  long *problems, distil_error *error)
{
    struct tool_text text = {0};
    distil_tokens *tokens = NULL;
    distil_status status = DISTIL_OK;
    for (bool first = true; !status; first = false) {
        enum tool_line outcome = tool_texts_next(texts, false, &text, error);
        if (outcome == TOOL_WAIT) {
            /* Nothing more has arrived: what is known must not stay in the buffer. */
            status = tool_flush(stdout, error);
            if (!status)
                outcome = tool_texts_next(texts, true, &text, error);
        }
        if (status || outcome == TOOL_END)
            break;
        if (outcome == TOOL_BROKEN) {
            status = error->code;
        } else if (text.problem.code) {
            print_problem(&text, json);
            ++*problems;
        } else {
            status = distil_encode(model, text.text, text.length, NULL, 0, DISTIL_TRUNCATE_RIGHT,
                                   &tokens, error);
            if (!status && json)
                print_json(model, tokens);
            else if (!status)
                print_table(model, tokens, first);
        }
        /* A full disk or a closed pipe is noticed before the last text. */
        if (!status && ferror(stdout))
            status = tool_flush(stdout, error);
    }
    distil_tokens_free(tokens);
    tool_text_free(&text);
    return status ? status : tool_flush(stdout, error);
}

static int run_tokenize(const void *given, int count, char **operands)
{
    const struct tokenize_settings *settings = given;
    if (count > 0 && settings->file)
        return tool_misused("tokenize", "texts as arguments and --file exclude each other");
    struct tool_texts texts = {0};
    distil_model *model = NULL;
    distil_error error;
    long problems = 0;
    distil_status status =
        tool_texts_open(&texts, operands, count, settings->file, settings->jsonl, &error);
    if (!status)
        status = tool_open_model(&settings->model, &model, &error);
    if (!status)
        status = tokenize_all(model, &texts, settings->format == TOOL_JSON, &problems, &error);
    int result = status ? tool_failed("tokenize", &error) : problems ? TOOL_FAILURE : TOOL_OK;
    distil_model_free(model);
    tool_texts_close(&texts);
    return result;
}

const struct tool_command tool_tokenize = {
    .name = "tokenize",
    .summary = "Show the tokens that a model reads",
    .operands = "[TEXT...]",
    .description = "Prints the tokens of each TEXT, or of each line of a file or of standard "
                   "input: ids, tokens, and offsets "
                   "in Unicode characters of the text, with the special tokens around them "
                   "(offsets 0, 0), cut at the model's "
                   "window. An empty line is an empty text.",
    .options = options,
    .least_operands = 0,
    .most_operands = -1,
    .run = run_tokenize,
    .settings_size = sizeof(struct tokenize_settings)};

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/commands.h"
#include "tools/documents.h"
#include "tools/finder.h"
#include "tools/model.h"
#include "tools/output.h"
#include "tools/quotation.h"
#include "tools/texts.h"

enum { QUOTATION_BYTES = 300 };

struct ask_settings {
    struct tool_model_settings model; /* its path is not used */
    const char *encoder, *answerer;
    struct tool_list docs;
    const char *file;
    int format;
    long passages, top_k;
    double threshold;
};

static const struct tool_option options[] = {
    {.name = "docs",
     .letter = 'd',
     .kind = TOOL_LIST,
     .offset = offsetof(struct ask_settings, docs),
     .value = "PATH",
     .help = "A folder of documents, or one document; can be given several times"},
    {.name = "file",
     .letter = 'f',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct ask_settings, file),
     .value = "FILE",
     .help = "Read questions from FILE, one a line; - is standard input"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct ask_settings, format),
     .pick = TOOL_JSON,
     .help = "Print one JSON object a question, with its answers"},
    {.name = "top-k",
     .letter = 'k',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct ask_settings, top_k),
     .value = "N",
     .low = 1,
     .high = TOOL_ANSWERS_MOST,
     .fallback = "1",
     .help = "Most answers to each question"},
    {.name = "passages",
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct ask_settings, passages),
     .value = "N",
     .low = 1,
     .high = TOOL_PASSAGES_MOST,
     .fallback = "5",
     .help = "Passages nearest to a question that are searched for its answer"},
    {.name = "threshold",
     .kind = TOOL_REAL,
     .offset = offsetof(struct ask_settings, threshold),
     .value = "X",
     .low = 0,
     .high = 1,
     .fallback = "0.2",
     .help = "The least score of an answer; where none has it, the question has no answer"},
    {.name = "answerer",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct ask_settings, answerer),
     .value = "PATH",
     .help =
         "The model that answers, a converted file or a HuggingFace directory; without one, the "
         "bundled qa-minilm"},
    {.name = "encoder",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct ask_settings, encoder),
     .value = "PATH",
     .help = "The model that embeds; without one, the bundled all-minilm-l6-v2"},
    TOOL_COMPUTE_OPTIONS(ask_settings),
    TOOL_END_OPTIONS};

/* Everything a run of the command holds. */
struct ask {
    const struct ask_settings *settings;
    struct tool_passages passages;
    struct tool_documents documents;
    struct tool_index index;
    struct tool_texts texts;
    struct tool_text question;
    distil_model *encoder, *answerer;
    distil_session *embeds, *answers;
    struct tool_finder finder;
    long asked, unanswered, problems;
};

/* ---- printing ---- */

/* Where an answer stands, and what to quote for it. */
struct place {
    const char *file, *section, *passage;
    int line;
    struct tool_quotation quotation;
};

static struct place place_of(const struct ask *run, const struct tool_found *found)
{
    const struct tool_passages *passages = &run->passages;
    const struct tool_passage *passage = &passages->items[found->hit.passage];
    const char *text = passages->text.bytes + passage->text;
    size_t from = (size_t)(found->answer.text - text), to = from + found->answer.length;
    return (struct place){.file = passages->files[passage->file],
                          .section = passages->sections[passage->section],
                          .passage = text,
                          .line = tool_passage_line(passages, passage, from),
                          .quotation =
                              tool_quote(text, passage->length, from, to, QUOTATION_BYTES / 2)};
}

static void print_json(const struct ask *run)
{
    fputs("{\"question\":", stdout);
    tool_json_text(stdout, run->question.text, run->question.length);
    fputs(",\"answers\":[", stdout);
    for (int i = 0; i < run->finder.found; i++) {
        const struct tool_found *found = &run->finder.best[i];
        struct place place = place_of(run, found);
        fputs(i > 0 ? ",{\"answer\":" : "{\"answer\":", stdout);
        tool_json_text(stdout, found->answer.text, found->answer.length);
        fputs(",\"score\":", stdout);
        tool_json_float(stdout, found->score);
        fputs(",\"relevance\":", stdout);
        tool_json_float(stdout, found->relevance);
        fputs(",\"similarity\":", stdout);
        tool_json_float(stdout, found->hit.similarity);
        fputs(",\"file\":", stdout);
        tool_json_string(stdout, place.file);
        printf(",\"line\":%d,\"section\":", place.line);
        tool_json_string(stdout, place.section);
        fputs(",\"quotation\":", stdout);
        tool_json_text(stdout, place.passage + place.quotation.start,
                       place.quotation.end - place.quotation.start);
        putchar('}');
    }
    puts("]}");
}

/* Text with all white space between words as one space. */
static void print_flat(const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t word = i;
        while (word < length && !strchr(" \t\n", text[word]))
            word++;
        tool_plain_text(stdout, text + i, word - i, 0);
        for (i = word; i < length && strchr(" \t\n", text[i]); i++)
            ;
        if (i < length)
            putchar(' ');
    }
}

static void print_table(const struct ask *run)
{
    bool named = run->texts.count != 1;
    if (named) {
        fputs(run->asked > 0 ? "\n? " : "? ", stdout);
        tool_plain_text(stdout, run->question.text, run->question.length, 0);
        putchar('\n');
    }
    if (run->finder.found == 0)
        puts("There is no answer.");
    for (int i = 0; i < run->finder.found; i++) {
        const struct tool_found *found = &run->finder.best[i];
        struct place place = place_of(run, found);
        print_flat(found->answer.text, found->answer.length);
        printf("  (%.2f)\n    ", (double)found->score);
        tool_plain_text(stdout, place.file, strlen(place.file), 0);
        printf(":%d", place.line);
        if (*place.section) {
            fputs("  ", stdout);
            tool_plain_text(stdout, place.section, strlen(place.section), 0);
        }
        fputs(place.quotation.cut_before ? "\n    \"... " : "\n    \"", stdout);
        print_flat(place.passage + place.quotation.start,
                   place.quotation.end - place.quotation.start);
        puts(place.quotation.cut_after ? " ...\"" : "\"");
    }
}

/* A question that cannot be asked, because it is too long. */
static void print_problem(struct ask *run, const distil_error *problem)
{
    run->problems++;
    if (run->settings->format == TOOL_JSON) {
        fputs("{\"question\":", stdout);
        tool_json_text(stdout, run->question.text, run->question.length);
        fputs(",\"error\":", stdout);
        tool_json_string(stdout, problem->message);
        puts("}");
    }
    fprintf(stderr, "distild ask: question %ld: %s\n", run->asked + 1, problem->message);
}

/* ---- the run ---- */

static bool is_empty(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && strchr(" \t\r\n", text[i]))
        i++;
    return i == length;
}

static distil_status answer_all(struct ask *run, distil_error *error)
{
    const struct tool_input *input = &run->texts.input;
    struct tool_progress progress;
    distil_status status = DISTIL_OK;
    enum tool_line outcome;
    tool_progress_start(&progress, "answering", "questions",
                        input->size > 0 && isatty(STDOUT_FILENO) != 1);
    while (!status &&
           (outcome = tool_texts_next(&run->texts, true, &run->question, error)) != TOOL_END) {
        if (outcome == TOOL_BROKEN) {
            status = error->code;
            break;
        }
        if (is_empty(run->question.text, run->question.length))
            continue;
        status = tool_find(&run->finder, run->question.text, run->question.length, error);
        if (status == DISTIL_TOO_LONG) {
            print_problem(run, error);
            status = DISTIL_OK;
        } else if (!status) {
            run->unanswered += run->finder.found == 0;
            if (run->settings->format == TOOL_JSON)
                print_json(run);
            else
                print_table(run);
        }
        run->asked++;
        if (!status)
            status = tool_flush(stdout, error);
        tool_progress_update(&progress, input->taken, input->size, run->asked);
    }
    tool_progress_end(&progress);
    return status;
}

static distil_status read_documents(struct ask *run, distil_error *error)
{
    const struct tool_list *docs = &run->settings->docs;
    const struct tool_documents *documents = &run->documents;
    struct tool_progress progress;
    distil_status status = DISTIL_OK;
    tool_progress_start(&progress, "reading", "documents", true);
    for (int i = 0; i < docs->count && !status; i++) {
        char *path = strndup(docs->items[i], docs->lengths[i]);
        status = path ? tool_read_documents(&run->passages, path, &run->documents, &progress, error)
                      : distil_fail(error, DISTIL_NO_MEMORY, "out of memory");
        free(path);
    }
    tool_progress_end(&progress);
    if (!status && documents->links > 0)
        fprintf(stderr, "distild ask: %ld symbolic link%s not followed\n", documents->links,
                documents->links == 1 ? " was" : "s were");
    if (!status && run->passages.count == 0)
        status = distil_fail(error, DISTIL_NOT_FOUND,
                             "%.*s: no text was found in %ld documents (%ld files of other kinds, "
                             "%ld that could not be read)",
                             (int)docs->lengths[0], docs->items[0], documents->read,
                             documents->others, documents->failed);
    return status;
}

/* Opens the model of a path, or the bundled one, refusing one that has another task. */
static distil_status open_model(const struct tool_model_settings *settings, const char *path,
                                distil_task task, distil_model **model, distil_session **session,
                                distil_error *error)
{
    struct tool_model_settings named = *settings;
    char *bundled = NULL;
    distil_status status = path ? DISTIL_OK : distil_bundled(task, &bundled, error);
    named.path = path ? path : bundled;
    if (!status)
        status = tool_open_model(&named, model, error);
    free(bundled);
    if (status)
        return status;
    const distil_info *info = distil_model_info(*model);
    if (info->task != task)
        return distil_fail(error, DISTIL_TASK,
                           task == DISTIL_TASK_ANSWER
                               ? "%s: the model has no question answering head"
                               : "%s: the model has a head: an encoder without one is expected",
                           info->path);
    return distil_session_create(*model, (int)settings->threads, session, error);
}

static distil_status prepare(struct ask *run, char **operands, int count, distil_error *error)
{
    const struct ask_settings *settings = run->settings;
    distil_status status =
        tool_texts_open(&run->texts, operands, count, settings->file, false, error);
    if (!status)
        status = read_documents(run, error);
    if (!status)
        status = open_model(&settings->model, settings->encoder, DISTIL_TASK_NONE, &run->encoder,
                            &run->embeds, error);
    if (!status)
        status = open_model(&settings->model, settings->answerer, DISTIL_TASK_ANSWER,
                            &run->answerer, &run->answers, error);
    if (status)
        return status;
    struct tool_progress progress;
    tool_progress_start(&progress, "embedding", "passages", true);
    status =
        tool_index_build(&run->index, run->encoder, run->embeds, &run->passages, &progress, error);
    tool_progress_end(&progress);
    run->finder = (struct tool_finder){.passages = &run->passages,
                                       .index = &run->index,
                                       .encoder = run->encoder,
                                       .answers = run->answers,
                                       .nearest = (int)settings->passages,
                                       .most = (int)settings->top_k,
                                       .threshold = settings->threshold};
    return status;
}

static void release(struct ask *run)
{
    tool_index_free(&run->index);
    tool_passages_free(&run->passages);
    tool_text_free(&run->question);
    tool_texts_close(&run->texts);
    distil_session_free(run->embeds);
    distil_session_free(run->answers);
    distil_model_free(run->encoder);
    distil_model_free(run->answerer);
}

static int run_ask(const void *given, int count, char **operands)
{
    const struct ask_settings *settings = given;
    if (settings->docs.count == 0)
        return tool_misused("ask", "--docs is missing: a folder of documents, or a document");
    if (count > 0 && settings->file)
        return tool_misused("ask", "questions as arguments and --file exclude each other");
    for (int i = 0; i < count; i++)
        if (is_empty(operands[i], strlen(operands[i])))
            return tool_misused("ask", "a question is empty");
    struct ask *run = calloc(1, sizeof *run);
    distil_error error;
    if (!run) {
        distil_fail(&error, DISTIL_NO_MEMORY, "out of memory");
        return tool_failed("ask", &error);
    }
    run->settings = settings;
    distil_status status = prepare(run, operands, count, &error);
    if (!status)
        status = answer_all(run, &error);
    int result = status              ? tool_failed("ask", &error)
                 : run->problems > 0 ? TOOL_FAILURE
                 : run->unanswered   ? TOOL_UNANSWERED
                                     : TOOL_OK;
    release(run);
    free(run);
    return result;
}

const struct tool_command tool_ask = {
    .name = "ask",
    .summary = "Answer questions from documents, with file, section and quotation",
    .operands = "[QUESTION...]",
    .description =
        "Answers each QUESTION, or each line of a file or of standard input that is not empty, "
        "from "
        "the documents "
        "of --docs: Markdown (.md, .markdown) and plain text (.txt, .text, .rst), in a folder and "
        "the folders below it. Each answer is a part of a document, and comes with its file, line, "
        "section and the sentence that it stands in.\n\n"
        "The documents are cut into passages; the passages nearest to the question, by their "
        "embeddings, are searched for its answer. The score of an answer, from 0 to 1, says how "
        "far to "
        "trust it.\n\n"
        "Nothing is written to the disk. Symbolic links in a folder are not followed, and files "
        "that "
        "cannot be read are told of and left out.",
    .exit_note = "4 where a question has no answer of at least --threshold",
    .options = options,
    .least_operands = 0,
    .most_operands = -1,
    .run = run_ask,
    .settings_size = sizeof(struct ask_settings)};

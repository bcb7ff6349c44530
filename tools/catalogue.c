#include "tools/catalogue.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/distil_catalogue.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/progress.h"

static const struct tool_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct tool_catalogue_settings, output),
     .value = "FILE",
     .help = "build: the catalogue to write; one that exists is replaced once the new one is "
             "complete"},
    {.name = "vectors",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct tool_catalogue_settings, vectors),
     .value = "FILE",
     .help = "build: the items' vectors, made by another encoder, instead of embedding their "
             "texts: a NumPy file, or TSV with an id and the numbers in each line"},
    {.name = "dtype",
     .kind = TOOL_CHOICE,
     .offset = offsetof(struct tool_catalogue_settings, dtype),
     .value = "NAME",
     .choices = "fp32|fp16|int8",
     .fallback = "fp16",
     .help = "build: how vectors are stored: fp32, fp16, or int8 with a scale for each"},
    {.name = "top-k",
     .letter = 'k',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct tool_catalogue_settings, top_k),
     .value = "N",
     .low = 1,
     .high = 1000000,
     .fallback = "10",
     .help = "search: items to answer with"},
    {.name = "id",
     .kind = TOOL_TEXT,
     .offset = offsetof(struct tool_catalogue_settings, id),
     .value = "ID",
     .help = "search: find what is like this item, instead of like a text"},
    {.name = "verify",
     .kind = TOOL_FLAG,
     .offset = offsetof(struct tool_catalogue_settings, verify),
     .help = "inspect: read the whole file and compare its digest with the one that it states"},
    {.name = "json",
     .kind = TOOL_PICK,
     .offset = offsetof(struct tool_catalogue_settings, format),
     .pick = TOOL_JSON,
     .help = "Print JSON: of a search one object an item"},
    {.name = "batch",
     .letter = 'b',
     .kind = TOOL_INTEGER,
     .offset = offsetof(struct tool_catalogue_settings, batch),
     .value = "N",
     .low = 1,
     .high = 1024,
     .fallback = "64",
     .help = "build: texts to embed together"},
    {.name = "model",
     .letter = 'm',
     .kind = TOOL_TEXT,
     .offset = offsetof(struct tool_catalogue_settings, model.path),
     .value = "PATH",
     .help = "The encoder of texts: a converted file or a HuggingFace directory; without one, the "
             "bundled sentence encoder"},
    TOOL_COMPUTE_OPTIONS(tool_catalogue_settings),
    TOOL_END_OPTIONS};

/* ---- build ---- */

static int run_build(const struct tool_catalogue_settings *settings, const char *path)
{
    distil_catalogue *written = NULL;
    struct stat about = {0};
    distil_error error;
    if (!settings->output)
        return tool_misused("catalogue", "build: --output FILE is missing");
    double start = tool_now();
    distil_status status = tool_catalogue_build(settings, path, &error);
    if (!status)
        status = distil_catalogue_open(settings->output, &written, &error);
    if (!status && stat(settings->output, &about) != 0)
        status = distil_fail(&error, DISTIL_IO, "%s: gone after it was written", settings->output);
    if (status)
        return tool_failed("catalogue", &error);
    const distil_catalogue_facts *facts = distil_catalogue_info(written);
    const double seconds = tool_now() - start;
    if (settings->format == TOOL_JSON) {
        fputs("{\"path\":", stdout);
        tool_json_string(stdout, settings->output);
        fprintf(stdout,
                ",\"items\":%ld,\"width\":%d,\"dtype\":\"%s\",\"bytes\":%lld,\"digest\":\"%s\","
                "\"seconds\":%.3f}\n",
                facts->items, facts->width, facts->dtype, (long long)about.st_size, facts->digest,
                seconds);
    } else {
        fprintf(stdout, "%s: %ld items, %d values each in %s, %.1f MB, %.2f s\ndigest %s\n",
                settings->output, facts->items, facts->width, facts->dtype,
                (double)about.st_size / 1e6, seconds, facts->digest);
    }
    distil_catalogue_free(written);
    return tool_flush(stdout, &error) ? tool_failed("catalogue", &error) : TOOL_OK;
}

/* ---- inspect ---- */

static void print_facts_json(const distil_catalogue *catalogue, bool verified)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    fputs("{\"path\":", stdout);
    tool_json_string(stdout, facts->path);
    fprintf(stdout, ",\"items\":%ld,\"width\":%d,\"dtype\":\"%s\",\"columns\":[", facts->items,
            facts->width, facts->dtype);
    for (int i = 0; i < facts->columns; i++) {
        fputs(i ? "," : "", stdout);
        tool_json_string(stdout, distil_catalogue_column(catalogue, i));
    }
    fprintf(stdout, "],\"encoder\":");
    if (*facts->encoder)
        tool_json_string(stdout, facts->encoder);
    else
        fputs("null", stdout);
    fprintf(stdout, ",\"digest\":\"%s\"%s}\n", facts->digest, verified ? ",\"verified\":true" : "");
}

static void print_facts(const distil_catalogue *catalogue, bool verified)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    fprintf(stdout, "file     %s\nitems    %ld\nvectors  %d values in %s\ncolumns ", facts->path,
            facts->items, facts->width, facts->dtype);
    for (int i = 0; i < facts->columns; i++) {
        const char *name = distil_catalogue_column(catalogue, i);
        fputc(' ', stdout);
        tool_plain_text(stdout, name, strlen(name), 60);
    }
    fprintf(stdout, "\nencoder  %s\ndigest   %s%s\n",
            *facts->encoder ? facts->encoder : "not known", facts->digest,
            verified ? " (verified)" : "");
}

static int run_inspect(const struct tool_catalogue_settings *settings, const char *path)
{
    distil_catalogue *catalogue = NULL;
    distil_error error;
    distil_status status = distil_catalogue_open(path, &catalogue, &error);
    if (!status && settings->verify)
        status = distil_catalogue_verify(catalogue, &error);
    if (!status) {
        if (settings->format == TOOL_JSON)
            print_facts_json(catalogue, settings->verify);
        else
            print_facts(catalogue, settings->verify);
        status = tool_flush(stdout, &error);
    }
    distil_catalogue_free(catalogue);
    return status ? tool_failed("catalogue", &error) : TOOL_OK;
}

/* ---- search ---- */

static void print_match_json(const distil_catalogue *catalogue, distil_match match)
{
    const int columns = distil_catalogue_info(catalogue)->columns;
    fputc('{', stdout);
    for (int i = 0; i < columns; i++) {
        tool_json_string(stdout, distil_catalogue_column(catalogue, i));
        fputc(':', stdout);
        tool_json_string(stdout, distil_catalogue_cell(catalogue, match.item, i));
        fputc(',', stdout);
    }
    fputs("\"score\":", stdout);
    tool_json_float(stdout, match.score);
    fputs("}\n", stdout);
}

static void print_matches(const distil_catalogue *catalogue, const distil_match *matches, int count)
{
    const int text = distil_catalogue_info(catalogue)->text_column;
    int width = 2;
    for (int i = 0; i < count; i++) {
        int id = tool_width(distil_catalogue_cell(catalogue, matches[i].item, 0));
        width = id > width ? id : width;
    }
    fputs(" SCORE  ", stdout);
    tool_padded(stdout, "ID", text < 0 ? 0 : width);
    fputs(text < 0 ? "\n" : "  TEXT\n", stdout);
    for (int i = 0; i < count; i++) {
        const char *shown = text < 0 ? "" : distil_catalogue_cell(catalogue, matches[i].item, text);
        fprintf(stdout, "%6.4f  ", (double)matches[i].score);
        tool_padded(stdout, distil_catalogue_cell(catalogue, matches[i].item, 0),
                    text < 0 ? 0 : width);
        fputs(text < 0 ? "" : "  ", stdout);
        tool_plain_text(stdout, shown, strlen(shown), 100);
        fputc('\n', stdout);
    }
}

/* The vector to look for: that of a text, or of an item, which *itself then names. */
static distil_status find_vector(const struct tool_catalogue_settings *settings,
                                 const distil_catalogue *catalogue, const char *text, float *vector,
                                 long *itself, distil_error *error)
{
    *itself = -1;
    if (!settings->id)
        return tool_catalogue_embed(settings, catalogue, text, vector, error);
    *itself = distil_catalogue_find(catalogue, settings->id);
    if (*itself < 0)
        return distil_fail(error, DISTIL_NOT_FOUND, "%s: there is no item with the id '%.100s'",
                           distil_catalogue_info(catalogue)->path, settings->id);
    distil_catalogue_vector(catalogue, *itself, vector);
    return DISTIL_OK;
}

static distil_status search(const struct tool_catalogue_settings *settings,
                            const distil_catalogue *catalogue, const char *text,
                            distil_error *error)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    distil_searcher *searcher = NULL;
    long itself = -1;
    int limit = (int)settings->top_k + (settings->id != NULL), count = 0, kept = 0;
    limit = limit < facts->items ? limit : (int)facts->items;
    float *vector = malloc((size_t)facts->width * sizeof *vector);
    distil_match *matches = malloc((size_t)limit * sizeof *matches);
    if (!vector || !matches) {
        free(vector);
        free(matches);
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a search");
    }
    distil_status status = find_vector(settings, catalogue, text, vector, &itself, error);
    if (!status)
        status = distil_searcher_create(catalogue, (int)settings->model.threads, &searcher, error);
    if (!status)
        status = distil_searcher_search(searcher, vector, limit, matches, &count, error);
    for (int i = 0; i < count; i++) /* an item is not like itself, it is itself */
        if (matches[i].item != itself && kept < settings->top_k)
            matches[kept++] = matches[i];
    if (!status && settings->format == TOOL_JSON)
        for (int i = 0; i < kept; i++)
            print_match_json(catalogue, matches[i]);
    else if (!status)
        print_matches(catalogue, matches, kept);
    distil_searcher_free(searcher);
    free(vector);
    free(matches);
    return status ? status : tool_flush(stdout, error);
}

static int run_search(const struct tool_catalogue_settings *settings, const char *path,
                      const char *text)
{
    distil_catalogue *catalogue = NULL;
    distil_error error;
    if ((text != NULL) == (settings->id != NULL))
        return tool_misused("catalogue", "search: give a TEXT or --id ID, one of the two");
    distil_status status = distil_catalogue_open(path, &catalogue, &error);
    if (!status)
        status = search(settings, catalogue, text, &error);
    distil_catalogue_free(catalogue);
    return status ? tool_failed("catalogue", &error) : TOOL_OK;
}

static int run_catalogue(const void *given, int count, char **operands)
{
    const struct tool_catalogue_settings *settings = given;
    if (strcmp(operands[0], "build") == 0 && count == 2)
        return run_build(settings, operands[1]);
    if (strcmp(operands[0], "inspect") == 0 && count == 2)
        return run_inspect(settings, operands[1]);
    if (strcmp(operands[0], "search") == 0 && count >= 2)
        return run_search(settings, operands[1], count == 3 ? operands[2] : NULL);
    return tool_misused("catalogue", "expected 'build ITEMS.tsv', 'inspect FILE' or 'search FILE "
                                     "TEXT'");
}

const struct tool_command tool_catalogue = {
    .name = "catalogue",
    .summary = "Build and search files of items that are found by likeness",
    .operands = "build ITEMS.tsv | inspect FILE | search FILE [TEXT]",
    .description =
        "build reads ITEMS.tsv (- is standard input), whose first line names the columns: id, "
        "text, and any others, which are kept. Each item's text is embedded by the encoder, or "
        "its vector is taken from --vectors, in the order of the items. Vectors are scaled to "
        "length 1. The file is complete or is not there.\n\n"
        "inspect shows what a catalogue holds.\n\n"
        "search finds the items nearest to TEXT, or to the item of --id, which is itself left "
        "out: the score is the cosine of the angle between the vectors.",
    .options = options,
    .least_operands = 2,
    .most_operands = 3,
    .run = run_catalogue,
    .settings_size = sizeof(struct tool_catalogue_settings)};

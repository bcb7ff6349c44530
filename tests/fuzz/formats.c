#include "tests/fuzz/formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/distil_catalogue.h"
#include "tests/fuzz/server_formats.h"
#include "tools/dataset.h"
#include "tools/documents.h"
#include "tools/gate.h"
#include "tools/input.h"
#include "tools/movielens.h"
#include "tools/npy.h"
#include "tools/options.h"
#include "tools/table.h"
#include "tools/telemetry.h"
#include "tools/vectors.h"
#include "weights/catalogue.h"

enum { ITEMS = 4, WIDTH = 5 };

const char *fuzz_path(const char *folder, const char *name)
{
    static char path[FUZZ_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void fuzz_must(distil_status status, const distil_error *error)
{
    if (!status)
        return;
    printf("fuzz_files: %s\n", error->message);
    abort();
}

bool fuzz_accepted(distil_status status, const distil_error *error)
{
    if (status && (error->code != status || !*error->message))
        abort();
    return !status;
}

void fuzz_put(const char *folder, const char *name, const char *text)
{
    FILE *file = fopen(fuzz_path(folder, name), "w");
    if (!file || fputs(text, file) < 0 || fclose(file))
        abort();
}

/* ---- catalogues ---- */

static void make_catalogue_of(const char *folder, enum weights_dtype dtype)
{
    static const char *const names[] = {"id", "text"};
    static const char strings[] = "a\0one\0c\0caf\xC3\xA9\0b\0\0d\0four";
    static const uint64_t offsets[] = {0, 2, 6, 8, 14, 16, 17, 19};
    struct weights_catalogue_writer *writer = NULL;
    distil_error error;
    const struct weights_catalogue_source source = {.name = "items",
                                                    .table = {.items = ITEMS,
                                                              .columns = 2,
                                                              .names = names,
                                                              .strings = strings,
                                                              .string_bytes = sizeof strings,
                                                              .offsets = offsets},
                                                    .encoder = "",
                                                    .width = WIDTH,
                                                    .dtype = dtype};
    fuzz_must(weights_catalogue_begin(&writer, &source, fuzz_path(folder, "catalogue"), &error),
              &error);
    for (int i = 0; i < ITEMS; i++) {
        const float vector[WIDTH] = {1, (float)i, -(float)i, 0.5F};
        fuzz_must(weights_catalogue_put(writer, vector), &error);
    }
    fuzz_must(weights_catalogue_finish(writer), &error);
    weights_catalogue_close(writer);
}

static void make_catalogue(const char *folder)
{
    make_catalogue_of(folder, WEIGHTS_F32);
}

static void make_catalogue_int8(const char *folder)
{
    make_catalogue_of(folder, WEIGHTS_I8);
}

static bool read_catalogue(const char *folder)
{
    distil_catalogue *catalogue;
    distil_match matches[ITEMS];
    distil_error error;
    int count;
    if (!fuzz_accepted(distil_catalogue_open(fuzz_path(folder, "catalogue"), &catalogue, &error),
                       &error))
        return false;
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    float *query = calloc((size_t)facts->width, sizeof *query);
    size_t bytes = 0;
    if (!query)
        abort();
    query[0] = 1;
    for (long item = 0; item < facts->items; item++) {
        for (int column = 0; column < facts->columns; column++)
            bytes += strlen(distil_catalogue_column(catalogue, column)) +
                     strlen(distil_catalogue_cell(catalogue, item, column));
        if (distil_catalogue_find(catalogue, distil_catalogue_cell(catalogue, item, 0)) != item)
            abort();
    }
    fuzz_accepted(distil_catalogue_search(catalogue, query, ITEMS, matches, &count, &error),
                  &error);
    distil_catalogue_vector(catalogue, facts->items - 1, query);
    fuzz_accepted(distil_catalogue_verify(catalogue, &error), &error);
    free(query);
    distil_catalogue_free(catalogue);
    return bytes > 0;
}

/* ---- items and their vectors ---- */

static void make_npy(const char *folder)
{
    struct tool_npy npy = {0};
    distil_error error;
    fuzz_must(tool_npy_open(&npy, fuzz_path(folder, "vectors.npy"), WIDTH, &error), &error);
    for (int i = 0; i < ITEMS; i++) {
        const float vector[WIDTH] = {1, (float)i, -(float)i, 0.5F};
        fuzz_must(tool_npy_add(&npy, vector, &error), &error);
    }
    fuzz_must(tool_npy_finish(&npy, &error), &error);
    tool_npy_close(&npy);
}

static void make_vectors(const char *folder)
{
    fuzz_put(folder, "vectors.tsv", "a\t1\t-2.5\t3e-4\nb\t.5\t0\t1e10\r\n\nc\t1\t2\t3\nd\t4\t5\t6");
}

static bool read_vectors(const char *path)
{
    static const char *const ids[ITEMS] = {"a", "b", "c", "d"};
    struct tool_vectors vectors = {0};
    distil_error error;
    bool good = fuzz_accepted(tool_vectors_open(&vectors, path, &error), &error);
    for (int i = 0; i < ITEMS && good; i++)
        good = fuzz_accepted(tool_vectors_next(&vectors, ids[i], &error), &error);
    good = good && fuzz_accepted(tool_vectors_end(&vectors, ITEMS, &error), &error);
    tool_vectors_close(&vectors);
    return good;
}

static bool read_npy(const char *folder)
{
    return read_vectors(fuzz_path(folder, "vectors.npy"));
}

static bool read_vectors_tsv(const char *folder)
{
    return read_vectors(fuzz_path(folder, "vectors.tsv"));
}

static void make_items(const char *folder)
{
    fuzz_put(folder, "items.tsv", "text\tid\tyear\none\ta\t1984\r\n\ncaf\xC3\xA9\tb\t\n\tc\t2001");
}

static bool read_items(const char *folder)
{
    struct tool_table table = {0};
    distil_error error;
    bool good =
        fuzz_accepted(tool_table_read(&table, fuzz_path(folder, "items.tsv"), &error), &error);
    for (size_t i = 0; i < table.cells && good; i++)
        if (table.offsets[i] + strlen(table.strings + table.offsets[i]) >= table.used)
            abort();
    tool_table_free(&table);
    return good;
}

/* ---- labelled texts ---- */

static void make_rows(const char *folder)
{
    fuzz_put(folder, "rows.tsv",
             "label\tsentence\n1\ta joy\n0\ta bore\r\n1\tcaf\xC3\xA9\n0\tslow\n");
}

static void make_lines(const char *folder)
{
    fuzz_put(
        folder, "rows.jsonl",
        "{\"text\": \"a joy\", \"label\": \"good\"}\n{\"label\": \"bad\", \"text\": \"a "
        "\\u00e9\\n\"}\n"
        "{\"text\": \"x\", \"label\": \"good\", \"more\": [1, {}]}\n{\"text\": \"y\", \"label\": "
        "\"bad\"}");
}

static bool read_dataset(const char *path, bool jsonl)
{
    const struct tool_dataset_options options = {.jsonl = jsonl};
    struct tool_dataset dataset = {0};
    distil_error error;
    bool good = fuzz_accepted(tool_dataset_read(&dataset, path, &options, NULL, &error), &error);
    for (long i = 0; i < dataset.count && good; i++)
        if (dataset.rows[i].text + dataset.rows[i].length > dataset.used ||
            dataset.rows[i].label >= dataset.label_count)
            abort();
    tool_dataset_free(&dataset);
    return good;
}

static bool read_rows(const char *folder)
{
    return read_dataset(fuzz_path(folder, "rows.tsv"), false);
}

static bool read_lines(const char *folder)
{
    return read_dataset(fuzz_path(folder, "rows.jsonl"), true);
}

/* ---- tests of the accuracy gate ---- */

static void make_gate(const char *folder)
{
    fuzz_put(
        folder, "tests.json",
        "{\"data\": [\"a joy\", {\"text\": \"a bore\"}], \"target\": [1, 0], \"expected_score\": "
        "0.5,\n"
        " \"error_tolerance\": 1}");
}

#define ROW(movie)                                                                                 \
    "{\"age\": 31, \"gender\": \"F\", \"occupation\": \"artist\", \"movie\": \"" movie "\"}"

static void make_gate_recommend(const char *folder)
{
    make_catalogue(folder);
    fuzz_put(folder, "tests.json",
             "{\"learn\": {\"data\": [" ROW("a") ", " ROW(
                 "b") "], \"target\": [5, 0.5]},\n"
                      " \"data\": [" ROW("a") ", " ROW(
                          "c") "], \"target\": [4, 3], \"expected_score\": 0.9}");
}

static bool read_gate(const char *folder)
{
    static char catalogue[FUZZ_PATH], model[FUZZ_PATH];
    const char *source = getenv("DISTILD_SOURCE_DIR");
    snprintf(catalogue, sizeof catalogue, "%s/catalogue", folder);
    snprintf(model, sizeof model, "%s/tests/golden/tiny/distilbert-single", source ? source : ".");
    const struct tool_gate gate = {.path = fuzz_path(folder, "tests.json"),
                                   .catalogue = catalogue,
                                   .model = {.path = model, .threads = 1},
                                   .tolerance = 10};
    int result = tool_gate_run(&gate);
    return result == TOOL_OK || result == TOOL_BELOW;
}

/* ---- bundles of telemetry ---- */

static struct tool_telemetry_key *open_key(const char *folder)
{
    struct tool_telemetry_key *key = NULL;
    distil_error error;
    fuzz_must(tool_telemetry_key_open(fuzz_path(folder, "telemetry.key"), &key, &error), &error);
    return key;
}

/* What is to be signed: the bundle without its end. */
static void make_body(const char *folder)
{
    struct tool_telemetry_key *key = open_key(folder);
    char *pem = NULL, text[4096];
    distil_error error;
    fuzz_must(tool_telemetry_public(key, &pem, &error), &error);
    fuzz_put(folder, "public.pem", pem);
    size_t used = (size_t)snprintf(
        text, sizeof text,
        "{\n  \"format\": \"" TOOL_TELEMETRY_FORMAT
        "\",\n  \"installation\": \"0123456789abcdef\",\n"
        "  \"number\": 1,\n  \"previous\": \"\",\n  \"made\": \"2026-03-02T06:00:00Z\",\n"
        "  \"predictions\": [{\"day\": \"2026-03-01\", \"label\": \"x\", \"count\": 3}],\n"
        "  \"feedback\": [],\n  \"public_key\": \"");
    for (const char *at = pem; *at; at++)
        used += (size_t)snprintf(text + used, sizeof text - used, *at == '\n' ? "\\n" : "%c", *at);
    snprintf(text + used, sizeof text - used, "\"");
    fuzz_put(folder, "body", text);
    free(pem);
    tool_telemetry_key_free(key);
}

/* Signs the body, whatever it is, as far as its first NUL. */
static void sign(const char *folder)
{
    struct tool_telemetry_key *key = open_key(folder);
    char *text = NULL;
    size_t length;
    distil_error error;
    fuzz_must(
        tool_input_all(fuzz_path(folder, "body"), TOOL_TELEMETRY_MOST, &text, &length, &error),
        &error);
    fuzz_must(tool_telemetry_sign(key, &text, &error), &error);
    fuzz_put(folder, "bundle.json", text);
    free(text);
    tool_telemetry_key_free(key);
}

static void make_bundle(const char *folder)
{
    make_body(folder);
    sign(folder);
}

static bool read_bundle(const char *folder)
{
    char path[FUZZ_PATH], *files[] = {path};
    snprintf(path, sizeof path, "%s/bundle.json", folder);
    return tool_telemetry_verify(NULL, 1, files) == TOOL_OK;
}

/* Signed as it is, by the right key: what stands in it is what counts. */
static bool read_body(const char *folder)
{
    char key[FUZZ_PATH], path[FUZZ_PATH], *files[] = {path};
    sign(folder);
    snprintf(path, sizeof path, "%s/bundle.json", folder);
    snprintf(key, sizeof key, "%s/public.pem", folder);
    return tool_telemetry_verify(key, 1, files) == TOOL_OK;
}

/* ---- MovieLens ---- */

#define FLAGS "|0|1|0|0|0|1|0|0|1|0|0|0|0|0|1|0|0|0|0\n"

static void make_movielens(const char *folder)
{
    fuzz_put(folder, "u.user",
             "1|24|M|technician|85711\n2|53|F|other|94043\n3|23|M|writer|T8H1N\n");
    fuzz_put(folder, "u.item",
             "1|Toy Story "
             "(1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)" FLAGS
             "2|Caf\xE9 (1994)|01-Jan-1994|||0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\r\n"
             "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n");
    fuzz_put(folder, "u.data", "1\t1\t5\t881250949\n2\t2\t3\t891717742\n3\t267\t0\t878887116\n");
}

static bool read_movielens(const char *folder)
{
    struct tool_movielens data = {0};
    distil_error error;
    bool good = fuzz_accepted(tool_movielens_read(&data, folder, false, &error), &error);
    for (long i = 0; i < data.all.count && good; i++)
        if (data.all.each[i].user >= data.user_count || data.all.each[i].item >= data.item_count)
            abort();
    for (int i = 0; i < data.item_count && good; i++)
        if (data.items[i].title > strlen(data.items[i].text))
            abort();
    tool_movielens_free(&data);
    return good;
}

/* ---- documents ---- */

static void make_markdown(const char *folder)
{
    fuzz_put(folder, "guide.md",
             "---\ntitle: x\n---\n# Pumps & more\n\nThe *pump* stops. `code` [link](a.md \"t\") "
             "<b>bold</b>\n\n## Two\n\n1. one\n"
             "2. two\n   - three\n\n| a | b |\n|---|---|\n| 1 | caf\xC3\xA9 |\n\n```c\nint "
             "x;\n```\n> quoted\n\nHeading\n=======\nEnd. &amp; &#x41;\n");
}

static void make_prose(const char *folder)
{
    fuzz_put(folder, "guide.txt",
             "Pumps\n=====\n\nThe pump stops. It is caf\xC3\xA9.\nOne line more.\n\nTwo\n---\n\n  "
             "- one\n  - two\r\n\n\nEnd.");
}

static bool read_document(const char *path)
{
    struct tool_passages passages = {0};
    struct tool_documents documents = {0};
    struct tool_progress progress = {0};
    distil_error error;
    bool good =
        fuzz_accepted(tool_read_documents(&passages, path, &documents, &progress, &error), &error);
    for (int i = 0; i < passages.count && good; i++) {
        const struct tool_passage *passage = &passages.items[i];
        if (passage->file < 0 || passage->file >= passages.file_count || passage->section < 0 ||
            passage->section >= passages.section_count || passage->length == 0 ||
            passage->length > passages.text.length ||
            passage->text > passages.text.length - passage->length)
            abort();
    }
    tool_passages_free(&passages);
    return good && documents.read > 0;
}

static bool read_markdown(const char *folder)
{
    return read_document(fuzz_path(folder, "guide.md"));
}

static bool read_prose(const char *folder)
{
    return read_document(fuzz_path(folder, "guide.txt"));
}

const struct fuzz_format *fuzz_formats(int *count)
{
    static const struct fuzz_format formats[] = {
        {"catalogue", "catalogue", make_catalogue, read_catalogue},
        {"catalogue_int8", "catalogue", make_catalogue_int8, read_catalogue},
        {"npy", "vectors.npy", make_npy, read_npy},
        {"vectors", "vectors.tsv", make_vectors, read_vectors_tsv},
        {"items", "items.tsv", make_items, read_items},
        {"dataset", "rows.tsv", make_rows, read_rows},
        {"dataset_jsonl", "rows.jsonl", make_lines, read_lines},
        {"gate", "tests.json", make_gate, read_gate},
        {"gate_recommend", "tests.json", make_gate_recommend, read_gate},
        {"telemetry", "bundle.json", make_bundle, read_bundle},
        {"telemetry_signed", "body", make_body, read_body},
        {"u.user", "u.user", make_movielens, read_movielens},
        {"u.item", "u.item", make_movielens, read_movielens},
        {"u.data", "u.data", make_movielens, read_movielens},
        {"markdown", "guide.md", make_markdown, read_markdown},
        {"prose", "guide.txt", make_prose, read_prose},
        {"scores", "recommender.db", fuzz_make_scores, fuzz_read_scores},
        {"predictions", "predictions.db", fuzz_make_predictions, fuzz_read_predictions},
        {"drift_rows", "rows.jsonl", fuzz_make_drift_rows, fuzz_read_drift_rows},
        {"drift_columns", "rows.tsv", fuzz_make_drift_columns, fuzz_read_drift_columns},
        {"api_keys", "keys", fuzz_make_api_keys, fuzz_read_api_keys},
        {"token_keys", "tokens", fuzz_make_token_keys, fuzz_read_token_keys},
    };
    *count = (int)(sizeof formats / sizeof *formats);
    return formats;
}

/* From a table of items, and texts or vectors, to a catalogue file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/catalogue.h"
#include "tools/embed_texts.h"
#include "tools/progress.h"
#include "tools/table.h"
#include "tools/vectors.h"

enum { BATCH_MAX = 1024 /* of --batch */ };

struct build {
    const struct tool_catalogue_settings *settings;
    const char *path; /* of the items */
    struct tool_table table;
    struct weights_catalogue_writer *writer;
    struct tool_progress progress;
    distil_error *error;
};

static enum weights_dtype dtype_of(const char *name)
{
    return strcmp(name, "fp32") == 0   ? WEIGHTS_F32
           : strcmp(name, "fp16") == 0 ? WEIGHTS_F16
                                       : WEIGHTS_I8;
}

/* Opens the file to be, for vectors of a width that the encoder of a digest makes. */
static distil_status begin(struct build *build, int width, const char *encoder)
{
    const struct tool_table *table = &build->table;
    const struct weights_catalogue_source source = {
        .name = build->path,
        .table = {.items = table->items,
                  .columns = table->columns,
                  .names = (const char *const *)table->names,
                  .strings = table->strings,
                  .string_bytes = table->used,
                  .offsets = table->offsets},
        .encoder = encoder,
        .width = width,
        .dtype = dtype_of(build->settings->dtype),
    };
    return weights_catalogue_begin(&build->writer, &source, build->settings->output, build->error);
}

static distil_status put_vectors(struct build *build, struct tool_vectors *vectors)
{
    const struct tool_table *table = &build->table;
    distil_status status = tool_vectors_open(vectors, build->settings->vectors, build->error);
    if (!status)
        status = begin(build, vectors->width, "");
    tool_progress_start(&build->progress, "writing", "items", true);
    for (long i = 0; i < table->items && !status; i++) {
        const char *id = table->strings + table->offsets[i * table->columns];
        status = tool_vectors_next(vectors, id, build->error);
        if (!status)
            status = weights_catalogue_put(build->writer, vectors->values);
        tool_progress_update(&build->progress, (size_t)i, (size_t)table->items, i);
    }
    return status ? status : tool_vectors_end(vectors, table->items, build->error);
}

/* Texts first..first+n of the table, embedded and put. */
static distil_status put_batch(struct build *build, struct tool_embedder *encoder, long first,
                               int n, float *vectors)
{
    const struct tool_table *table = &build->table;
    const int width = encoder->info->hidden;
    const char *texts[BATCH_MAX];
    size_t lengths[BATCH_MAX];
    int empty;
    for (int i = 0; i < n; i++) {
        texts[i] = table->strings + table->offsets[(first + i) * table->columns + table->text];
        lengths[i] = strlen(texts[i]);
    }
    distil_status status =
        tool_embedder_embed(encoder, texts, lengths, n, vectors, &empty, build->error);
    if (!status && empty < n)
        status = distil_fail(build->error, DISTIL_FORMAT,
                             "%s: item %ld ('%.100s'): its text is empty: it has nothing that "
                             "becomes a token",
                             build->path, first + empty + 1,
                             table->strings + table->offsets[(first + empty) * table->columns]);
    for (int i = 0; i < n && !status; i++)
        status = weights_catalogue_put(build->writer, vectors + (size_t)i * (size_t)width);
    return status;
}

static distil_status put_texts(struct build *build, struct tool_embedder *encoder)
{
    const struct tool_table *table = &build->table;
    const long most = build->settings->batch;
    float *vectors = NULL;
    if (table->text < 0)
        return distil_fail(build->error, DISTIL_FORMAT,
                           "%s, line 1: expected a column text, to be embedded, in the header (or "
                           "--vectors with vectors from elsewhere)",
                           build->path);
    distil_status status = tool_embedder_open(encoder, &build->settings->model, most, build->error);
    if (!status)
        status = begin(build, encoder->info->hidden, encoder->info->digest);
    if (!status) {
        vectors = malloc((size_t)most * (size_t)encoder->info->hidden * sizeof *vectors);
        if (!vectors)
            status = distil_fail(build->error, DISTIL_NO_MEMORY, "no memory for %ld vectors", most);
    }
    tool_progress_start(&build->progress, "embedding", "items", true);
    for (long first = 0; first < table->items && !status; first += most) {
        const long n = table->items - first < most ? table->items - first : most;
        status = put_batch(build, encoder, first, (int)n, vectors);
        tool_progress_update(&build->progress, (size_t)(first + n), (size_t)table->items,
                             first + n);
    }
    free(vectors);
    return status;
}

distil_status tool_catalogue_embed(const struct tool_catalogue_settings *settings,
                                   const distil_catalogue *catalogue, const char *text,
                                   float *vector, distil_error *error)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    struct tool_embedder encoder = {0};
    const size_t length = strlen(text);
    int empty;
    distil_status status = tool_embedder_open(&encoder, &settings->model, 1, error);
    if (!status && encoder.info->hidden != facts->width)
        status = distil_fail(error, DISTIL_INVALID,
                             "%s makes vectors of %d values, and %s has %d: --model names the "
                             "encoder of the catalogue",
                             encoder.info->path, encoder.info->hidden, facts->path, facts->width);
    if (!status)
        status = tool_embedder_embed(&encoder, &text, &length, 1, vector, &empty, error);
    if (!status && empty == 0)
        status = distil_fail(error, DISTIL_INVALID,
                             "the text is empty: it has nothing that becomes a token");
    if (!status && *facts->encoder && *encoder.info->digest &&
        strcmp(facts->encoder, encoder.info->digest) != 0)
        fprintf(stderr,
                "distild catalogue: %s was made by another encoder than %s: its scores may mean "
                "little\n",
                facts->path, encoder.info->path);
    tool_embedder_close(&encoder);
    return status;
}

distil_status tool_catalogue_build(const struct tool_catalogue_settings *settings, const char *path,
                                   distil_error *error)
{
    struct build build = {.settings = settings, .path = path, .error = error};
    struct tool_vectors vectors = {0};
    struct tool_embedder encoder = {0};
    distil_status status = tool_table_read(&build.table, path, error);
    if (!status)
        status = settings->vectors ? put_vectors(&build, &vectors) : put_texts(&build, &encoder);
    if (!status)
        status = weights_catalogue_finish(build.writer);
    tool_progress_end(&build.progress);
    weights_catalogue_close(build.writer);
    tool_vectors_close(&vectors);
    tool_embedder_close(&encoder);
    tool_table_free(&build.table);
    return status;
}

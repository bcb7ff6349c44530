/* Finding the items of a catalogue that are nearest to a vector: every one is compared, in blocks that stay in the caches,
 * and the best are kept in a heap whose root is the worst of them. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpus.h"
#include "engine/distil_catalogue.h"
#include "engine/level.h"
#include "engine/team.h"
#include "weights/catalogue.h"
#include "weights/pack.h"

enum {
    SCAN_BLOCK = 512, /* items scored before the best are picked */
    SHARE_UNIT = 64
};

struct distil_catalogue {
    struct weights_catalogue *file;
    struct kern_table kernels;
    enum kern_scheme held;
    size_t row_bytes;
    distil_catalogue_facts facts;
};

/* The best matches so far. */
struct heap {
    distil_match *matches; /* (limit); matches[0] is the worst once count is limit */
    int limit, count;
};

/* One thread's part of a search. */
struct search {
    const distil_catalogue *catalogue;
    const float *query;
    struct heap heap;
    long first, end; /* items */
};

struct distil_searcher {
    const distil_catalogue *catalogue;
    struct engine_team *team;
    struct search *parts; /* one a thread */
};

static enum kern_scheme scheme_of(enum weights_dtype dtype)
{
    return dtype == WEIGHTS_F32 ? KERN_F32 : dtype == WEIGHTS_F16 ? KERN_F16 : KERN_S8;
}

static size_t value_bytes(enum weights_dtype dtype)
{
    return dtype == WEIGHTS_F32   ? sizeof(float)
           : dtype == WEIGHTS_F16 ? sizeof(uint16_t)
                                  : sizeof(int8_t);
}

distil_status distil_catalogue_open(const char *path, distil_catalogue **out, distil_error *error)
{
    enum kern_level level;
    *out = NULL;
    distil_catalogue *catalogue = calloc(1, sizeof *catalogue);
    if (!catalogue)
        return distil_fail(error, DISTIL_NO_MEMORY, "%s: out of memory", path);
    distil_status status = engine_choose_level(NULL, &level, error);
    if (!status)
        status = weights_catalogue_open(&catalogue->file, path, error);
    if (status) {
        free(catalogue);
        return status;
    }
    const struct weights_catalogue *file = catalogue->file;
    kern_table_init(&catalogue->kernels, level);
    catalogue->held = scheme_of(file->vectors.dtype);
    catalogue->row_bytes = (size_t)file->vectors.cols * value_bytes(file->vectors.dtype);
    catalogue->facts = (distil_catalogue_facts){
        .path = file->path,
        .digest = file->digest,
        .encoder = file->encoder,
        .dtype = weights_dtype_name(file->vectors.dtype),
        .items = file->table.items,
        .width = file->width,
        .columns = file->table.columns,
        .text_column = file->text_column,
    };
    *out = catalogue;
    return DISTIL_OK;
}

distil_status distil_catalogue_verify(const distil_catalogue *catalogue, distil_error *error)
{
    return weights_catalogue_verify(catalogue->file, error);
}

int distil_catalogue_same_file(const distil_catalogue *a, const distil_catalogue *b)
{
    return weights_catalogue_same(a->file, b->file);
}

void distil_catalogue_free(distil_catalogue *catalogue)
{
    if (!catalogue)
        return;
    weights_catalogue_free(catalogue->file);
    free(catalogue);
}

const distil_catalogue_facts *distil_catalogue_info(const distil_catalogue *catalogue)
{
    return &catalogue->facts;
}

const char *distil_catalogue_column(const distil_catalogue *catalogue, int i)
{
    return i >= 0 && i < catalogue->facts.columns ? catalogue->file->table.names[i] : NULL;
}

const char *distil_catalogue_cell(const distil_catalogue *catalogue, long item, int column)
{
    return weights_catalogue_cell(&catalogue->file->table, item, column);
}

long distil_catalogue_find(const distil_catalogue *catalogue, const char *id)
{
    return weights_catalogue_find(catalogue->file, id);
}

void distil_catalogue_vector(const distil_catalogue *catalogue, long item, float *vector)
{
    struct weights_tensor row = catalogue->file->vectors;
    row.data = (const char *)row.data + (size_t)item * catalogue->row_bytes;
    row.scale = row.scale ? row.scale + item : NULL;
    row.cols = catalogue->facts.width;
    const float *values = weights_row(&row, 0, &catalogue->kernels, vector);
    if (values != vector)
        memcpy(vector, values, (size_t)row.cols * sizeof *vector);
}

/* Whether a is to stand before b. */
static bool before(distil_match a, distil_match b)
{
    return a.score > b.score || (a.score == b.score && a.item < b.item);
}

/* Moves the match at i down to where none below it is worse. */
static void sink(const struct heap *heap, int i)
{
    for (;;) {
        int worst = i;
        for (int child = 2 * i + 1; child <= 2 * i + 2 && child < heap->count; child++)
            if (before(heap->matches[worst], heap->matches[child]))
                worst = child;
        if (worst == i)
            return;
        distil_match moved = heap->matches[i];
        heap->matches[i] = heap->matches[worst];
        heap->matches[worst] = moved;
        i = worst;
    }
}

static void offer(struct heap *heap, distil_match match)
{
    if (heap->count < heap->limit) {
        heap->matches[heap->count++] = match;
        if (heap->count == heap->limit)
            for (int i = heap->limit / 2 - 1; i >= 0; i--)
                sink(heap, i);
    } else if (before(match, heap->matches[0])) {
        heap->matches[0] = match;
        sink(heap, 0);
    }
}

/* scores (n): the products of a query of length 1 with the items from `first` on. */
static void scan(const distil_catalogue *catalogue, const float *query, long first, long n,
                 float *scores)
{
    const struct weights_tensor *vectors = &catalogue->file->vectors;
    const struct kern_scan job = {
        .query = query,
        .rows = (const char *)vectors->data + (size_t)first * catalogue->row_bytes,
        .stride = vectors->cols,
        .scale = vectors->scale ? vectors->scale + first : NULL,
        .k = catalogue->facts.width,
        .n = n,
        .out = scores,
    };
    catalogue->kernels.scan[catalogue->held](&job);
}

static void search_part(struct search *search)
{
    struct heap *heap = &search->heap;
    float scores[SCAN_BLOCK];
    for (long at = search->first; at < search->end; at += SCAN_BLOCK) {
        const long n = search->end - at < SCAN_BLOCK ? search->end - at : SCAN_BLOCK;
        scan(search->catalogue, search->query, at, n, scores);
        for (long i = 0; i < n; i++)
            /* Later items of the same score never come before earlier ones. A score that is not a
             * number, of a damaged file, is passed over. */
            if (heap->count < heap->limit ? scores[i] == scores[i]
                                          : scores[i] > heap->matches[0].score)
                offer(heap, (distil_match){.item = at + i, .score = scores[i]});
    }
}

static int by_rank(const void *a, const void *b)
{
    const distil_match *x = a, *y = b;
    return before(*x, *y) ? -1 : before(*y, *x) ? 1 : 0;
}

/* A copy of the query, scaled to length 1; NULL with the error set where it has no direction. */
static float *normalised(const distil_catalogue *catalogue, const float *query,
                         distil_status *status, distil_error *error)
{
    const int width = catalogue->facts.width;
    double squares = 0;
    for (int i = 0; i < width; i++)
        squares += (double)query[i] * (double)query[i];
    if (!isfinite(squares) || squares == 0) {
        *status = distil_fail(error, DISTIL_INVALID,
                              squares == 0 ? "the vector is all zeros, so nothing is like it"
                                           : "the vector has a value that is infinite or not a "
                                             "number");
        return NULL;
    }
    float *copy = malloc((size_t)width * sizeof *copy);
    if (!copy) {
        *status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a search");
        return NULL;
    }
    const double inverse = 1 / sqrt(squares);
    for (int i = 0; i < width; i++)
        copy[i] = (float)((double)query[i] * inverse);
    return copy;
}

static distil_status check_limit(int limit, distil_error *error)
{
    if (limit >= 1)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_INVALID, "expected at least 1 item to be asked for, found %d",
                       limit);
}

distil_status distil_catalogue_search(const distil_catalogue *catalogue, const float *query,
                                      int limit, distil_match *matches, int *count,
                                      distil_error *error)
{
    *count = 0;
    distil_status status = check_limit(limit, error);
    if (status)
        return status;
    float *copy = normalised(catalogue, query, &status, error);
    if (!copy)
        return status;
    struct search search = {.catalogue = catalogue,
                            .query = copy,
                            .heap = {.matches = matches, .limit = limit},
                            .end = catalogue->facts.items};
    search_part(&search);
    qsort(matches, (size_t)search.heap.count, sizeof *matches, by_rank);
    *count = search.heap.count;
    free(copy);
    return DISTIL_OK;
}

distil_status distil_catalogue_scores(const distil_catalogue *catalogue, const float *query,
                                      float *scores, distil_error *error)
{
    distil_status status = DISTIL_OK;
    float *copy = normalised(catalogue, query, &status, error);
    if (!copy)
        return status;
    scan(catalogue, copy, 0, catalogue->facts.items, scores);
    free(copy);
    return DISTIL_OK;
}

distil_status distil_searcher_create(const distil_catalogue *catalogue, int threads,
                                     distil_searcher **out, distil_error *error)
{
    *out = NULL;
    distil_searcher *searcher = calloc(1, sizeof *searcher);
    if (!searcher)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a search");
    searcher->catalogue = catalogue;
    distil_status status =
        engine_team_create(&searcher->team, threads ? threads : engine_cpu_count(), error);
    if (!status) {
        searcher->parts =
            calloc((size_t)engine_team_threads(searcher->team), sizeof *searcher->parts);
        if (!searcher->parts)
            status = distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a search");
    }
    if (status) {
        distil_searcher_free(searcher);
        return status;
    }
    *out = searcher;
    return DISTIL_OK;
}

void distil_searcher_free(distil_searcher *searcher)
{
    if (!searcher)
        return;
    engine_team_free(searcher->team);
    free(searcher->parts);
    free(searcher);
}

static void search_share(void *context, int thread)
{
    const distil_searcher *searcher = context;
    search_part(&searcher->parts[thread]);
}

distil_status distil_searcher_search(distil_searcher *searcher, const float *query, int limit,
                                     distil_match *matches, int *count, distil_error *error)
{
    const distil_catalogue *catalogue = searcher->catalogue;
    const int threads = engine_team_threads(searcher->team);
    const long units = (catalogue->facts.items + SHARE_UNIT - 1) / SHARE_UNIT;
    *count = 0;
    distil_status status = check_limit(limit, error);
    if (status)
        return status;
    if (limit > catalogue->facts.items)
        limit = (int)catalogue->facts.items;
    float *copy = normalised(catalogue, query, &status, error);
    if (!copy)
        return status;
    /* The caller's own part goes to the caller's memory. */
    distil_match *others = malloc((size_t)threads * (size_t)limit * sizeof *others);
    if (!others) {
        free(copy);
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for a search");
    }
    for (int i = 0; i < threads; i++) {
        long end = units * (i + 1) / threads * SHARE_UNIT;
        searcher->parts[i] = (struct search){
            .catalogue = catalogue,
            .query = copy,
            .heap = {.matches = i ? others + (size_t)i * (size_t)limit : matches, .limit = limit},
            .first = units * i / threads * SHARE_UNIT,
            .end = end < catalogue->facts.items ? end : catalogue->facts.items};
    }
    engine_team_run(searcher->team, search_share, searcher);
    struct heap *best = &searcher->parts[0].heap;
    for (int i = 1; i < threads; i++)
        for (int j = 0; j < searcher->parts[i].heap.count; j++)
            offer(best, searcher->parts[i].heap.matches[j]);
    qsort(matches, (size_t)best->count, sizeof *matches, by_rank);
    *count = best->count;
    free(others);
    free(copy);
    return DISTIL_OK;
}

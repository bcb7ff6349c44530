/* catalogue.c: what a search of a large catalogue costs: makes one of random vectors in a temporary file, in each of the types
 * that vectors are stored as, opens it, and searches it on one thread and on several. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/distil_catalogue.h"
#include "weights/catalogue.h"

enum { SEARCHES = 15, TOP_K = 10, QUERIES = 5, ID_SIZE = 24 };

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Roughly normal, and the same at every run. */
static float next_value(uint64_t *state)
{
    float sum = 0;
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    for (int i = 0; i < 4; i++)
        sum += (float)(*state >> (16 * i) & 0xFFFF) - 32768.0F;
    return sum;
}

static void fill(float *vector, int width, uint64_t *state)
{
    for (int i = 0; i < width; i++)
        vector[i] = next_value(state);
}

static int make(const char *path, long items, int width, enum weights_dtype dtype)
{
    static const char *const names[] = {"id"};
    struct weights_catalogue_writer *writer = NULL;
    distil_error error = {.message = "no memory"};
    uint64_t state = 1;
    char *strings = malloc((size_t)items * ID_SIZE);
    uint64_t *offsets = malloc((size_t)items * sizeof *offsets);
    float *vector = malloc((size_t)width * sizeof *vector);
    int failed = !strings || !offsets || !vector;
    for (long i = 0; i < items && !failed; i++) {
        offsets[i] = (uint64_t)i * ID_SIZE;
        memset(strings + i * ID_SIZE, 0, ID_SIZE);
        snprintf(strings + i * ID_SIZE, ID_SIZE, "%ld", i);
    }
    const struct weights_catalogue_source source = {
        .name = "perf_catalogue",
        .table = {.items = items,
                  .columns = 1,
                  .names = names,
                  .strings = strings,
                  .string_bytes = (size_t)items * ID_SIZE,
                  .offsets = offsets},
        .encoder = "",
        .width = width,
        .dtype = dtype};
    failed = failed || weights_catalogue_begin(&writer, &source, path, &error);
    for (long i = 0; i < items && !failed; i++) {
        fill(vector, width, &state);
        failed = weights_catalogue_put(writer, vector) != DISTIL_OK;
    }
    failed = failed || weights_catalogue_finish(writer);
    if (failed)
        fprintf(stderr, "perf_catalogue: %s\n", error.message);
    weights_catalogue_close(writer);
    free(strings);
    free(offsets);
    free(vector);
    return !failed;
}

/* The median of searches in milliseconds; negative where one fails. */
static double time_searches(const distil_catalogue *catalogue, int threads)
{
    const int width = distil_catalogue_info(catalogue)->width;
    distil_searcher *searcher = NULL;
    distil_match matches[TOP_K];
    distil_error error = {.message = "no memory"};
    uint64_t state = 77;
    double ms[SEARCHES] = {0};
    int count, failed;
    float *query = malloc((size_t)width * sizeof *query);
    failed = !query || distil_searcher_create(catalogue, threads, &searcher, &error);
    for (int i = 0; i < SEARCHES && !failed; i++) {
        fill(query, width, &state);
        const double start = now_ms();
        failed = distil_searcher_search(searcher, query, TOP_K, matches, &count, &error) != 0;
        ms[i] = now_ms() - start;
    }
    distil_searcher_free(searcher);
    free(query);
    if (failed)
        fprintf(stderr, "perf_catalogue: %s\n", error.message);
    qsort(ms, SEARCHES, sizeof *ms, compare);
    return failed ? -1 : ms[SEARCHES / 2];
}

/* Which items are nearest to some queries, for comparing types. */
static int nearest(const distil_catalogue *catalogue, distil_match found[QUERIES][TOP_K])
{
    const int width = distil_catalogue_info(catalogue)->width;
    distil_error error;
    uint64_t state = 5;
    int count, failed = 0;
    float *query = malloc((size_t)width * sizeof *query);
    for (int i = 0; i < QUERIES && query && !failed; i++) {
        fill(query, width, &state);
        failed =
            distil_catalogue_search(catalogue, query, TOP_K, found[i], &count, &error) != DISTIL_OK;
    }
    free(query);
    return query && !failed;
}

static int shared(distil_match a[QUERIES][TOP_K], distil_match b[QUERIES][TOP_K])
{
    int same = 0;
    for (int q = 0; q < QUERIES; q++)
        for (int i = 0; i < TOP_K; i++)
            for (int j = 0; j < TOP_K; j++)
                same += a[q][i].item == b[q][j].item;
    return same;
}

static int measure(const char *path, int threads, distil_match exact[QUERIES][TOP_K], int first)
{
    distil_catalogue *catalogue;
    distil_match found[QUERIES][TOP_K] = {0};
    distil_error error;
    struct stat about = {0};
    const double start = now_ms();
    if (distil_catalogue_open(path, &catalogue, &error)) {
        fprintf(stderr, "perf_catalogue: %s\n", error.message);
        return 0;
    }
    const double opened = now_ms() - start;
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    int good = stat(path, &about) == 0 && nearest(catalogue, first ? exact : found);
    const double one = time_searches(catalogue, 1), all = time_searches(catalogue, threads);
    good = good && one >= 0 && all >= 0;
    const double bytes = (double)about.st_size;
    if (good)
        printf("%s  %8ld items of %d  %7.1f MB  open %6.1f ms  1 thread %7.2f ms (%4.1f GB/s)  %d "
               "threads %7.2f ms (%4.1f GB/s)  %2d of %d nearest as in fp32\n",
               facts->dtype, facts->items, facts->width, bytes / 1e6, opened, one,
               bytes / 1e6 / one, threads, all, bytes / 1e6 / all,
               shared(exact, first ? exact : found), QUERIES * TOP_K);
    distil_catalogue_free(catalogue);
    return good;
}

int main(int argc, char **argv)
{
    static const enum weights_dtype dtypes[] = {WEIGHTS_F32, WEIGHTS_F16, WEIGHTS_I8};
    const long items = argc > 1 ? atol(argv[1]) : 100000;
    const int width = argc > 2 ? atoi(argv[2]) : 384, threads = argc > 3 ? atoi(argv[3]) : 2;
    const char *directory = argc > 4 ? argv[4] : "/tmp";
    distil_match exact[QUERIES][TOP_K] = {0};
    char path[4096];
    int good = 1;
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        printf(
            "Usage: perf_catalogue [ITEMS [WIDTH [THREADS [DIRECTORY]]]] (100000, 384, 2, /tmp)\n");
        return 0;
    }
    if (argc > 5 || items < TOP_K || width < 1 || threads < 1) {
        fprintf(stderr, "Usage: perf_catalogue [ITEMS [WIDTH [THREADS [DIRECTORY]]]]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/perf-%ld.catalogue", directory, (long)getpid());
    for (int i = 0; i < 3 && good; i++) {
        good = make(path, items, width, dtypes[i]) && measure(path, threads, exact, i == 0);
        unlink(path);
    }
    return good ? 0 : 1;
}

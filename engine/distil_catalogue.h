/* distil_catalogue.h: items found by likeness: a file of vectors with an id, a text and further columns each, as
 * `distild catalogue build` writes it.
 *
 *   distil_catalogue *catalogue;
 *   distil_match matches[10];
 *   int count;
 *   if (distil_catalogue_open("items.catalogue", &catalogue, &error) ||
 *       distil_catalogue_search(catalogue, vector, 10, matches, &count, &error))
 *       return fprintf(stderr, "%s\n", error.message), 1;
 *   for (int i = 0; i < count; i++)
 *       printf("%.4f %s\n", matches[i].score, distil_catalogue_cell(catalogue, matches[i].item, 0));
 *   distil_catalogue_free(catalogue);
 *
 * A catalogue is mapped, immutable, and may be used by any number of threads. Vectors have length 1, so that a product of
 * two is the cosine of their angle: 1 for the same direction, 0 for nothing in common. */
#ifndef DISTIL_CATALOGUE_H
#define DISTIL_CATALOGUE_H

#include <stdint.h>

#include "distil_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct distil_catalogue distil_catalogue;

typedef struct {
    const char *path;
    const char *digest; /* SHA-256 of its contents that the file states */
    const char
        *encoder;      /* digest of the model file that made the vectors; "" where none is known */
    const char *dtype; /* that vectors are stored as: "fp32", "fp16" or "int8" */
    long items;
    int width;       /* values of a vector */
    int columns;     /* strings of an item, the first of which is its id */
    int text_column; /* named "text"; -1 where there is none */
} distil_catalogue_facts;

/* The path of the catalogue that comes with the program, to be freed by free; looked for as distil_bundled does. */
DISTIL_API distil_status distil_catalogue_bundled(char **path, distil_error *error);
/* Checks all but the vectors' values. DISTIL_FORMAT, DISTIL_NOT_FOUND, DISTIL_UNSUPPORTED for a file of a newer version.
 * The instructions are those that DISTILD_CPU names, else the best there are. */
DISTIL_API distil_status distil_catalogue_open(const char *path, distil_catalogue **catalogue,
                                               distil_error *error);
/* Reads the whole file: its digest, and that every vector has length 1. */
DISTIL_API distil_status distil_catalogue_verify(const distil_catalogue *catalogue,
                                                 distil_error *error);
/* 1 where both were opened from one file that nobody wrote to in between, as distil_model_same_file. */
DISTIL_API int distil_catalogue_same_file(const distil_catalogue *a, const distil_catalogue *b);
DISTIL_API void distil_catalogue_free(distil_catalogue *catalogue);
DISTIL_API const distil_catalogue_facts *distil_catalogue_info(const distil_catalogue *catalogue);
/* The name of column 0 <= i < columns; that of column 0 is "id". */
DISTIL_API const char *distil_catalogue_column(const distil_catalogue *catalogue, int i);
/* The string of an item, 0 <= item < items, in a column; UTF-8, valid as long as the catalogue. */
DISTIL_API const char *distil_catalogue_cell(const distil_catalogue *catalogue, long item,
                                             int column);
/* The item with an id; -1 where there is none. */
DISTIL_API long distil_catalogue_find(const distil_catalogue *catalogue, const char *id);
/* The vector (width) of an item, of length 1 but for the rounding of its storage. */
DISTIL_API void distil_catalogue_vector(const distil_catalogue *catalogue, long item,
                                        float *vector);

typedef struct {
    long item;
    float score; /* the cosine of the angle between the item's vector and the query */
} distil_match;

/* The `limit` items nearest to query (width), or all where there are fewer, by falling score and of the same score by
 * rising item; *count is how many. The query may have any length but 0: DISTIL_INVALID for one of zeros, or with a value
 * that is not finite, and for a limit under 1. */
DISTIL_API distil_status distil_catalogue_search(const distil_catalogue *catalogue,
                                                 const float *query, int limit,
                                                 distil_match *matches, int *count,
                                                 distil_error *error);

/* The cosine of the angle between the query (width) and every item: (items); not a number where a damaged file has such
 * values. Errors as of distil_catalogue_search. */
DISTIL_API distil_status distil_catalogue_scores(const distil_catalogue *catalogue,
                                                 const float *query, float *scores,
                                                 distil_error *error);

/* The same as distil_catalogue_search on several threads, for catalogues of many items. A searcher belongs to one caller at a time. */
typedef struct distil_searcher distil_searcher;
/* threads: 0 for every CPU that the affinity mask and the cgroup quota allow. */
DISTIL_API distil_status distil_searcher_create(const distil_catalogue *catalogue, int threads,
                                                distil_searcher **searcher, distil_error *error);
DISTIL_API void distil_searcher_free(distil_searcher *searcher);
/* As distil_catalogue_search, and the same answer. */
DISTIL_API distil_status distil_searcher_search(distil_searcher *searcher, const float *query,
                                                int limit, distil_match *matches, int *count,
                                                distil_error *error);

#ifdef __cplusplus
}
#endif
#endif

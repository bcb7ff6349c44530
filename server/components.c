/* components.c: the directions in which vectors vary most, by iterating a subspace; see estimator.h. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/estimator.h"

enum { SAMPLE_MOST = 4096, ROUNDS = 12 };

struct components {
    int items, dim, sampled;
    float *sample;      /* (sampled, dim), centred */
    double *mean;       /* (dim) */
    double *directions; /* (SERVER_COMPONENTS, dim) */
    double *images;     /* (SERVER_COMPONENTS, dim) */
    float *vector;      /* (dim) */
};

static double dot(const double *a, const float *b, int n)
{
    double sum = 0;
    int i;
    for (i = 0; i < n; i++)
        sum += a[i] * (double)b[i];
    return sum;
}

/* Makes rows (SERVER_COMPONENTS, dim) orthonormal, one after another; one that is nothing beyond those
 * before it becomes zero. Sets their lengths before that. */
static void orthonormalise(double *rows, int dim, double lengths[SERVER_COMPONENTS])
{
    int i, k, j, again;
    for (i = 0; i < SERVER_COMPONENTS; i++) {
        double *row = rows + (long)i * dim, whole = 0, length = 0;
        for (j = 0; j < dim; j++)
            whole += row[j] * row[j];
        for (again = 0; again < 2; again++) /* once more for what rounding left */
            for (k = 0; k < i; k++) {
                const double *other = rows + (long)k * dim;
                double shared = 0;
                for (j = 0; j < dim; j++)
                    shared += row[j] * other[j];
                for (j = 0; j < dim; j++)
                    row[j] -= shared * other[j];
            }
        for (j = 0; j < dim; j++)
            length += row[j] * row[j];
        lengths[i] = length > 1e-20 * whole ? sqrt(length) : 0;
        for (j = 0; j < dim; j++)
            row[j] = lengths[i] > 0 ? row[j] / lengths[i] : 0;
    }
}

/* images = directions . covariance of the sample. */
static void multiply(struct components *c)
{
    int i, k, j;
    memset(c->images, 0, (size_t)c->dim * SERVER_COMPONENTS * sizeof(*c->images));
    for (i = 0; i < c->sampled; i++) {
        const float *row = c->sample + (long)i * c->dim;
        for (k = 0; k < SERVER_COMPONENTS; k++) {
            double *image = c->images + (long)k * c->dim;
            double along = dot(c->directions + (long)k * c->dim, row, c->dim) / c->sampled;
            for (j = 0; j < c->dim; j++)
                image[j] += along * (double)row[j];
        }
    }
}

static void start(struct components *c)
{
    uint64_t state = 1;
    long i;
    for (i = 0; i < (long)c->dim * SERVER_COMPONENTS; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        c->directions[i] = (double)(int32_t)(state >> 32) / 2147483648.0;
    }
}

static void find(struct components *c, double lengths[SERVER_COMPONENTS])
{
    int round;
    start(c);
    orthonormalise(c->directions, c->dim, lengths);
    for (round = 0; round < ROUNDS; round++) {
        double *before = c->directions;
        multiply(c);
        c->directions = c->images;
        c->images = before;
        orthonormalise(c->directions, c->dim, lengths);
    }
}

static void take_sample(struct components *c,
                        void (*row)(const void *context, int i, float *vector), const void *context)
{
    int i, j;
    for (i = 0; i < c->sampled; i++) {
        float *vector = c->sample + (long)i * c->dim;
        row(context, (int)((int64_t)i * c->items / c->sampled), vector);
        for (j = 0; j < c->dim; j++)
            c->mean[j] += (double)vector[j] / c->sampled;
    }
    for (i = 0; i < c->sampled; i++)
        for (j = 0; j < c->dim; j++)
            c->sample[(long)i * c->dim + j] -= (float)c->mean[j];
}

static void project(struct components *c, const double lengths[SERVER_COMPONENTS],
                    void (*row)(const void *context, int i, float *vector), const void *context,
                    float *components)
{
    /* the image of a direction is as long as the variance along it */
    double scale = lengths[0] > 0 ? 1 / sqrt(lengths[0]) : 0;
    int i, k, j;
    for (i = 0; i < c->items; i++) {
        row(context, i, c->vector);
        for (j = 0; j < c->dim; j++)
            c->vector[j] -= (float)c->mean[j];
        for (k = 0; k < SERVER_COMPONENTS; k++)
            components[(long)i * SERVER_COMPONENTS + k] =
                (float)(scale * dot(c->directions + (long)k * c->dim, c->vector, c->dim));
    }
}

distil_status server_components_compute(int items, int dim,
                                        void (*row)(const void *context, int i, float *vector),
                                        const void *context, float *components, distil_error *error)
{
    struct components c = {.items = items, .dim = dim};
    double lengths[SERVER_COMPONENTS];
    size_t width = (size_t)dim;
    distil_status status = DISTIL_OK;
    c.sampled = items < SAMPLE_MOST ? items : SAMPLE_MOST;
    c.sample = malloc((size_t)c.sampled * width * sizeof(float));
    c.mean = calloc(width, sizeof(double));
    c.directions = calloc(width * SERVER_COMPONENTS, sizeof(double));
    c.images = calloc(width * SERVER_COMPONENTS, sizeof(double));
    c.vector = malloc(width * sizeof(float));
    if (c.sample && c.mean && c.directions && c.images && c.vector) {
        take_sample(&c, row, context);
        find(&c, lengths);
        project(&c, lengths, row, context, components);
    } else {
        status =
            distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %d vectors of %d", items, dim);
    }
    free(c.sample);
    free(c.mean);
    free(c.directions);
    free(c.images);
    free(c.vector);
    return status;
}

static void read_vector(const void *catalogue, int i, float *vector)
{
    distil_catalogue_vector(catalogue, i, vector);
}

distil_status server_estimator_of_catalogue(const distil_catalogue *catalogue,
                                            struct server_estimator **estimator,
                                            distil_error *error)
{
    const distil_catalogue_facts *facts = distil_catalogue_info(catalogue);
    float *components;
    distil_status status;
    if (facts->items > INT_MAX / SERVER_COMPONENTS)
        return distil_fail(error, DISTIL_UNSUPPORTED, "%s: %ld items are too many to recommend",
                           facts->path, facts->items);
    components = malloc((size_t)facts->items * SERVER_COMPONENTS * sizeof(*components));
    if (!components)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %ld items", facts->items);
    status = server_components_compute((int)facts->items, facts->width, read_vector, catalogue,
                                       components, error);
    if (!status)
        status = server_estimator_create((int)facts->items, components, estimator, error);
    free(components);
    return status;
}

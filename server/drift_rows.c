/* drift_rows.c: rows in memory; see drift_rows.h. */
#include "server/drift_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int server_drift_find_name(const struct server_drift_names *names, const char *name)
{
    for (int i = 0; i < names->count; i++) {
        if (strcmp(names->names[i], name) == 0)
            return i;
    }
    return -1;
}

/* *place of a name, which is added where it is new. what: as messages call it. */
static distil_status intern(struct server_drift_names *names, const char *name, const char *what,
                            int *place, distil_error *error)
{
    if (names->count > 0 && strcmp(names->names[names->last], name) == 0) {
        *place = names->last; /* as mostly */
        return DISTIL_OK;
    }
    *place = server_drift_find_name(names, name);
    if (*place < 0) {
        if (names->count == SERVER_DRIFT_MAX_NAMES)
            return distil_fail(error, DISTIL_FORMAT, "over %d different %ss", names->count, what);
        if (names->count == names->capacity) {
            int capacity = names->capacity ? 2 * names->capacity : 8;
            char **grown = realloc((void *)names->names, (size_t)capacity * sizeof(*names->names));
            if (!grown)
                return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %ss", what);
            names->names = grown;
            names->capacity = capacity;
        }
        if (!(names->names[names->count] = strdup(name)))
            return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %ss", what);
        *place = names->count++;
    }
    names->last = *place;
    return DISTIL_OK;
}

static distil_status grow(struct server_drift_rows *rows, distil_error *error)
{
    size_t capacity = rows->capacity ? 2 * rows->capacity : 256;
    void *grown = realloc(rows->rows, capacity * sizeof(*rows->rows));
    if (grown)
        rows->rows = grown;
    if (grown && rows->dimensions > 0) {
        grown = realloc(rows->projection, capacity * (size_t)rows->dimensions * sizeof(float));
        if (grown)
            rows->projection = grown;
    }
    if (grown && rows->keep_texts) {
        grown = realloc((void *)rows->texts, capacity * sizeof(*rows->texts));
        if (grown)
            rows->texts = grown;
    }
    if (!grown)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for %zu predictions", capacity);
    rows->capacity = capacity;
    return DISTIL_OK;
}

static void fill_nan(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = NAN;
}

/* Makes room for projections once the first row has one. */
static distil_status begin_projections(struct server_drift_rows *rows, int dimensions,
                                       distil_error *error)
{
    if (dimensions > SERVER_DRIFT_MAX_DIMENSIONS)
        return distil_fail(error, DISTIL_FORMAT, "a projection has %d numbers, at most %d expected",
                           dimensions, SERVER_DRIFT_MAX_DIMENSIONS);
    rows->projection = malloc(rows->capacity * (size_t)dimensions * sizeof(float));
    if (!rows->projection)
        return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for projections");
    rows->dimensions = dimensions;
    fill_nan(rows->projection, rows->count * (size_t)dimensions);
    return DISTIL_OK;
}

static distil_status add_projection(struct server_drift_rows *rows, const float *projection,
                                    int dimensions, distil_error *error)
{
    size_t width;
    if (projection && rows->dimensions == 0) {
        distil_status status = begin_projections(rows, dimensions, error);
        if (status)
            return status;
    }
    width = (size_t)rows->dimensions;
    if (projection && dimensions != rows->dimensions)
        return distil_fail(error, DISTIL_FORMAT, "a projection has %d numbers, others have %d",
                           dimensions, rows->dimensions);
    if (projection)
        memcpy(rows->projection + rows->count * width, projection, width * sizeof(float));
    else if (width > 0)
        fill_nan(rows->projection + rows->count * width, width);
    return DISTIL_OK;
}

distil_status server_drift_add(struct server_drift_rows *rows, struct server_drift_row row,
                               const char *label, const char *truth, const char *model,
                               const float *projection, int dimensions, const char *text,
                               distil_error *error)
{
    distil_status status = DISTIL_OK;
    row.truth = -1;
    if (rows->count == rows->capacity)
        status = grow(rows, error);
    if (!status)
        status = intern(&rows->labels, label, "label", &row.label, error);
    if (!status && truth)
        status = intern(&rows->labels, truth, "label", &row.truth, error);
    if (!status)
        status = intern(&rows->models, model, "model", &row.model, error);
    if (!status)
        status = add_projection(rows, projection, dimensions, error);
    if (status)
        return status;
    if (rows->keep_texts) {
        rows->texts[rows->count] = text ? strdup(text) : NULL;
        if (text && !rows->texts[rows->count])
            return distil_fail(error, DISTIL_NO_MEMORY, "out of memory for texts");
    }
    rows->rows[rows->count++] = row;
    return DISTIL_OK;
}

static void free_names(struct server_drift_names *names)
{
    for (int i = 0; i < names->count; i++)
        free(names->names[i]);
    free((void *)names->names);
}

void server_drift_rows_free(struct server_drift_rows *rows)
{
    if (!rows)
        return;
    for (size_t i = 0; rows->texts && i < rows->count; i++)
        free(rows->texts[i]);
    free((void *)rows->texts);
    free(rows->rows);
    free(rows->projection);
    free_names(&rows->labels);
    free_names(&rows->models);
    *rows = (struct server_drift_rows){0};
}

static double surprise(double p)
{
    return p > 0 ? -p * log(p) : 0;
}

double server_drift_entropy(const double *scores, int count)
{
    double sum = 0, whole = 0, each = 0;
    if (count == 0)
        return NAN;
    for (int i = 0; i < count; i++) {
        if (!(scores[i] >= 0 && scores[i] <= 1))
            return NAN;
        sum += scores[i];
        whole += surprise(scores[i]);
        each += surprise(scores[i]) + surprise(1 - scores[i]);
    }
    return fabs(sum - 1) < 1e-3 ? whole : each;
}

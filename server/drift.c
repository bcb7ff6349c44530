/* drift.c: see drift.h. */
#include "server/drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/drift_quality.h"
#include "server/drift_range.h"

static const char no_memory[] = "out of memory for comparing predictions";

/* One side: its rows in the order of their times, and each feature's values sorted. Features are the
 * columns before the embedding, then the embedding's dimensions. */
struct side {
    const struct server_drift_rows *rows;
    const int *labels;                   /* from the rows' labels to those of the report */
    size_t *order;                       /* (rows->count) */
    double *values;                      /* of all features, one after the other */
    struct server_drift_sample *samples; /* (features) */
};

struct comparison {
    struct server_drift_report *report;
    size_t min_rows;
    int features;
    struct side reference, current, day; /* day: a stretch of the current rows */
};

static double feature_of(const struct side *side, size_t i, int feature)
{
    const struct server_drift_row *row = &side->rows->rows[i];
    switch (feature) {
    case SERVER_DRIFT_LABEL:
        return side->labels[row->label];
    case SERVER_DRIFT_CONFIDENCE:
        return row->confidence;
    case SERVER_DRIFT_ENTROPY:
        return row->entropy;
    case SERVER_DRIFT_TOKENS:
        return row->tokens;
    case SERVER_DRIFT_UNKNOWN:
        return row->tokens > 0 ? row->unknown / row->tokens : NAN;
    default:
        return side->rows->projection[i * (size_t)side->rows->dimensions +
                                      (size_t)(feature - SERVER_DRIFT_EMBEDDING)];
    }
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Fills the side's samples from count rows of its order. */
static void sort_features(struct side *side, const size_t *order, size_t count, int features)
{
    int feature;
    for (feature = 0; feature < features; feature++) {
        double *values = side->values + (size_t)feature * count;
        size_t kept = 0, i;
        for (i = 0; i < count; i++) {
            double value = feature_of(side, order[i], feature);
            if (isfinite(value))
                values[kept++] = value;
        }
        qsort(values, kept, sizeof(*values), compare_numbers);
        side->samples[feature] = (struct server_drift_sample){values, kept};
    }
}

static struct server_drift_verdict judge(const struct comparison *all, const struct side *current,
                                         struct server_drift_finding *findings)
{
    const struct server_drift_sides sides = {.reference = all->reference.samples,
                                             .current = current->samples,
                                             .features = all->features};
    return server_drift_judge(&sides, all->min_rows, all->report->label_count, findings);
}

/* ---- sides ---- */

static int compare_times(const void *a, const void *b, void *context)
{
    const struct server_drift_row *rows = context;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    if (rows[i].at_ns != rows[j].at_ns)
        return rows[i].at_ns < rows[j].at_ns ? -1 : 1;
    return (i > j) - (i < j);
}

static bool side_create(struct side *side, const struct server_drift_rows *rows, const int *labels,
                        int features)
{
    size_t i;
    side->rows = rows;
    side->labels = labels;
    side->order = calloc(rows->count, sizeof(*side->order));
    side->values = calloc(rows->count * (size_t)features, sizeof(*side->values));
    side->samples = calloc((size_t)features, sizeof(*side->samples));
    if (!side->order || !side->values || !side->samples)
        return false;
    for (i = 0; i < rows->count; i++)
        side->order[i] = i;
    qsort_r(side->order, rows->count, sizeof(*side->order), compare_times, rows->rows);
    return true;
}

static void side_free(struct side *side)
{
    free(side->order);
    free(side->values);
    free(side->samples);
}

static struct server_drift_range times_of(const struct side *side)
{
    const struct server_drift_row *rows = side->rows->rows;
    size_t first = 0, count = side->rows->count;
    while (first < count && rows[side->order[first]].at_ns == SERVER_DRIFT_NEVER)
        first++;
    if (first == count)
        return (struct server_drift_range){SERVER_DRIFT_NEVER, SERVER_DRIFT_NEVER};
    return (struct server_drift_range){rows[side->order[first]].at_ns,
                                       rows[side->order[count - 1]].at_ns};
}

/* ---- labels ---- */

/* Gives both sides' labels common numbers: those of the reference, then what is new. */
static void unite_labels(const struct comparison *all, int *labels,
                         const struct server_drift_names *reference,
                         const struct server_drift_names *current)
{
    struct server_drift_report *report = all->report;
    int i;
    for (i = 0; i < reference->count; i++) {
        labels[i] = i;
        report->labels[i] = (struct server_drift_share){.label = reference->names[i], .seen = i};
    }
    report->label_count = reference->count;
    for (i = 0; i < current->count; i++) {
        int place = server_drift_find_name(reference, current->names[i]);
        if (place < 0) {
            place = report->label_count++;
            report->labels[place] =
                (struct server_drift_share){.label = current->names[i], .seen = place};
        }
        labels[reference->count + i] = place;
    }
}

static void count_labels(struct comparison *all)
{
    struct server_drift_report *report = all->report;
    const struct side *sides[] = {&all->reference, &all->current};
    int k;
    for (k = 0; k < 2; k++) {
        const struct server_drift_rows *rows = sides[k]->rows;
        size_t i;
        for (i = 0; i < rows->count; i++) {
            struct server_drift_share *share =
                &report->labels[sides[k]->labels[rows->rows[i].label]];
            *(k == 0 ? &share->reference : &share->current) += 1;
        }
    }
}

static int compare_shares(const void *a, const void *b)
{
    const struct server_drift_share *x = a, *y = b;
    size_t rows_x = x->reference + x->current, rows_y = y->reference + y->current;
    if (rows_x != rows_y)
        return rows_x > rows_y ? -1 : 1;
    return x->seen - y->seen;
}

/* Puts the most frequent labels first, and numbers them so. */
static bool order_labels(const struct comparison *all, int *labels, int numbered)
{
    struct server_drift_report *report = all->report;
    int *places = calloc((size_t)report->label_count, sizeof(*places)), i;
    if (!places)
        return false;
    qsort(report->labels, (size_t)report->label_count, sizeof(*report->labels), compare_shares);
    for (i = 0; i < report->label_count; i++)
        places[report->labels[i].seen] = i;
    for (i = 0; i < numbered; i++)
        labels[i] = places[labels[i]];
    free(places);
    return true;
}

/* ---- days ---- */

static bool judge_day(struct comparison *all, const size_t *order, size_t count,
                      struct server_drift_day_finding *found)
{
    struct server_drift_finding findings[SERVER_DRIFT_COLUMNS];
    size_t i;
    int column;
    sort_features(&all->day, order, count, all->features);
    found->rows = count;
    for (column = 0; column < SERVER_DRIFT_COLUMNS; column++) {
        bool number = column != SERVER_DRIFT_LABEL && column < SERVER_DRIFT_EMBEDDING;
        found->mean[column] = number ? server_drift_mean(all->day.samples[column]) : NAN;
    }
    for (i = 0; i < count; i++)
        found->labels[all->day.labels[all->day.rows->rows[order[i]].label]]++;
    found->compared = count >= all->min_rows;
    if (found->compared) {
        struct server_drift_verdict verdict = judge(all, &all->day, findings);
        found->columns = verdict.counted;
        found->confirmed = verdict.confirmed;
        found->drifted = verdict.data_drifted;
    }
    return server_drift_judge_quality(all->day.rows, order, count, &found->quality);
}

/* Judges each day of the current rows that have a time. */
static bool judge_days(struct comparison *all)
{
    struct server_drift_report *report = all->report;
    const struct side *side = &all->current;
    const struct server_drift_row *rows = side->rows->rows;
    size_t count = side->rows->count, from = 0, to;
    int capacity = 0;
    while (from < count && rows[side->order[from]].at_ns == SERVER_DRIFT_NEVER)
        from++;
    for (; from < count; from = to) {
        int64_t day = server_drift_day(rows[side->order[from]].at_ns);
        struct server_drift_day_finding *found;
        for (to = from; to < count && server_drift_day(rows[side->order[to]].at_ns) == day;)
            to++;
        if (report->day_count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            found = realloc(report->days, (size_t)capacity * sizeof(*found));
            if (!found)
                return false;
            report->days = found;
        }
        found = &report->days[report->day_count];
        *found = (struct server_drift_day_finding){.day = day};
        found->labels = calloc((size_t)report->label_count, sizeof(*found->labels));
        if (!found->labels)
            return false;
        report->day_count++;
        if (!judge_day(all, side->order + from, to - from, found))
            return false;
    }
    return true;
}

/* ---- all ---- */

/* Whether all rows are of one model, as far as they say. */
static bool same_model(const struct server_drift_rows *reference,
                       const struct server_drift_rows *current)
{
    const char *a = reference->models.names[0], *b = current->models.names[0];
    if (reference->models.count != 1 || current->models.count != 1)
        return false;
    return *a == '\0' || *b == '\0' || strcmp(a, b) == 0; /* "": the rows do not say */
}

static distil_status check_rows(const char *side, const struct server_drift_rows *rows,
                                size_t min_rows, distil_error *error)
{
    if (rows->count >= min_rows && rows->count > 0)
        return DISTIL_OK;
    return distil_fail(error, DISTIL_INVALID,
                       "too few predictions to compare: %s has %zu, at least %zu are needed", side,
                       rows->count, min_rows);
}

static distil_status compare(struct comparison *all, int *labels,
                             const struct server_drift_rows *reference,
                             const struct server_drift_rows *current, distil_error *error)
{
    struct server_drift_report *report = all->report;
    int dimensions = reference->dimensions == current->dimensions ? reference->dimensions : 0;
    struct server_drift_verdict verdict;
    all->features = SERVER_DRIFT_EMBEDDING + dimensions;
    unite_labels(all, labels, &reference->labels, &current->labels);
    if (!side_create(&all->reference, reference, labels, all->features) ||
        !side_create(&all->current, current, labels + reference->labels.count, all->features) ||
        !side_create(&all->day, current, all->current.labels, all->features))
        return distil_fail(error, DISTIL_NO_MEMORY, no_memory);
    count_labels(all);
    if (!order_labels(all, labels, reference->labels.count + current->labels.count))
        return distil_fail(error, DISTIL_NO_MEMORY, no_memory);
    sort_features(&all->reference, all->reference.order, reference->count, all->features);
    sort_features(&all->current, all->current.order, current->count, all->features);
    report->reference_range = times_of(&all->reference);
    report->current_range = times_of(&all->current);
    verdict = judge(all, &all->current, report->columns);
    report->counted = verdict.counted;
    report->drifted_columns = verdict.drifted;
    report->confirmed = verdict.confirmed;
    report->share = verdict.counted > 0 ? (double)verdict.drifted / verdict.counted : 0;
    report->drifted = verdict.data_drifted;
    report->same_model = same_model(reference, current);
    if (!server_drift_judge_quality(reference, all->reference.order, reference->count,
                                    &report->reference_quality) ||
        !server_drift_judge_quality(current, all->current.order, current->count,
                                    &report->current_quality) ||
        !judge_days(all))
        return distil_fail(error, DISTIL_NO_MEMORY, no_memory);
    return DISTIL_OK;
}

distil_status server_drift_compare(const struct server_drift_rows *reference,
                                   const struct server_drift_rows *current, size_t min_rows,
                                   struct server_drift_report *report, distil_error *error)
{
    struct comparison all = {.report = report, .min_rows = min_rows > 0 ? min_rows : 1};
    int *labels = NULL; /* from the sides' labels to those of the report */
    distil_status status;
    *report = (struct server_drift_report){.reference_rows = reference->count,
                                           .current_rows = current->count};
    status = check_rows("the reference", reference, min_rows, error);
    if (!status)
        status = check_rows("the current range", current, min_rows, error);
    if (!status) {
        size_t count = (size_t)reference->labels.count + (size_t)current->labels.count;
        labels = calloc(count, sizeof(*labels));
        report->labels = calloc(count, sizeof(*report->labels));
        status = labels && report->labels ? compare(&all, labels, reference, current, error)
                                          : distil_fail(error, DISTIL_NO_MEMORY, no_memory);
    }
    side_free(&all.reference);
    side_free(&all.current);
    side_free(&all.day);
    free(labels);
    if (status)
        server_drift_report_free(report);
    return status;
}

void server_drift_report_free(struct server_drift_report *report)
{
    int i;
    if (!report)
        return;
    for (i = 0; i < report->day_count; i++)
        free(report->days[i].labels);
    free(report->days);
    free(report->labels);
    *report = (struct server_drift_report){0};
}

/* drift.c: see drift.h. */
#include "server/drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/drift_quality.h"
#include "server/drift_range.h"

static const char no_memory[] = "out of memory for comparing predictions";

/* Data have drifted when so many of their columns have, and an embedding when more than so many of its
 * dimensions have. A column that chance would bring so far apart more often than this, over all columns,
 * does not count. */
static const double share_of_columns = 0.5, share_of_dimensions = 0.2, significance = 0.05;

static const struct {
    const char *name;
    enum server_drift_kind kind;
} columns[SERVER_DRIFT_COLUMNS] = {
    [SERVER_DRIFT_LABEL] = {"label", SERVER_DRIFT_CATEGORIES},
    [SERVER_DRIFT_CONFIDENCE] = {"confidence", SERVER_DRIFT_NUMBERS},
    [SERVER_DRIFT_ENTROPY] = {"entropy", SERVER_DRIFT_NUMBERS},
    [SERVER_DRIFT_TOKENS] = {"tokens", SERVER_DRIFT_INTEGERS},
    [SERVER_DRIFT_UNKNOWN] = {"unknown", SERVER_DRIFT_NUMBERS},
    [SERVER_DRIFT_EMBEDDING] = {"embedding", SERVER_DRIFT_NUMBERS},
};

const char *server_drift_column_name(enum server_drift_column column)
{
    return columns[column].name;
}

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

/* ---- one column ---- */

static double mean_of(struct server_drift_sample sample)
{
    double sum = 0;
    size_t i;
    for (i = 0; i < sample.count; i++)
        sum += sample.values[i];
    return sample.count > 0 ? sum / (double)sample.count : NAN;
}

static void judge_values(enum server_drift_column column, struct server_drift_sample reference,
                         struct server_drift_sample current, struct server_drift_finding *finding)
{
    enum server_drift_kind kind = columns[column].kind;
    finding->test = server_drift_choose(kind, reference, current);
    finding->score = server_drift_score(finding->test, kind, reference, current);
    finding->threshold = server_drift_threshold(finding->test);
    finding->drifted = server_drift_exceeds(finding->test, finding->score);
    if (finding->drifted)
        finding->p_value = server_drift_is_p_value(finding->test)
                               ? finding->score
                               : server_drift_p_value(kind, reference, current);
    finding->psi = server_drift_score(SERVER_DRIFT_PSI, kind, reference, current);
    finding->jensen_shannon =
        server_drift_score(SERVER_DRIFT_JENSEN_SHANNON, kind, reference, current);
    if (kind == SERVER_DRIFT_CATEGORIES)
        return;
    finding->reference_mean = mean_of(reference);
    finding->current_mean = mean_of(current);
    server_drift_bin(kind, reference, current, &finding->bins);
}

/* 1 minus the cosine of the angle between the mean vectors. */
static double mean_cosine_distance(const struct server_drift_sample *reference,
                                   const struct server_drift_sample *current, int dimensions)
{
    double product = 0, square_a = 0, square_b = 0;
    int i;
    for (i = 0; i < dimensions; i++) {
        double a = mean_of(reference[i]), b = mean_of(current[i]);
        product += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    return square_a > 0 && square_b > 0 ? 1 - product / sqrt(square_a * square_b) : NAN;
}

static void judge_embedding(const struct server_drift_sample *reference,
                            const struct server_drift_sample *current, int dimensions,
                            struct server_drift_finding *finding)
{
    double least = 1;
    int drifted = 0, i;
    for (i = 0; i < dimensions; i++) {
        double score;
        finding->test = server_drift_choose(SERVER_DRIFT_NUMBERS, reference[i], current[i]);
        score = server_drift_score(finding->test, SERVER_DRIFT_NUMBERS, reference[i], current[i]);
        if (!server_drift_exceeds(finding->test, score))
            continue;
        drifted++;
        least = fmin(least, server_drift_p_value(SERVER_DRIFT_NUMBERS, reference[i], current[i]));
    }
    finding->dimensions = dimensions;
    finding->score = (double)drifted / dimensions;
    finding->threshold = share_of_dimensions;
    finding->drifted = finding->score > share_of_dimensions;
    if (finding->drifted)
        finding->p_value = fmin(least * dimensions, 1);
    finding->cosine_distance = mean_cosine_distance(reference, current, dimensions);
}

/* How many columns count, and what came of these. */
struct verdict {
    int counted, drifted, confirmed;
};

/* By Bonferroni: the more columns are looked at, the oftener one of them moves by chance. */
static void confirm(struct server_drift_finding *findings, struct verdict *verdict)
{
    int column;
    for (column = 0; column < SERVER_DRIFT_COLUMNS; column++) {
        struct server_drift_finding *finding = &findings[column];
        finding->confirmed =
            finding->drifted && finding->p_value * verdict->counted <= significance;
        verdict->confirmed += finding->counted && finding->confirmed;
    }
}

/* Judges all columns for which both sides have rows enough. */
static struct verdict judge(const struct comparison *all, const struct side *current,
                            struct server_drift_finding *findings)
{
    struct verdict verdict = {0};
    int column;
    for (column = 0; column < SERVER_DRIFT_COLUMNS; column++)
        findings[column] = (struct server_drift_finding){.kind = columns[column].kind,
                                                         .p_value = NAN,
                                                         .psi = NAN,
                                                         .jensen_shannon = NAN,
                                                         .reference_mean = NAN,
                                                         .current_mean = NAN,
                                                         .cosine_distance = NAN};
    for (column = 0; column < SERVER_DRIFT_COLUMNS && column < all->features; column++) {
        const struct server_drift_sample *a = &all->reference.samples[column];
        const struct server_drift_sample *b = &current->samples[column];
        struct server_drift_finding *finding = &findings[column];
        if (a->count < all->min_rows || b->count < all->min_rows)
            continue;
        finding->present = true;
        /* of two labels, entropy is a function of the confidence: it would be counted twice */
        finding->counted = column != SERVER_DRIFT_ENTROPY || all->report->label_count > 2;
        if (column == SERVER_DRIFT_EMBEDDING)
            judge_embedding(a, b, all->features - SERVER_DRIFT_EMBEDDING, finding);
        else
            judge_values((enum server_drift_column)column, *a, *b, finding);
        verdict.counted += finding->counted;
        verdict.drifted += finding->counted && finding->drifted;
    }
    confirm(findings, &verdict);
    return verdict;
}

static bool is_drifted(struct verdict verdict)
{
    return verdict.counted > 0 && verdict.confirmed >= share_of_columns * verdict.counted;
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
        found->mean[column] = number ? mean_of(all->day.samples[column]) : NAN;
    }
    for (i = 0; i < count; i++)
        found->labels[all->day.labels[all->day.rows->rows[order[i]].label]]++;
    found->compared = count >= all->min_rows;
    if (found->compared) {
        struct verdict verdict = judge(all, &all->day, findings);
        found->columns = verdict.counted;
        found->confirmed = verdict.confirmed;
        found->drifted = is_drifted(verdict);
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
    struct verdict verdict;
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
    report->drifted = is_drifted(verdict);
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

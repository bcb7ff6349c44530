/* drift_columns.c: see drift_columns.h. */
#include "server/drift_columns.h"

#include <math.h>

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

double server_drift_mean(struct server_drift_sample sample)
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
    finding->reference_mean = server_drift_mean(reference);
    finding->current_mean = server_drift_mean(current);
    server_drift_bin(kind, reference, current, &finding->bins);
}

/* 1 minus the cosine of the angle between the mean vectors. */
static double mean_cosine_distance(const struct server_drift_sample *reference,
                                   const struct server_drift_sample *current, int dimensions)
{
    double product = 0, square_a = 0, square_b = 0;
    int i;
    for (i = 0; i < dimensions; i++) {
        double a = server_drift_mean(reference[i]), b = server_drift_mean(current[i]);
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

/* By Bonferroni: the more columns are looked at, the oftener one of them moves by chance. */
static void confirm(struct server_drift_finding *findings, struct server_drift_verdict *verdict)
{
    int column;
    for (column = 0; column < SERVER_DRIFT_COLUMNS; column++) {
        struct server_drift_finding *finding = &findings[column];
        finding->confirmed =
            finding->drifted && finding->p_value * verdict->counted <= significance;
        verdict->confirmed += finding->counted && finding->confirmed;
    }
}

struct server_drift_verdict server_drift_judge(const struct server_drift_sides *sides,
                                               size_t min_rows, int labels,
                                               struct server_drift_finding *findings)
{
    struct server_drift_verdict verdict = {0};
    int column;
    for (column = 0; column < SERVER_DRIFT_COLUMNS; column++)
        findings[column] = (struct server_drift_finding){.kind = columns[column].kind,
                                                         .p_value = NAN,
                                                         .psi = NAN,
                                                         .jensen_shannon = NAN,
                                                         .reference_mean = NAN,
                                                         .current_mean = NAN,
                                                         .cosine_distance = NAN};
    for (column = 0; column < SERVER_DRIFT_COLUMNS && column < sides->features; column++) {
        const struct server_drift_sample *a = &sides->reference[column];
        const struct server_drift_sample *b = &sides->current[column];
        struct server_drift_finding *finding = &findings[column];
        if (a->count < min_rows || b->count < min_rows)
            continue;
        finding->present = true;
        /* of two labels, entropy is a function of the confidence: it would be counted twice */
        finding->counted = column != SERVER_DRIFT_ENTROPY || labels > 2;
        if (column == SERVER_DRIFT_EMBEDDING)
            judge_embedding(a, b, sides->features - SERVER_DRIFT_EMBEDDING, finding);
        else
            judge_values((enum server_drift_column)column, *a, *b, finding);
        verdict.counted += finding->counted;
        verdict.drifted += finding->counted && finding->drifted;
    }
    confirm(findings, &verdict);
    verdict.data_drifted =
        verdict.counted > 0 && verdict.confirmed >= share_of_columns * verdict.counted;
    return verdict;
}

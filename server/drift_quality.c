/* drift_quality.c: see drift_quality.h. */
#include "server/drift_quality.h"

#include <math.h>
#include <stdlib.h>

struct counts {
    size_t hits, predicted, support;
};

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void average(const struct counts *counts, int labels, struct server_drift_quality *quality)
{
    double precision = 0, recall = 0, f1 = 0, hits = 0;
    int present = 0, i;
    for (i = 0; i < labels; i++) {
        double hit = (double)counts[i].hits, predicted = (double)counts[i].predicted;
        double support = (double)counts[i].support;
        present += predicted + support > 0;
        precision += ratio(hit, predicted);
        recall += ratio(hit, support);
        f1 += ratio(2 * hit, predicted + support);
        hits += hit;
    }
    quality->accuracy = hits / (double)quality->answered;
    quality->precision = precision / present;
    quality->recall = recall / present;
    quality->f1 = f1 / present;
}

bool server_drift_judge_quality(const struct server_drift_rows *rows, const size_t *order,
                                size_t count, struct server_drift_quality *quality)
{
    struct counts *counts = calloc((size_t)rows->labels.count + 1, sizeof(*counts));
    size_t i;
    if (!counts)
        return false;
    *quality =
        (struct server_drift_quality){.accuracy = NAN, .precision = NAN, .recall = NAN, .f1 = NAN};
    for (i = 0; i < count; i++) {
        const struct server_drift_row *row = &rows->rows[order[i]];
        if (row->truth < 0)
            continue;
        quality->answered++;
        counts[row->label].predicted++;
        counts[row->truth].support++;
        counts[row->label].hits += row->label == row->truth;
    }
    if (quality->answered > 0)
        average(counts, rows->labels.count, quality);
    free(counts);
    return true;
}

#include "tools/metrics.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

distil_status tool_metrics_create(struct tool_metrics *metrics, int labels, distil_error *error)
{
    *metrics = (struct tool_metrics){.labels = labels};
    if (labels < 1 || labels > 46340)
        return distil_fail(error, DISTIL_INVALID,
                           "a confusion matrix of %d labels: expected 1 to 46340", labels);
    size_t n = (size_t)labels;
    metrics->matrix = calloc(n * n, sizeof *metrics->matrix);
    metrics->label = calloc(n, sizeof *metrics->label);
    metrics->support = calloc(n, sizeof *metrics->support);
    if (metrics->matrix && metrics->label && metrics->support)
        return DISTIL_OK;
    tool_metrics_free(metrics);
    return distil_fail(error, DISTIL_NO_MEMORY, "no memory for a confusion matrix of %d labels",
                       labels);
}

void tool_metrics_free(struct tool_metrics *metrics)
{
    if (!metrics)
        return;
    free(metrics->matrix);
    free(metrics->label);
    free(metrics->support);
    *metrics = (struct tool_metrics){0};
}

void tool_metrics_add(struct tool_metrics *metrics, int expected, int predicted)
{
    assert(expected >= 0 && expected < metrics->labels && predicted >= 0 &&
           predicted < metrics->labels);
    metrics->matrix[(long)expected * metrics->labels + predicted]++;
    metrics->rows++;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* hit: rows of the label that were found; predicted: rows given the label; support: rows that have
 * it. */
static struct tool_scores score(long hit, long predicted, long support)
{
    return (struct tool_scores){.precision = ratio((double)hit, (double)predicted),
                                .recall = ratio((double)hit, (double)support),
                                .f1 =
                                    ratio(2.0 * (double)hit, (double)predicted + (double)support)};
}

static void add_scaled(struct tool_scores *sum, const struct tool_scores *scores, double weight)
{
    sum->precision += weight * scores->precision;
    sum->recall += weight * scores->recall;
    sum->f1 += weight * scores->f1;
}

void tool_metrics_finish(struct tool_metrics *metrics)
{
    struct tool_scores macro = {0}, weighted = {0};
    int n = metrics->labels;
    long hits = 0, present = 0;
    for (long i = 0; i < n; i++) {
        long support = 0, predicted = 0, hit = metrics->matrix[i * n + i];
        for (long j = 0; j < n; j++) {
            support += metrics->matrix[i * n + j];
            predicted += metrics->matrix[j * n + i];
        }
        hits += hit;
        present += support || predicted;
        metrics->support[i] = support;
        metrics->label[i] = score(hit, predicted, support);
        add_scaled(&macro, &metrics->label[i], 1);
        add_scaled(&weighted, &metrics->label[i], (double)support);
    }
    metrics->accuracy = ratio((double)hits, (double)metrics->rows);
    metrics->micro = score(hits, metrics->rows, metrics->rows);
    metrics->macro = metrics->weighted = (struct tool_scores){0};
    add_scaled(&metrics->macro, &macro, ratio(1, (double)present));
    add_scaled(&metrics->weighted, &weighted, ratio(1, (double)metrics->rows));
}

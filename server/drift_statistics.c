/* drift_statistics.c: see drift_statistics.h. */
#include "server/drift_statistics.h"

#include <math.h>

#include "server/drift_p_values.h"

/* Different values up to which numbers are compared value by value: in the choice of a test (of both
 * samples), and in distances (of the reference). */
enum { FEW_VALUES = 5, UNBINNED_VALUES = 20 };

static const struct {
    const char *name;
    bool p_value;
    double threshold;
} tests[SERVER_DRIFT_TESTS] = {
    [SERVER_DRIFT_KS] = {"ks", true, 0.05},
    [SERVER_DRIFT_CHI_SQUARED] = {"chisquare", true, 0.05},
    [SERVER_DRIFT_Z] = {"z", true, 0.05},
    [SERVER_DRIFT_WASSERSTEIN] = {"wasserstein", false, 0.1},
    [SERVER_DRIFT_JENSEN_SHANNON] = {"jensenshannon", false, 0.1},
    [SERVER_DRIFT_PSI] = {"psi", false, 0.1},
};

const char *server_drift_test_name(enum server_drift_test test)
{
    return tests[test].name;
}

bool server_drift_is_p_value(enum server_drift_test test)
{
    return tests[test].p_value;
}

double server_drift_threshold(enum server_drift_test test)
{
    return tests[test].threshold;
}

bool server_drift_exceeds(enum server_drift_test test, double score)
{
    if (test == SERVER_DRIFT_KS)
        return score <= tests[test].threshold; /* the one that counts the threshold itself */
    return tests[test].p_value ? score < tests[test].threshold : score >= tests[test].threshold;
}

/* ---- value by value ---- */

/* Goes through the different values of two samples in rising order. */
struct walk {
    struct server_drift_sample a, b;
    size_t i, j;       /* values passed */
    double value;      /* the one reached */
    size_t in_a, in_b; /* how often it stands in each */
};

static struct walk walk_begin(struct server_drift_sample a, struct server_drift_sample b)
{
    return (struct walk){.a = a, .b = b};
}

static size_t run_length(struct server_drift_sample sample, size_t from, double value)
{
    size_t end = from;
    while (end < sample.count && sample.values[end] == value)
        end++;
    return end - from;
}

static bool walk_next(struct walk *walk)
{
    walk->i += walk->in_a;
    walk->j += walk->in_b;
    if (walk->i == walk->a.count && walk->j == walk->b.count)
        return false;
    if (walk->j == walk->b.count)
        walk->value = walk->a.values[walk->i];
    else if (walk->i == walk->a.count)
        walk->value = walk->b.values[walk->j];
    else
        walk->value = fmin(walk->a.values[walk->i], walk->b.values[walk->j]);
    walk->in_a = run_length(walk->a, walk->i, walk->value);
    walk->in_b = run_length(walk->b, walk->j, walk->value);
    return true;
}

size_t server_drift_distinct(struct server_drift_sample reference,
                             struct server_drift_sample current)
{
    struct walk walk = walk_begin(reference, current);
    size_t count = 0;
    while (walk_next(&walk))
        count++;
    return count;
}

/* The test whose p-value fits the values. */
static enum server_drift_test choose_p_value(enum server_drift_kind kind,
                                             struct server_drift_sample reference,
                                             struct server_drift_sample current)
{
    size_t distinct = server_drift_distinct(reference, current);
    if (kind != SERVER_DRIFT_CATEGORIES && distinct > FEW_VALUES)
        return SERVER_DRIFT_KS;
    return distinct > 2 ? SERVER_DRIFT_CHI_SQUARED : SERVER_DRIFT_Z;
}

enum server_drift_test server_drift_choose(enum server_drift_kind kind,
                                           struct server_drift_sample reference,
                                           struct server_drift_sample current)
{
    enum server_drift_test small = choose_p_value(kind, reference, current);
    if (reference.count <= SERVER_DRIFT_SMALL)
        return small;
    return small == SERVER_DRIFT_KS ? SERVER_DRIFT_WASSERSTEIN : SERVER_DRIFT_JENSEN_SHANNON;
}

/* ---- p-values ---- */

/* The distance times the least common multiple of the counts, which is a whole number. */
static long long ks_steps(struct server_drift_sample a, struct server_drift_sample b)
{
    long long divisor = (long long)server_drift_gcd(a.count, b.count), most = 0;
    long long step_a = (long long)b.count / divisor, step_b = (long long)a.count / divisor;
    struct walk walk = walk_begin(a, b);
    while (walk_next(&walk)) {
        long long distance =
            (long long)(walk.i + walk.in_a) * step_a - (long long)(walk.j + walk.in_b) * step_b;
        distance = distance < 0 ? -distance : distance;
        most = distance > most ? distance : most;
    }
    return most;
}

double server_drift_ks_distance(struct server_drift_sample a, struct server_drift_sample b)
{
    double common = (double)a.count / (double)server_drift_gcd(a.count, b.count) * (double)b.count;
    return (double)ks_steps(a, b) / common;
}

static double chi_squared(struct server_drift_sample reference, struct server_drift_sample current)
{
    struct walk walk = walk_begin(reference, current);
    double scale = (double)current.count / (double)reference.count, sum = 0;
    size_t values = 0;
    while (walk_next(&walk)) {
        double expected = (double)walk.in_a * scale, off = (double)walk.in_b - expected;
        if (walk.in_a == 0)
            return 0; /* what was never expected has been seen */
        sum += off * off / expected;
        values++;
    }
    return server_drift_chi_squared_p(sum, values - 1);
}

static double proportions(struct server_drift_sample reference, struct server_drift_sample current)
{
    struct walk walk = walk_begin(reference, current);
    double n = (double)reference.count, m = (double)current.count, p, q, pooled;
    walk_next(&walk);
    if (walk.in_a == reference.count && walk.in_b == current.count)
        return 1;
    p = (double)walk.in_a / n;
    q = (double)walk.in_b / m;
    pooled = (double)(walk.in_a + walk.in_b) / (n + m);
    return erfc(fabs(p - q) / sqrt(2 * pooled * (1 - pooled) * (1 / n + 1 / m)));
}

/* ---- distances ---- */

static double deviation(struct server_drift_sample sample)
{
    double mean = 0, sum = 0;
    size_t i;
    for (i = 0; i < sample.count; i++)
        mean += sample.values[i] / (double)sample.count;
    for (i = 0; i < sample.count; i++)
        sum += (sample.values[i] - mean) * (sample.values[i] - mean);
    return sqrt(sum / (double)sample.count);
}

static double wasserstein(struct server_drift_sample reference, struct server_drift_sample current)
{
    struct walk walk = walk_begin(reference, current);
    double sum = 0, before = 0, apart = 0;
    while (walk_next(&walk)) {
        sum += apart * (walk.value - before);
        before = walk.value;
        apart = fabs((double)(walk.i + walk.in_a) / (double)reference.count -
                     (double)(walk.j + walk.in_b) / (double)current.count);
    }
    return sum / fmax(deviation(reference), 0.001);
}

/* Values under an edge, or also those on it. */
static size_t count_under(struct server_drift_sample sample, double edge, bool including)
{
    size_t low = 0, high = sample.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        double value = sample.values[middle];
        if (value < edge || (including && value == edge))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void count_bins(struct server_drift_sample sample, const struct server_drift_bins *bins,
                       size_t *counts)
{
    size_t before = count_under(sample, bins->edges[0], false);
    int i;
    for (i = 0; i < bins->count; i++) {
        size_t under = count_under(sample, bins->edges[i + 1], i == bins->count - 1);
        counts[i] = under - before;
        before = under;
    }
}

void server_drift_bin(enum server_drift_kind kind, struct server_drift_sample reference,
                      struct server_drift_sample current, struct server_drift_bins *bins)
{
    double first = fmin(reference.values[0], current.values[0]);
    double last = fmax(reference.values[reference.count - 1], current.values[current.count - 1]);
    double width = (last - first) / (log2((double)(reference.count + current.count)) + 1), step;
    int i;
    if (kind != SERVER_DRIFT_NUMBERS && width < 1)
        width = 1;
    if (first == last) {
        first -= 0.5;
        last += 0.5;
        width = 1;
    }
    bins->count = (int)fmin(ceil((last - first) / width), SERVER_DRIFT_MAX_BINS);
    step = (last - first) / bins->count;
    for (i = 0; i < bins->count; i++)
        bins->edges[i] = i * step + first;
    bins->edges[bins->count] = last;
    count_bins(reference, bins, bins->reference);
    count_bins(current, bins, bins->current);
}

/* Goes through the cells in which two samples are compared: their values, or bins where there are too
 * many. */
struct cells {
    struct walk walk;
    bool binned;
    struct server_drift_bins bins;
    int bin;
    double reference, current; /* shares of the rows in the cell reached */
};

static void cells_begin(struct cells *cells, enum server_drift_kind kind,
                        struct server_drift_sample reference, struct server_drift_sample current)
{
    cells->walk = walk_begin(reference, current);
    cells->bin = 0;
    cells->binned = kind != SERVER_DRIFT_CATEGORIES &&
                    server_drift_distinct(reference, reference) > UNBINNED_VALUES;
    if (cells->binned)
        server_drift_bin(kind, reference, current, &cells->bins);
}

static bool cells_next(struct cells *cells)
{
    size_t reference, current;
    if (cells->binned) {
        if (cells->bin == cells->bins.count)
            return false;
        reference = cells->bins.reference[cells->bin];
        current = cells->bins.current[cells->bin];
        cells->bin++;
    } else {
        if (!walk_next(&cells->walk))
            return false;
        reference = cells->walk.in_a;
        current = cells->walk.in_b;
    }
    cells->reference = (double)reference / (double)cells->walk.a.count;
    cells->current = (double)current / (double)cells->walk.b.count;
    return true;
}

static double jensen_shannon(enum server_drift_kind kind, struct server_drift_sample reference,
                             struct server_drift_sample current)
{
    struct cells cells;
    double sum = 0;
    cells_begin(&cells, kind, reference, current);
    while (cells_next(&cells)) {
        double middle = (cells.reference + cells.current) / 2;
        if (cells.reference > 0)
            sum += cells.reference * log(cells.reference / middle);
        if (cells.current > 0)
            sum += cells.current * log(cells.current / middle);
    }
    return sqrt(fmax(sum, 0) / 2);
}

/* What an empty cell counts as, where the least share of a cell that is not empty is `least`. */
static double empty_share(double least)
{
    return least <= 0.0001 ? least / 1e6 : 0.0001;
}

static double stability_index(enum server_drift_kind kind, struct server_drift_sample reference,
                              struct server_drift_sample current)
{
    struct cells cells;
    double least_reference = 1, least_current = 1, sum = 0;
    cells_begin(&cells, kind, reference, current);
    while (cells_next(&cells)) {
        if (cells.reference > 0)
            least_reference = fmin(least_reference, cells.reference);
        if (cells.current > 0)
            least_current = fmin(least_current, cells.current);
    }
    cells_begin(&cells, kind, reference, current);
    while (cells_next(&cells)) {
        double p = cells.reference, q = cells.current;
        if (p == 0)
            p = empty_share(least_reference);
        if (q == 0)
            q = empty_share(least_current);
        sum += (p - q) * log(p / q);
    }
    return sum;
}

double server_drift_score(enum server_drift_test test, enum server_drift_kind kind,
                          struct server_drift_sample reference, struct server_drift_sample current)
{
    switch (test) {
    case SERVER_DRIFT_KS:
        return server_drift_ks_p(ks_steps(reference, current), reference.count, current.count);
    case SERVER_DRIFT_CHI_SQUARED:
        return chi_squared(reference, current);
    case SERVER_DRIFT_Z:
        return proportions(reference, current);
    case SERVER_DRIFT_WASSERSTEIN:
        return wasserstein(reference, current);
    case SERVER_DRIFT_JENSEN_SHANNON:
        return jensen_shannon(kind, reference, current);
    case SERVER_DRIFT_PSI:
        return stability_index(kind, reference, current);
    case SERVER_DRIFT_TESTS:
        break;
    }
    return NAN;
}

double server_drift_p_value(enum server_drift_kind kind, struct server_drift_sample reference,
                            struct server_drift_sample current)
{
    enum server_drift_test test = choose_p_value(kind, reference, current);
    double n = (double)reference.count, m = (double)current.count;
    if (test != SERVER_DRIFT_KS)
        return server_drift_score(test, kind, reference, current);
    return server_drift_kolmogorov(fmax(rint(n * m / (n + m)), 1),
                                   server_drift_ks_distance(reference, current));
}
